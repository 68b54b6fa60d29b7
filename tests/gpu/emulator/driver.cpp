// A GPU for tests, on the CPU: the parts of libcuda.so.1 and libcudart.so.13 that TVM's CUDA runtime calls.
//
// "Device memory" is one region that nobody may touch but kernels and copies, so that host code that reads a device tensor crashes, as it
// would not work on a GPU.  A module is a text "…//emulated PATH": a shared object of kernels that g++ compiled (see __init__.py).
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <string>
#include <vector>

namespace {
constexpr size_t kRegion = size_t(8) << 30;
char* region = nullptr;
size_t used = 0;

struct Open {  // device memory can be touched while one of these lives
  Open() {
    if (used) mprotect(region, used, PROT_READ | PROT_WRITE);
  }
  ~Open() {
    if (used) mprotect(region, used, PROT_NONE);
  }
};

struct EmulatedKernel {  // as in emulated.h
  void (*run)(void** arguments);
  bool barriers;
  unsigned parameters;
  const unsigned* sizes;
};
struct Launch {
  unsigned grid[3], block[3], shared_bytes;
};
typedef void (*Enter)(const unsigned* grid, const unsigned* block, const void* kernel, void** arguments);

struct Module {
  void* library;
  Enter enter;
};
struct Function {
  Module* module;
  const void* kernel;
};
struct Launched {  // by a graph: what was captured, its arguments with it
  unsigned grid[3], block[3];
  Function* function;
  std::vector<uint64_t> arguments;
};
typedef std::vector<Launched> Graph;
Graph* captured = nullptr;  // while a stream is being captured

void run(const Launched& l) {
  std::vector<void*> arguments;
  for (const uint64_t& a : l.arguments) arguments.push_back((void*)&a);
  l.function->module->enter(l.grid, l.block, l.function->kernel, arguments.data());
}
}  // namespace

#define API extern "C" __attribute__((visibility("default"))) int

API cudaMalloc(void** out, size_t size) {
  if (captured) return 900;
  if (!region) region = (char*)mmap(nullptr, kRegion, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  size = (size + 4095) / 4096 * 4096;
  if (region == MAP_FAILED || used + size > kRegion) return 2;
  *out = region + used;
  used += size;
  Open open;
  memset(*out, 0xCD, size);  // what was never written shows
  return 0;
}
API cudaFree(void*) { return 0; }
API cudaMallocHost(void** out, size_t size) { return (*out = malloc(size)) ? 0 : 2; }
API cudaFreeHost(void* p) { return free(p), 0; }
API cudaMemcpyAsync(void* to, const void* from, size_t size, int, void*) {
  if (captured) return 900;
  Open open;
  memmove(to, from, size);
  return 0;
}
API cudaMemcpyPeerAsync(void* to, int, const void* from, int, size_t size, void* stream) { return cudaMemcpyAsync(to, from, size, 4, stream); }
API cudaMemGetInfo(size_t* free_bytes, size_t* total) { return *free_bytes = kRegion - used, *total = kRegion, 0; }
API cudaGetDeviceCount(int* count) { return *count = 1, 0; }
API cudaGetDevice(int* device) { return *device = 0, 0; }
API cudaSetDevice(int device) { return device == 0 ? 0 : 101; }
API cudaDeviceGetAttribute(int* value, int attribute, int) {
  const char* capability = getenv("EMULATED_CAPABILITY");
  int number = capability ? atoi(capability) : 80;
  switch (attribute) {
    case 1: *value = 1024; break;          // threads of a block
    case 8: *value = 49152; break;         // shared memory of a block
    case 10: *value = 32; break;           // threads of a warp
    case 75: *value = number / 10; break;  // compute capability
    case 76: *value = number % 10; break;
    default: *value = 1;
  }
  return 0;
}
API cudaGetDeviceProperties(void*, int) { return 801; }
API cudaGetLastError() { return 0; }
API cudaPeekAtLastError() { return 0; }
extern "C" __attribute__((visibility("default"))) const char* cudaGetErrorString(int) { return "an error of the emulated GPU"; }
extern "C" __attribute__((visibility("default"))) const char* cudaGetErrorName(int) { return "emulated"; }
API cudaEventCreate(void** e) { return *e = nullptr, 0; }
API cudaEventDestroy(void*) { return 0; }
API cudaEventRecord(void*, void*) { return 0; }
API cudaEventSynchronize(void*) { return 0; }
API cudaEventElapsedTime(float* ms, void*, void*) { return *ms = 0, 0; }
API cudaStreamCreate(void** s) { return *s = nullptr, 0; }
API cudaStreamCreateWithFlags(void** s, unsigned) { return *s = nullptr, 0; }
API cudaStreamDestroy(void*) { return 0; }
API cudaStreamSynchronize(void*) { return 0; }
API cudaStreamWaitEvent(void*, void*, unsigned) { return 0; }
API cuDeviceGetName(char* name, int size, int) { return snprintf(name, size, "emulated GPU"), 0; }
API cuGetErrorName(int, const char** text) { return *text = "emulated", 0; }
API cuGetErrorString(int, const char** text) { return *text = "an error of the emulated GPU", 0; }
API cuFuncSetAttribute(void*, int, int) { return 0; }
API cuTensorMapEncodeTiled() { return 801; }
API cuModuleLoadData(void** out, const void* data) {
  const char* mark = strstr((const char*)data, "//emulated ");
  if (!mark) return 200;
  void* library = dlopen(std::string(mark + 11, strcspn(mark + 11, "\n")).c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) return 200;
  *out = new Module{library, (Enter)dlsym(library, "emulated_enter")};
  return 0;
}
API cuModuleUnload(void*) { return 0; }
API cuModuleGetFunction(void** out, void* module, const char* name) {
  void* kernel = dlsym(((Module*)module)->library, (std::string("emulated_") + name).c_str());
  if (!kernel) return 500;
  *out = new Function{(Module*)module, kernel};
  return 0;
}
API cuLaunchKernelEx(const Launch* launch, void* function, void** arguments, void**) {
  const unsigned* b = launch->block;
  if (!launch->grid[0] || !launch->grid[1] || !launch->grid[2] || launch->grid[1] > 65535 || launch->grid[2] > 65535) return 1;
  if (!b[0] || !b[1] || !b[2] || b[0] * b[1] * b[2] > 1024 || b[2] > 64) return 1;
  Function* f = (Function*)function;
  Launched l{{launch->grid[0], launch->grid[1], launch->grid[2]}, {b[0], b[1], b[2]}, f};
  for (unsigned i = 0; i < ((const EmulatedKernel*)f->kernel)->parameters; ++i) {
    l.arguments.push_back(0);
    memcpy(&l.arguments.back(), arguments[i], ((const EmulatedKernel*)f->kernel)->sizes[i]);
  }
  if (captured) return captured->push_back(l), 0;  // nothing runs while it is captured
  Open open;
  run(l);
  return 0;
}
API cudaStreamBeginCapture(void*, int) {
  if (captured) return 901;
  captured = new Graph;
  return 0;
}
API cudaStreamEndCapture(void*, void** graph) {
  *graph = captured;
  captured = nullptr;
  return *graph ? 0 : 901;
}
API cudaGraphInstantiate(void** made, void* graph, unsigned long long) { return *made = new Graph(*(Graph*)graph), 0; }
API cudaGraphLaunch(void* graph, void*) {
  Open open;
  for (const Launched& l : *(Graph*)graph) run(l);
  return 0;
}
API cudaGraphDestroy(void* graph) { return delete (Graph*)graph, 0; }
API cudaGraphExecDestroy(void* graph) { return delete (Graph*)graph, 0; }
