/* The threads that run parallel loops of compiled kernels.  Linked into the library of every artifact with such loops.
 *
 * Generated code runs a loop of `extent` iterations by
 *
 *     oarlock_loop(extent);                                 a hint, see compat.py
 *     (*__TVMBackendParallelLaunch)(body, data, 0);
 *
 * where body(i, {.num_task = n}, data) does the i-th of n equal parts of the loop, for any n.  TVM's loader lets the pointer point to
 * TVM's own pool, whose threads yield in a loop for milliseconds after each job and then wait for each other.  `oarlock_threads_1`, which
 * a session calls, lets it point to `launch` below.  A library that nobody calls it for runs on TVM's pool as before.
 *
 * One pool serves the process: the first library that is loaded has it, the others are given its address; the session keeps that
 * library loaded for good.  A loop that runs is a Loop in a table.  Its parts are dealt to the threads as shares, so that a thread gets
 * the same part of a tensor in one loop after another and finds it in its cache.  A thread takes half of what is left of its share at a
 * time, then halves of what is left of others'.  So nobody waits for a thread that has not begun: whoever comes first does its parts,
 * and where the machine has no time for helpers the caller does all.
 *
 * Nothing waits for long in a loop: threads without work, and callers whose last parts are in other hands, look for OARLOCK_SPIN_US
 * microseconds and then sleep on a futex.
 *
 * A word that says who may take what carries the loop's generation, and changes by compare-and-swap alone.  A thread that was held up
 * with the word of an earlier loop can therefore take nothing of a later one, and needs not be waited for.
 */
#define _GNU_SOURCE
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define LINE __attribute__((aligned(64)))
#define EXPORT __attribute__((visibility("default")))
#define HIDDEN __attribute__((visibility("hidden")))

enum {
  LOOPS = 32,   /* that run at a time; more run on their callers alone */
  SHARES = 64,  /* of a loop, one a thread: no more threads work on it */
  PARTS = 16,   /* of a share: what a thread that comes late can take over, in steps */
  WORKERS = 1023,
  SPIN_US = 50, /* docs/threads.md has what was measured */
  WAKES = 2     /* threads that one thread wakes; they wake two each */
};

/* ---- TVM's and TVM FFI's C interface ---- */

typedef struct {
  void *sync_handle; /* for barriers, which our kernels do not have */
  int32_t num_task;
} Group; /* TVMParallelGroupEnv */

typedef int (*Body)(int task, Group *group, void *data); /* FTVMParallelLambda */
typedef int (*Launch)(Body body, void *data, int tasks);

typedef struct {
  int32_t type;
  uint32_t length;
  int64_t integer;
} Any; /* TVMFFIAny, of an integer */

enum { INTEGER = 1 };

/* The loader writes them where a library has them. */
extern Launch __TVMBackendParallelLaunch __attribute__((weak));
extern void *__TVMBackendParallelBarrier __attribute__((weak));

extern void TVMFFIErrorMoveFromRaised(void **error);
extern void TVMFFIErrorSetRaised(void *error);
extern int TVMFFIObjectDecRef(void *object);

/* ---- words and waiting ---- */

#define load(place) __atomic_load_n(place, __ATOMIC_ACQUIRE)
#define store(place, value) __atomic_store_n(place, value, __ATOMIC_RELEASE)
/* These order what comes before and after: who goes to sleep and who wakes must not miss each other. */
#define load_ordered(place) __atomic_load_n(place, __ATOMIC_SEQ_CST)
#define store_ordered(place, value) __atomic_store_n(place, value, __ATOMIC_SEQ_CST)
#define add(place, value) __atomic_fetch_add(place, value, __ATOMIC_SEQ_CST)
#define swap(place, value) __atomic_exchange_n(place, value, __ATOMIC_ACQ_REL)
#define replace(place, expected, value) \
  __atomic_compare_exchange_n(place, expected, value, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)

static void pause_cpu(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("isb" ::: "memory"); /* `yield` is over at once on most cores */
#else
  __asm__ volatile("" ::: "memory");
#endif
}

static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static void sleep_while(uint32_t *word, uint32_t value) {
  syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void wake(uint32_t *word, int count) { syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0); }

/* ---- the pool ---- */

typedef struct {
  LINE uint64_t word; /* generation << 32 | first << 16 | end: the parts that nobody has begun */
} Share;

