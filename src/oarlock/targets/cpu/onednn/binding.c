/* Kernels of a compiled model that oneDNN computes: linked into the model's library, where such kernels call oarlock_onednn_run.

A call is described by a text, a constant of the kernel, all sizes in it decimal numbers:

    conv2d PART  N H W C  OH OW O  KH KW  SH SW  TOP LEFT BOTTOM RIGHT  DH DW  GROUPS  [after …]

    after:  bias | eltwise NAME ALPHA BETA (the bits of the floats) | binary NAME channel|full

Data are channels last, weights [KH, KW, C/GROUPS, O].  `bias` and `binary` take the extra pointers in their order.

A call runs on the thread that makes it: models run on a pool of threads, and a second pool of threads, which waits for work on the same
cores, costs more than it gives.  A kernel for several threads makes several calls at once, each of a PART of the result.

What a call needs (a primitive, the weights in the order of elements that oneDNN likes best here) is made when it runs first, once for
each text and address of weights: equal kernels with other weights share the text.  Weights of a session stay where they are as long as
this library is loaded, and each session loads a copy of its own; when it is unloaded, all of this is given back.

oneDNN itself is opened by the session, which hands it over (oarlock_onednn_open).  Nothing here is linked against it, as a program may
hold a second oneDNN under the same name: PaddlePaddle brings one. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <oneapi/dnnl/dnnl.h>
#include <oneapi/dnnl/dnnl_debug.h>
#include <tvm/ffi/c_api.h>

#define MAJOR 3 /* of oneDNN, whose functions keep their meaning within it */
#define EXTRAS 4
#define AFTER 8

#define FUNCTIONS(F)                                                                                                                       \
  F(dnnl_version) F(dnnl_status2str) F(dnnl_engine_create) F(dnnl_engine_destroy) F(dnnl_stream_create) F(dnnl_stream_wait)                \
  F(dnnl_stream_destroy) F(dnnl_memory_desc_create_with_strides) F(dnnl_memory_desc_create_with_tag) F(dnnl_memory_desc_destroy)           \
  F(dnnl_memory_desc_equal) F(dnnl_memory_get_memory_desc) F(dnnl_memory_create) F(dnnl_memory_set_data_handle) F(dnnl_memory_destroy)     \
  F(dnnl_post_ops_create)                                                                                                                  \
  F(dnnl_post_ops_append_eltwise) F(dnnl_post_ops_append_binary) F(dnnl_post_ops_destroy) F(dnnl_primitive_attr_create)                    \
  F(dnnl_primitive_attr_set_post_ops) F(dnnl_primitive_attr_destroy) F(dnnl_convolution_forward_primitive_desc_create)                     \
  F(dnnl_reorder_primitive_desc_create) F(dnnl_primitive_desc_query_md) F(dnnl_primitive_desc_destroy)\
  F(dnnl_primitive_create) F(dnnl_primitive_execute) F(dnnl_primitive_destroy)

static struct {
#define F(name) __typeof__(&name) name;
  FUNCTIONS(F)
#undef F
} api;

static int (*omp_max_threads)(void);
static void (*omp_use_threads)(int);
static int opened;
static dnnl_engine_t engine;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of the table of calls; a call itself is made by one thread at a time */

typedef struct {
  const char *text;
  const void *weights;
  int shares; /* its packed weights are another call's */
  dnnl_primitive_t primitive;
  dnnl_stream_t stream;
  int extras, arguments;
  dnnl_memory_t memory[3 + EXTRAS]; /* data, weights, result, extras */
  dnnl_exec_arg_t argument[3 + EXTRAS];
} Call;

static Call **calls; /* a hash table with open addressing; its size is a power of two */
static size_t places, held;

