/* The XPU's runtime API: devices, memory, copies, streams, events, launches.
 *
 * Names follow the chip's public ones.  Everything above the runtime (plug-in, kernel library, generated kernels' launches) talks to
 * a device through this header only, so the emulator behind it can be exchanged for the vendor's library.
 *
 * Every function returns XPU_SUCCESS or an error of enum XPUError.  Launches, and copies on a stream, are asynchronous: an error of a
 * kernel is told by the next call that waits for it (xpu_wait, xpu_memcpy, xpu_event_wait).
 */
#ifndef XPU_RUNTIME_H_
#define XPU_RUNTIME_H_

#include <stddef.h>
#include <stdint.h>

#define XPU_API __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

enum XPUError {
  XPU_SUCCESS = 0,
  XPUERR_INVALID_DEVICE = 700,  /* no such device */
  XPUERR_INVALID_PARAM = 701,   /* an argument that no call could have */
  XPUERR_NOMEM = 702,           /* the device's memory of that kind is full */
  XPUERR_INVALID_ADDRESS = 703, /* an address outside every allocation, or a range that leaves its allocation */
  XPUERR_INVALID_FUNC = 704,    /* no such kernel, or a module that does not load */
  XPUERR_INVALID_LAUNCH = 705,  /* a grid, or arguments, that the chip or the kernel does not take */
  XPUERR_KERNEL_FAULT = 706,    /* a kernel broke a rule of the chip: see xpu_last_error_text */
  XPUERR_BUSY = 707,            /* a stream, event or module that is still in use */
  XPUERR_SYSTEM = 708           /* the host's system refused something */
};

enum XPUMemoryKind { XPU_MEM_MAIN = 0, XPU_MEM_HBM = 0, XPU_MEM_L3 = 1 };
enum XPUMemcpyKind { XPU_HOST_TO_DEVICE = 0, XPU_DEVICE_TO_HOST = 1, XPU_DEVICE_TO_DEVICE = 2 };

enum XPUDeviceAttr {
  XPUATTR_MODEL = 0, /* a code for the chip: 1 K200, 2 R200, 3 KL3, 0 any other */
  XPUATTR_NUM_CLUSTER = 1,
  XPUATTR_NUM_CORE = 2, /* cores of a cluster */
  XPUATTR_NUM_SDNN = 3,
  XPUATTR_MEM_MAIN_CAPACITY = 4, /* bytes, as the three that follow */
  XPUATTR_MEM_L3_CAPACITY = 5,
  XPUATTR_LOCAL_MEM_SIZE = 6,  /* of a core */
  XPUATTR_SHARED_MEM_SIZE = 7, /* of a cluster */
  XPUATTR_CLOCK_MHZ = 8,
  XPUATTR_MAX_PTR_SIZE = 9, /* floats behind a max pointer */
  XPUATTR_MEM_MAIN_USED = 10,
  XPUATTR_MEM_L3_USED = 11
};

typedef struct XPUStreamObj* XPUStream; /* NULL: the device's default stream */
typedef struct XPUEventObj* XPUEvent;
typedef struct XPUModuleObj* XPUModule;
typedef struct XPUGraphObj* XPUGraph;
typedef const struct XPUKernelInfo* XPUFunc;

/* ---- devices: the current one is a thread's own */
XPU_API int xpu_device_count(int* count);
XPU_API int xpu_set_device(int device);
XPU_API int xpu_current_device(int* device);
XPU_API int xpu_device_get_attr(uint64_t* value, enum XPUDeviceAttr attr, int device);
XPU_API int xpu_device_name(const char** name, int device);

/* ---- memory: addresses that the host must not touch, aligned to 256 bytes */
XPU_API int xpu_malloc(void** address, uint64_t size, enum XPUMemoryKind kind);
XPU_API int xpu_free(void* address); /* waits for the device first; tells no error of a kernel */
XPU_API int xpu_memcpy(void* to, const void* from, uint64_t size, enum XPUMemcpyKind kind); /* waits for the device first */
XPU_API int xpu_memcpy_async(void* to, const void* from, uint64_t size, enum XPUMemcpyKind kind, XPUStream stream);
XPU_API int xpu_memcpy_peer(int to_device, void* to, int from_device, const void* from, uint64_t size);
/* Which memory an address is in: XPUERR_INVALID_ADDRESS for one of no allocation. */
XPU_API int xpu_pointer_kind(const void* address, enum XPUMemoryKind* kind, int* device);

/* ---- streams and events */
XPU_API int xpu_stream_create(XPUStream* stream);
XPU_API int xpu_stream_destroy(XPUStream stream); /* waits for it first */
XPU_API int xpu_wait(XPUStream stream);           /* NULL: for all streams of the device */
XPU_API int xpu_event_create(XPUEvent* event);
XPU_API int xpu_event_destroy(XPUEvent event);
XPU_API int xpu_event_record(XPUEvent event, XPUStream stream);
XPU_API int xpu_event_wait(XPUEvent event);
XPU_API int xpu_stream_wait_event(XPUStream stream, XPUEvent event);

/* ---- graphs: what a stream is given between begin and end is not done, but recorded, and done again by each launch of the graph, with
 * the same addresses and arguments.  Calls that would wait for the stream in between fail with XPUERR_BUSY. */
XPU_API int xpu_stream_begin_capture(XPUStream stream);
XPU_API int xpu_stream_end_capture(XPUStream stream, XPUGraph* graph);
XPU_API int xpu_graph_launch(XPUGraph graph, XPUStream stream);
XPU_API int xpu_graph_destroy(XPUGraph graph); /* launches that were given to a stream are done all the same */

/* ---- kernels */
XPU_API int xpu_module_load(XPUModule* module, const void* code, uint64_t size); /* what the chip's compiler made, from memory */
XPU_API int xpu_module_unload(XPUModule module);
XPU_API int xpu_module_get_func(XPUFunc* func, XPUModule module, const char* name);
/* A launch: its grid, its arguments one by one (each at a multiple of its own size), then the kernel.  State of the calling thread. */
XPU_API int xpu_launch_config(int clusters, int cores, XPUStream stream);
XPU_API int xpu_launch_argument_set(const void* argument, size_t size, size_t offset);
XPU_API int xpu_launch_async(XPUFunc func);

/* ---- what launches may touch.  A runtime that does not look at transfers leaves these two out: callers ask whether they are there.
 * From a call with ranges on, until the next one, transfers of the calling thread's launches must lie in one of them; a count of 0
 * ends that.  `call` and the names are for messages, and copied. */
typedef struct XPURange {
  const void* address;
  uint64_t size;
  const char* name;
  int writable;
} XPURange;
#define XPU_OPTIONAL __attribute__((weak))
XPU_API XPU_OPTIONAL int xpu_launch_ranges(const char* call, const XPURange* ranges, int count);
XPU_API XPU_OPTIONAL int xpu_launch_range_add(const XPURange* range); /* one more, where there are any */

/* ---- errors */
XPU_API const char* xpu_strerror(int code);
/* What the last error of this thread was, in full: the kernel, the line, the address.  Never NULL. */
XPU_API const char* xpu_last_error_text(void);

#ifdef __cplusplus
}
#endif
#endif /* XPU_RUNTIME_H_ */