typedef struct {
  LINE uint64_t room; /* generation << 32 | how many more threads may help */
  uint32_t taken;     /* by a caller */
  uint32_t generation;
  int32_t threads; /* = shares */
  Body body;
  void *data;
  Group group;
  LINE uint32_t left; /* parts that are not done; the caller sleeps on it */
  uint32_t waited;    /* the caller sleeps, or is about to */
  uint32_t failed;
  int cpu; /* of the last helper */
  void *error;
  Share shares[SHARES];
} Loop;

static struct {
  LINE uint32_t posted; /* counts loops; workers sleep on it */
  uint32_t asleep;      /* workers that sleep, or are about to */
  int cpu;              /* of the last caller */
  LINE uint32_t wanted; /* helpers that the running loops asked for */
  uint32_t used;        /* places in the table that were ever taken */
  uint32_t workers;
  uint32_t growing;
  uint32_t most_wanted, most_helpers; /* that workers were started for, or could not be */
  uint32_t prepared;
  int64_t spin_ns;
  Loop loops[LOOPS];
} pool;

/* Whether the word changed from `value` within the time that is spent on looking.
 *
 * On the CPU of the thread that is to change it (where the other CPUs are busy, the system puts both on one) looking would only keep that
 * thread from running.
 */
static int changes_soon(const uint32_t *word, uint32_t value, int cpu_of_other) {
  if (load(word) != value) return 1;
  if (!pool.spin_ns || sched_getcpu() == cpu_of_other) return 0;
  int64_t end = now_ns() + pool.spin_ns;
  do {
    for (int i = 0; i < 8; i++) {
      pause_cpu();
      if (load(word) != value) return 1;
    }
  } while (now_ns() < end);
  return 0;
}

static void fail(Loop *loop) {
  void *error = NULL;
  TVMFFIErrorMoveFromRaised(&error); /* of this thread: the caller raises it again in its own */
  if (!swap(&loop->failed, 1)) {
    loop->error = error;
  } else if (error) {
    TVMFFIObjectDecRef(error);
  }
}

/* Take half of the parts that are left of a share: the first ones of one's own, the last ones of another's. */
static int take(Share *share, uint32_t generation, int own, uint32_t *first, uint32_t *end) {
  uint64_t word = load(&share->word);
  for (;;) {
    uint32_t low = word >> 16 & 0xffff, high = word & 0xffff;
    if (word >> 32 != generation || low >= high) return 0;
    uint32_t count = (high - low + 1) / 2;
    *first = own ? low : high - count;
    *end = *first + count;
    uint64_t rest = own ? (uint64_t)*end << 16 | high : (uint64_t)low << 16 | *first;
    if (replace(&share->word, &word, (uint64_t)generation << 32 | rest)) return 1;
  }
}

/* Do parts of a loop until all are begun, the given share's first → how many. */
static uint32_t work(Loop *loop, uint32_t generation, int share) {
  uint32_t done = 0, first, end;
  int threads = __atomic_load_n(&loop->threads, __ATOMIC_RELAXED);
  for (int i = 0; i < threads; i++, share = share + 1 < threads ? share + 1 : 0) {
    while (take(&loop->shares[share], generation, i == 0, &first, &end)) {
      /* only now is this surely the loop of that generation: it cannot end before these parts are done */
      for (uint32_t part = first; part < end; part++) {
        if (!load(&loop->failed) && loop->body((int)part, &loop->group, loop->data)) fail(loop);
      }
      done += end - first;
    }
  }
  return done;
}

static void finish(Loop *loop, uint32_t done) {
  if (__atomic_fetch_sub(&loop->left, done, __ATOMIC_SEQ_CST) == done && load_ordered(&loop->waited)) wake(&loop->left, 1);
}

/* Help with every loop that has room for one more → whether there was any. */
static int help(int id, int woken) {
  int found = 0, used = (int)load(&pool.used);
  for (int i = 0; i < used; i++) {
    Loop *loop = &pool.loops[i];
    uint64_t room = load(&loop->room);
    while ((uint32_t)room && !replace(&loop->room, &room, room - 1)) {
    }
    uint32_t spare = (uint32_t)room;
    if (!spare) continue;
    found = 1;
    if (woken && spare > 1 && load(&pool.asleep)) wake(&pool.posted, spare - 1 < WAKES ? (int)spare - 1 : WAKES);
    __atomic_store_n(&loop->cpu, sched_getcpu(), __ATOMIC_RELAXED);
    int threads = __atomic_load_n(&loop->threads, __ATOMIC_RELAXED);
    uint32_t done = work(loop, room >> 32, threads > 1 ? 1 + (id - 1) % (threads - 1) : 0);
    if (done) finish(loop, done);
  }
  return found;
}