static int fail(const char *format, ...) {
  char message[512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  TVMFFIErrorSetRaisedFromCStr("RuntimeError", message);
  return -1;
}

#define TRY(call)                                                                                                                          \
  do {                                                                                                                                     \
    dnnl_status_t status_ = (call);                                                                                                        \
    if (status_ != dnnl_success) {                                                                                                         \
      failed = #call;                                                                                                                      \
      status = status_;                                                                                                                    \
      goto end;                                                                                                                            \
    }                                                                                                                                      \
  } while (0)

/* ---- the text of a call ------------------------------------------------------------------------------------------------------------ */

static int64_t number(const char **at) {
  char *end;
  int64_t value = strtoll(*at, &end, 10);
  *at = end;
  return value;
}

static int word(const char **at, const char *expected) {
  const char *start = *at + strspn(*at, " ");
  size_t length = strlen(expected);
  if (strncmp(start, expected, length) || (start[length] && start[length] != ' ')) return 0;
  *at = start + length;
  return 1;
}

static float bits(const char **at) {
  uint32_t value = (uint32_t)number(at);
  float out;
  memcpy(&out, &value, sizeof out);
  return out;
}

static const struct {
  const char *name;
  dnnl_alg_kind_t kind;
} eltwise[] = {{"relu", dnnl_eltwise_relu},
               {"hardswish", dnnl_eltwise_hardswish},
               {"swish", dnnl_eltwise_swish},
               {"logistic", dnnl_eltwise_logistic},
               {"linear", dnnl_eltwise_linear}},
  binary[] = {{"add", dnnl_binary_add}, {"mul", dnnl_binary_mul}};

/* ---- making a call ----------------------------------------------------------------------------------------------------------------- */

/* What is made on the way to a primitive. */
typedef struct {
  dnnl_memory_desc_t data, given, wanted, result, bias, extra[EXTRAS];
  dnnl_primitive_attr_t attributes;
  dnnl_post_ops_t after;
  dnnl_primitive_desc_t description, reorder;
  dnnl_primitive_t move;
  dnnl_memory_t plain;
} Parts;

static void drop_parts(Parts *p) {
  dnnl_memory_desc_t all[] = {p->data, p->given, p->wanted, p->result, p->bias};
  for (size_t i = 0; i < sizeof all / sizeof *all; ++i)
    if (all[i]) api.dnnl_memory_desc_destroy(all[i]);
  for (int i = 0; i < EXTRAS; ++i)
    if (p->extra[i]) api.dnnl_memory_desc_destroy(p->extra[i]);
  if (p->attributes) api.dnnl_primitive_attr_destroy(p->attributes);
  if (p->after) api.dnnl_post_ops_destroy(p->after);
  if (p->description) api.dnnl_primitive_desc_destroy(p->description);
  if (p->reorder) api.dnnl_primitive_desc_destroy(p->reorder);
  if (p->move) api.dnnl_primitive_destroy(p->move);
  if (p->plain) api.dnnl_memory_destroy(p->plain);
}

static void drop(Call *call) {
  if (call->primitive) api.dnnl_primitive_destroy(call->primitive);
  if (call->stream) api.dnnl_stream_destroy(call->stream);
  for (int i = 0; i < 3 + EXTRAS; ++i)
    if (call->memory[i] && !(i == 1 && call->shares)) api.dnnl_memory_destroy(call->memory[i]);
  free(call);
}

static void argument(Call *call, int kind, dnnl_memory_t memory) {
  call->argument[call->arguments].arg = kind;
  call->argument[call->arguments++].memory = memory;
}

/* The weights at this address, packed by another call as this one needs them. */
static dnnl_memory_t packed_before(const void *weights, const_dnnl_memory_desc_t wanted) {
  for (size_t i = 0; i < places; ++i) {
    const_dnnl_memory_desc_t desc = 0;
    if (calls[i] && calls[i]->weights == weights && !api.dnnl_memory_get_memory_desc(calls[i]->memory[1], &desc))
      if (api.dnnl_memory_desc_equal(desc, wanted)) return calls[i]->memory[1];
  }
  return 0;
}

static int make(const char *text, void *weights, Call **out) {
  const char *failed = 0, *at = text;
  dnnl_status_t status = dnnl_success;
  Parts p;
  memset(&p, 0, sizeof p);
  Call *call = calloc(1, sizeof *call);
  if (!call) return fail("oneDNN: no memory");
  call->text = text;
  call->weights = weights;
  if (!engine) TRY(api.dnnl_engine_create(&engine, dnnl_cpu, 0));
  TRY(api.dnnl_stream_create(&call->stream, engine, dnnl_stream_default_flags));

  const dnnl_data_type_t f32 = dnnl_f32;
  if (!word(&at, "conv2d")) {
    failed = "reading the call's text";
    status = dnnl_invalid_arguments;
    goto end;
  }
  number(&at); /* the part: so that no two have one text */
  int64_t n = number(&at), h = number(&at), w = number(&at), c = number(&at);
  int64_t oh = number(&at), ow = number(&at), o = number(&at), kh = number(&at), kw = number(&at);
  dnnl_dims_t strides, before, behind, dilations;
  strides[0] = number(&at), strides[1] = number(&at);
  before[0] = number(&at), before[1] = number(&at), behind[0] = number(&at), behind[1] = number(&at);
  dilations[0] = number(&at) - 1, dilations[1] = number(&at) - 1;
  int64_t groups = number(&at), depth = c / groups;
  dnnl_dims_t data = {n, c, h, w}, result = {n, o, oh, ow}, channel = {1, o, 1, 1}, vector = {o};
  TRY(api.dnnl_memory_desc_create_with_tag(&p.data, 4, data, f32, dnnl_nhwc));
  TRY(api.dnnl_memory_desc_create_with_tag(&p.result, 4, result, f32, dnnl_nhwc));
  int skip = groups == 1; /* without a dim of groups; one place more, as what is behind it is a dnnl_dims_t, too */
  int64_t plain[DNNL_MAX_NDIMS + 1] = {groups, o / groups, depth, kh, kw};
  int64_t steps[DNNL_MAX_NDIMS + 1] = {o / groups, 1, o, kw * depth * o, depth * o};
  TRY(api.dnnl_memory_desc_create_with_strides(&p.given, 5 - skip, plain + skip, f32, steps + skip));
  TRY(api.dnnl_memory_desc_create_with_tag(&p.wanted, 5 - skip, plain + skip, f32, dnnl_format_tag_any));
  int kinds[EXTRAS];
  TRY(api.dnnl_post_ops_create(&p.after));
  for (int i = 0; at[strspn(at, " ")]; ++i) {
    int known = 0;
    if (word(&at, "bias") && i == 0) {
      TRY(api.dnnl_memory_desc_create_with_tag(&p.bias, 1, vector, f32, dnnl_a));
      kinds[call->extras++] = DNNL_ARG_BIAS;
      --i;
      known = 1;
    } else if (word(&at, "eltwise")) {
      for (size_t j = 0; !known && j < sizeof eltwise / sizeof *eltwise; ++j)
        if ((known = word(&at, eltwise[j].name))) {
          float alpha = bits(&at), beta = bits(&at);
          TRY(api.dnnl_post_ops_append_eltwise(p.after, eltwise[j].kind, alpha, beta));
        }
    } else if (word(&at, "binary") && call->extras < EXTRAS) {
      for (size_t j = 0; !known && j < sizeof binary / sizeof *binary; ++j)
        if ((known = word(&at, binary[j].name))) {
          int full = word(&at, "full");
          if (!full) known = word(&at, "channel");
          TRY(api.dnnl_memory_desc_create_with_tag(&p.extra[call->extras], 4, full ? result : channel, f32, dnnl_nhwc));
          TRY(api.dnnl_post_ops_append_binary(p.after, binary[j].kind, p.extra[call->extras]));
          kinds[call->extras++] = DNNL_ARG_ATTR_MULTIPLE_POST_OP(i) | DNNL_ARG_SRC_1;
        }
    }
    if (!known || i >= AFTER) {
      failed = "reading what follows the call";
      status = dnnl_invalid_arguments;
      goto end;
    }
  }
  TRY(api.dnnl_primitive_attr_create(&p.attributes));
  TRY(api.dnnl_primitive_attr_set_post_ops(p.attributes, p.after));
  TRY(api.dnnl_convolution_forward_primitive_desc_create(&p.description, engine, dnnl_forward_inference, dnnl_convolution_direct, p.data,
                                                         p.wanted, p.bias, p.result, strides, dilations, before, behind, p.attributes));
  TRY(api.dnnl_primitive_create(&call->primitive, p.description));

  const_dnnl_memory_desc_t packed = api.dnnl_primitive_desc_query_md(p.description, dnnl_query_weights_md, 0);
  if (api.dnnl_memory_desc_equal(packed, p.given)) {
    TRY(api.dnnl_memory_create(&call->memory[1], packed, engine, weights));
  } else if ((call->memory[1] = packed_before(weights, packed))) {
    call->shares = 1;
  } else {
    TRY(api.dnnl_memory_create(&call->memory[1], packed, engine, DNNL_MEMORY_ALLOCATE));
    TRY(api.dnnl_memory_create(&p.plain, p.given, engine, weights));
    TRY(api.dnnl_reorder_primitive_desc_create(&p.reorder, p.given, engine, packed, engine, 0));
    TRY(api.dnnl_primitive_create(&p.move, p.reorder));
    dnnl_exec_arg_t pair[] = {{DNNL_ARG_FROM, p.plain}, {DNNL_ARG_TO, call->memory[1]}};
    TRY(api.dnnl_primitive_execute(p.move, call->stream, 2, pair));
    TRY(api.dnnl_stream_wait(call->stream));
  }
  TRY(api.dnnl_memory_create(&call->memory[0], p.data, engine, DNNL_MEMORY_NONE));
  TRY(api.dnnl_memory_create(&call->memory[2], p.result, engine, DNNL_MEMORY_NONE));
  argument(call, DNNL_ARG_SRC, call->memory[0]);
  argument(call, DNNL_ARG_WEIGHTS, call->memory[1]);
  argument(call, DNNL_ARG_DST, call->memory[2]);
  for (int i = 0; i < call->extras; ++i) {
    dnnl_memory_desc_t desc = kinds[i] == DNNL_ARG_BIAS ? p.bias : p.extra[i];
    TRY(api.dnnl_memory_create(&call->memory[3 + i], desc, engine, DNNL_MEMORY_NONE));
    argument(call, kinds[i], call->memory[3 + i]);
  }
end:
  drop_parts(&p);
  if (!failed) {
    *out = call;
    return 0;
  }
  drop(call);
  return fail("oneDNN does not compute \"%.200s\": %.120s gave %s", text, failed, api.dnnl_status2str(status));
}

/* ---- the table of calls ------------------------------------------------------------------------------------------------------------ */

static size_t place_of(const char *text, const void *weights) {
  uint64_t mixed = (uintptr_t)text * UINT64_C(0x9E3779B97F4A7C15) ^ (uintptr_t)weights * UINT64_C(0xC2B2AE3D27D4EB4F);
  size_t at = (size_t)(mixed >> 32) & (places - 1);
  while (calls[at] && (calls[at]->text != text || calls[at]->weights != weights)) at = (at + 1) & (places - 1);
  return at;
}

static int grow(void) {
  Call **old = calls;
  size_t count = places;
  Call **more = calloc(count ? 2 * count : 64, sizeof *more);
  if (!more) return fail("oneDNN: no memory");
  calls = more;
  places = count ? 2 * count : 64;
  for (size_t i = 0; i < count; ++i)
    if (old[i]) calls[place_of(old[i]->text, old[i]->weights)] = old[i];
  free(old);
  return 0;
}

/* The call of this text and these weights, made if it is the first; 0 with TVM's error set where that fails. */
static Call *find(const char *text, void *weights) {
  if (!opened) {
    fail("the kernel library oneDNN was not opened: run the artifact by oarlock.Session");
    return 0;
  }
  if (2 * held >= places && grow()) return 0;
  size_t at = place_of(text, weights);
  if (!calls[at] && !make(text, weights, &calls[at])) ++held;
  return calls[at];
}

/* What kernels call: 0, or −1 with TVM's error set.  It is hidden (-fvisibility=hidden), so that each library calls its own. */
int oarlock_onednn_run(const char *text, void *data, void *weights, void *result, void *extra0, void *extra1, void *extra2, void *extra3) {
  void *const extras[EXTRAS] = {extra0, extra1, extra2, extra3};
  /* OpenMP's number of threads belongs to the thread that calls: it is as before afterwards */
  int before = opened ? omp_max_threads() : 1, failed = -1;
  if (before != 1) omp_use_threads(1);
  pthread_mutex_lock(&lock);
  Call *call = find(text, weights);
  pthread_mutex_unlock(&lock);
  if (call) {
    api.dnnl_memory_set_data_handle(call->memory[0], data);
    api.dnnl_memory_set_data_handle(call->memory[2], result);
    for (int i = 0; i < call->extras; ++i) api.dnnl_memory_set_data_handle(call->memory[3 + i], extras[i]);
    dnnl_status_t status = api.dnnl_primitive_execute(call->primitive, call->stream, call->arguments, call->argument);
    failed = status == dnnl_success ? 0 : fail("oneDNN failed on \"%.200s\": %s", text, api.dnnl_status2str(status));
  }
  if (before != 1) omp_use_threads(before);
  return failed;
}

/* ---- opening and closing ------------------------------------------------------------------------------------------------------------ */

/* Change one letter of the name by which the dynamic linker knows the oneDNN that was opened.

PaddlePaddle is linked against a newer one of the same name; imported after this one, it would be given this one and fail.  The linker
compares names in the library's own table of strings, of which one page is written to (a private copy).  Where that cannot be done,
everything else works all the same. */
static void hide_name(void *library) {
  struct link_map *map = 0;
  if (dlinfo(library, RTLD_DI_LINKMAP, &map) || !map) return;
  uintptr_t strings = 0, name = 0;
  for (const ElfW(Dyn) *entry = map->l_ld; entry->d_tag != DT_NULL; ++entry) {
    if (entry->d_tag == DT_STRTAB) strings = entry->d_un.d_ptr;
    if (entry->d_tag == DT_SONAME) name = entry->d_un.d_val;
  }
  if (!strings) return;
  if (strings < map->l_addr) strings += map->l_addr; /* glibc adds it itself, other linkers do not */
  char *found = (char *)(strings + name); /* of which one letter is changed: it lies in one page */
  uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), start = (uintptr_t)(found + 3) & ~(page - 1);
  if (strncmp(found, "libdnnl.so.", 11)) return; /* has another name already */
  const ElfW(Ehdr) *file = (const ElfW(Ehdr) *)map->l_addr;
  if (memcmp(file, ELFMAG, SELFMAG)) return;
  const ElfW(Phdr) *segments = (const ElfW(Phdr) *)((const char *)file + file->e_phoff);
  for (int i = 0; i < file->e_phnum; ++i) {
    uintptr_t begin = map->l_addr + segments[i].p_vaddr;
    if (segments[i].p_type != PT_LOAD || (uintptr_t)found < begin || (uintptr_t)found >= begin + segments[i].p_memsz) continue;
    int flags = segments[i].p_flags;
    int usual = (flags & PF_R ? PROT_READ : 0) | (flags & PF_W ? PROT_WRITE : 0) | (flags & PF_X ? PROT_EXEC : 0);
    if (mprotect((void *)start, page, usual | PROT_WRITE)) return;
    found[3] = 'D';
    mprotect((void *)start, page, usual);
    return;
  }
}