static void *run_worker(void *argument) {
  int id = (int)(intptr_t)argument, woken = 0;
  prctl(PR_SET_NAME, "oarlock");
  for (;;) {
    uint32_t posted = load(&pool.posted);
    if (help(id, woken)) {
      woken = 0;
      continue;
    }
    woken = !changes_soon(&pool.posted, posted, __atomic_load_n(&pool.cpu, __ATOMIC_RELAXED));
    if (woken) {
      add(&pool.asleep, 1);
      while (load_ordered(&pool.posted) == posted) sleep_while(&pool.posted, posted);
      add(&pool.asleep, -1);
    }
  }
  return NULL;
}

/* A forked child has the memory and none of the threads.  It makes its own when it needs them. */
static void forget_threads(void) {
  pool.asleep = pool.wanted = pool.workers = pool.growing = pool.most_wanted = pool.most_helpers = 0;
  for (int i = 0; i < LOOPS; i++) {
    pool.loops[i].room = 0;
    pool.loops[i].taken = 0;
  }
}

static void prepare(void) {
  const char *text = getenv("OARLOCK_SPIN_US");
  char *end;
  long spin = text ? strtol(text, &end, 10) : SPIN_US;
  pool.spin_ns = text && (end == text || *end || spin < 0 || spin > 1000000) ? SPIN_US * 1000 : spin * 1000;
  pthread_atfork(NULL, NULL, forget_threads);
  pool.prepared = 1;
}

static uint32_t cpus(void) {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return (uint32_t)CPU_COUNT(&set);
  long count = sysconf(_SC_NPROCESSORS_ONLN); /* more CPUs than a cpu_set_t has */
  return count > 0 ? (uint32_t)count : 1;
}

/* Have as many workers as the running loops want, but where several run at a time not more than there are CPUs. */
static void grow(uint32_t wanted, uint32_t helpers) {
  if (swap(&pool.growing, 1)) return; /* another caller does it */
  if (!pool.prepared) prepare();
  if (wanted > pool.most_wanted) store(&pool.most_wanted, wanted);
  if (helpers > pool.most_helpers) store(&pool.most_helpers, helpers);
  uint32_t limit = cpus();
  if (limit < pool.most_helpers) limit = pool.most_helpers;
  if (limit > wanted) limit = wanted;
  if (limit > WORKERS) limit = WORKERS;
  sigset_t all, before;
  sigfillset(&all); /* signals are for the program's own threads */
  pthread_sigmask(SIG_SETMASK, &all, &before);
  for (uint32_t id = load(&pool.workers) + 1; id <= limit; id++) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, run_worker, (void *)(intptr_t)id)) break; /* no more to be had: the callers work more */
    pthread_detach(thread);
    store(&pool.workers, id);
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  store(&pool.growing, 0);
}

static Loop *take_place(void) {
  for (uint32_t i = 0; i < LOOPS; i++) {
    Loop *loop = &pool.loops[i];
    if (load(&loop->taken) || swap(&loop->taken, 1)) continue;
    for (uint32_t used = load(&pool.used); used <= i && !replace(&pool.used, &used, i + 1);) {
    }
    return loop;
  }
  return NULL;
}

static int run_alone(Body body, void *data) {
  Group group = {NULL, 1};
  return body(0, &group, data);
}

/* Run a loop of `extent` iterations (below 0: unknown) on at most so many threads, the calling one included. */
static int run_loop(Body body, void *data, int64_t extent, int threads) {
  if (threads > SHARES) threads = SHARES;
  if (extent >= 0 && extent < threads) threads = (int)extent;
  if (threads <= 1) return run_alone(body, data);
  Loop *loop = take_place();
  if (!loop) return run_alone(body, data);
  uint32_t helpers = (uint32_t)threads - 1, others = add(&pool.wanted, helpers), wanted = others + helpers;
  if (load(&pool.most_wanted) < wanted || load(&pool.most_helpers) < helpers) grow(wanted, helpers);
  int64_t parts = threads; /* of an unknown loop: as TVM would */
  if (extent >= 0) {
    int64_t most = threads * PARTS, step = (extent + most - 1) / most;
    parts = (extent + step - 1) / step; /* so that none is empty */
  }

  uint32_t generation = ++loop->generation;
  loop->body = body;
  loop->data = data;
  loop->group.sync_handle = NULL;
  loop->group.num_task = (int32_t)parts;
  loop->failed = 0;
  __atomic_store_n(&loop->waited, 0, __ATOMIC_RELAXED); /* a helper of the loop before may still look: it then wakes nobody, or us */
  loop->error = NULL;
  __atomic_store_n(&loop->cpu, -1, __ATOMIC_RELAXED);
  loop->left = (uint32_t)parts;
  __atomic_store_n(&loop->threads, threads, __ATOMIC_RELAXED);
  for (int i = 0; i < threads; i++) {
    uint64_t first = (uint64_t)(parts * i / threads), end = (uint64_t)(parts * (i + 1) / threads);
    store(&loop->shares[i].word, (uint64_t)generation << 32 | first << 16 | end);
  }
  store(&loop->room, (uint64_t)generation << 32 | helpers);
  __atomic_store_n(&pool.cpu, sched_getcpu(), __ATOMIC_RELAXED);
  add(&pool.posted, 1);
  uint32_t asleep = load_ordered(&pool.asleep);
  if (asleep) {
    uint32_t workers = load(&pool.workers), busy = asleep + others;
    uint32_t looking = workers > busy ? workers - busy : 0; /* they see it without being woken */
    if (helpers > looking) wake(&pool.posted, helpers - looking < WAKES ? (int)(helpers - looking) : WAKES);
  }

  finish(loop, work(loop, generation, 0));
  store(&loop->room, (uint64_t)generation << 32);
  for (uint32_t left; (left = load(&loop->left));) {
    if (changes_soon(&loop->left, left, __atomic_load_n(&loop->cpu, __ATOMIC_RELAXED))) continue;
    store_ordered(&loop->waited, 1);
    if ((left = load_ordered(&loop->left))) sleep_while(&loop->left, left);
  }
  int failed = (int)load(&loop->failed);
  if (failed && loop->error) {
    TVMFFIErrorSetRaised(loop->error);
    TVMFFIObjectDecRef(loop->error);
  }
  store(&loop->taken, 0);
  add(&pool.wanted, -helpers);
  return failed ? -1 : 0;
}

/* ---- what the library and the session call ---- */

typedef int (*Run)(Body body, void *data, int64_t extent, int threads);

static Run run = run_loop; /* of the library that has the process's pool */
static int threads_of_session = 1;
static int64_t extent_of_next = -1;

/* Kernels of one library run one after another.  Were it not so, a wrong extent would only make uneven parts. */
HIDDEN int oarlock_loop(int64_t extent) {
  __atomic_store_n(&extent_of_next, extent, __ATOMIC_RELAXED);
  return 0;
}

static int launch(Body body, void *data, int tasks) {
  (void)tasks; /* 0: as many as there are threads */
  int64_t extent = __atomic_load_n(&extent_of_next, __ATOMIC_RELAXED);
  __atomic_store_n(&extent_of_next, -1, __ATOMIC_RELAXED);
  return run(body, data, extent, __atomic_load_n(&threads_of_session, __ATOMIC_RELAXED));
}

/* (threads, address of another library's pool or 0) → the address of this one's; 0 when the library's loops need TVM's pool. */
EXPORT int __tvm_ffi_oarlock_threads_1(void *self, const Any *arguments, int32_t count, Any *result) {
  (void)self;
  result->type = INTEGER;
  result->length = 0;
  result->integer = 0;
  if (count != 2 || !&__TVMBackendParallelLaunch || &__TVMBackendParallelBarrier) return 0;
  threads_of_session = (int)arguments[0].integer;
  if (arguments[1].integer) run = (Run)(intptr_t)arguments[1].integer;
  __TVMBackendParallelLaunch = launch;
  result->integer = (int64_t)(intptr_t)run_loop;
  return 0;
}