/* TVM's function oarlock_onednn_open(handle of dlopen). */
__attribute__((visibility("default"))) int __tvm_ffi_oarlock_onednn_open(void *self, const TVMFFIAny *arguments, int32_t count,
                                                                         TVMFFIAny *result) {
  (void)self, (void)result;
  if (count != 1 || arguments[0].type_index != kTVMFFIInt) return fail("oarlock_onednn_open takes a handle");
  void *library = (void *)(uintptr_t)arguments[0].v_int64;
#define F(name)                                                                                                                            \
  api.name = (__typeof__(api.name))dlsym(library, #name);                                                                                  \
  if (!api.name) return fail("the library has no function " #name ": it is no oneDNN %d", MAJOR);
  FUNCTIONS(F)
#undef F
  const dnnl_version_t *version = api.dnnl_version();
  if (version->major != MAJOR) return fail("the library is oneDNN %d.%d, not %d", version->major, version->minor, MAJOR);
  /* as the library itself finds them: in what the whole program shares, else in what it was linked with */
  void *shared[] = {RTLD_DEFAULT, library};
  for (int i = 0; i < 2 && !(omp_max_threads && omp_use_threads); ++i) {
    omp_max_threads = (int (*)(void))dlsym(shared[i], "omp_get_max_threads");
    omp_use_threads = (void (*)(int))dlsym(shared[i], "omp_set_num_threads");
  }
  if (!omp_max_threads || !omp_use_threads) return fail("the library has no OpenMP, by which it is told its number of threads");
  hide_name(library);
  opened = 1;
  return 0;
}

__attribute__((destructor)) static void close_all(void) {
  for (size_t i = 0; i < places; ++i)
    if (calls[i]) drop(calls[i]);
  free(calls);
  calls = 0;
  places = held = 0;
  if (engine) api.dnnl_engine_destroy(engine);
}
