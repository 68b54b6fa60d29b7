// Kernels that break a rule of the chip each.  A line that a message must name has its case's name as a comment.
#include "cases.h"

__global__ void past_end(_global_ptr_ const float* x) {
  XPU_LOCAL(float, lm, 64);
  GM2LM(x, lm, 64 * 4);  // past_end
}
XPU_KERNEL(past_end)

__global__ void past_local(_global_ptr_ const float* x) {
  XPU_LOCAL(float, lm, 16);
  XPU_LOCAL(float, other, 64);
  GM2LM(x, lm, 32 * 4);  // past_local
  (void)other;
}
XPU_KERNEL(past_local)

__global__ void local_overflow(int n) {
  XPU_LOCAL(float, first, 256);
  XPU_LOCAL(float, second, n);  // local_overflow
  (void)first, (void)second;
}
XPU_KERNEL(local_overflow)

__global__ void shared_overflow(int n) {
  XPU_SHARED(float, sm, n);  // shared_overflow
  (void)sm;
}
XPU_KERNEL(shared_overflow)

__global__ void never_fenced(_global_ptr_ const float* x) {
  XPU_LOCAL(float, lm, 64);
  GM2LM_ASYNC(x, lm, 16 * 4);  // never_fenced
}
XPU_KERNEL(never_fenced)

__global__ void stored_unfenced(_global_ptr_ const float* x, _global_ptr_ float* y) {
  XPU_LOCAL(float, lm, 64);
  GM2LM_ASYNC(x, lm, 16 * 4);
  LM2GM(lm, y, 16 * 4);  // stored_unfenced
  mfence();
}
XPU_KERNEL(stored_unfenced)

__global__ void read_unfenced(_global_ptr_ const float* x, _global_ptr_ float* y) {
  XPU_LOCAL(float, lm, 64);
  GM2LM_ASYNC(x, lm, 16 * 4);
  float first = lm[0];  // read_unfenced
  mfence();
  lm[1] = first;
  LM2GM(lm, y, 16 * 4);
}
XPU_KERNEL(read_unfenced)

__global__ void overwritten(_global_ptr_ float* y) {
  XPU_LOCAL(float, lm, 64);
  for (int i = 0; i < 16; ++i) lm[i] = 1;
  LM2GM_ASYNC(lm, y, 16 * 4);  // overwritten
  lm[3] = 2;
  mfence();
}
XPU_KERNEL(overwritten)

__global__ void divergent(int n) {
  if (core_id() < n) sync_cluster();  // divergent
}
XPU_KERNEL(divergent)

__global__ void shared_race(_global_ptr_ float* y) {
  XPU_SHARED(float, sm, 4);
  XPU_LOCAL(float, lm, 1);
  sm[core_id()] = core_id();
  lm[0] = sm[(core_id() + 1) % core_num()];  // no sync_cluster() between
  LM2GM(lm, y + cluster_id() * core_num() + core_id(), 4);
}
XPU_KERNEL(shared_race)

__global__ void global_race(_global_ptr_ float* y) {
  XPU_LOCAL(float, lm, 4);
  for (int i = 0; i < 4; ++i) lm[i] = core_id();
  LM2GM(lm, y + core_id(), 2 * 4);  // global_race
}
XPU_KERNEL(global_race)

__global__ void outside_local(int n, _global_ptr_ float* y) {
  XPU_LOCAL(float, lm, 4);
  XPU_LOCAL(float, other, 4);
  for (int i = 0; i < 4; ++i) lm[i] = other[i] = 0;
  lm[n] = 1;  // outside_local
  LM2GM(lm, y, 4 * 4);
}
XPU_KERNEL(outside_local)

__global__ void direct(_global_ptr_ float* y) { y[1] = 1; }  // direct
XPU_KERNEL(direct)

__global__ void asserts(int n) {
  xpu_assert(n < 3);  // asserts
}
XPU_KERNEL(asserts)

__global__ void unit_overflow(_global_ptr_ const float* x) {
  SDNN_BUFFER(float, tile, 64);
  SDNN_LOAD(tile, x, 4, 16 * 4, 16 * 4, 20 * 4);  // unit_overflow
}
XPU_SDNN_KERNEL(unit_overflow)

// x: the first 24 of 48 floats of an allocation, as it is told
__global__ void past_tensor(_global_ptr_ const float* x) {
  XPU_LOCAL(float, lm, 64);
  GM2LM(x, lm, 32 * 4);  // past_tensor
}
XPU_KERNEL(past_tensor)

__global__ void behind_tensor(_global_ptr_ const float* x) {
  XPU_LOCAL(float, lm, 64);
  GM2LM(x + 24, lm, 4 * 4);  // behind_tensor
}
XPU_KERNEL(behind_tensor)

__global__ void to_input(_global_ptr_ float* x) {
  XPU_LOCAL(float, lm, 64);
  for (int i = 0; i < 16; ++i) lm[i] = 1;
  LM2GM(lm, x, 16 * 4);  // to_input
}
XPU_KERNEL(to_input)

__global__ void other_tensor(_global_ptr_ const float* z) {
  XPU_LOCAL(float, lm, 64);
  GM2LM(z, lm, 16 * 4);  // other_tensor
}
XPU_KERNEL(other_tensor)

__global__ void past_own_tensor(_global_ptr_ const float* x) {
  XPU_TENSOR(x, 24 * 4);
  XPU_LOCAL(float, lm, 64);
  GM2LM(x + 20, lm, 8 * 4);  // past_own_tensor
}
XPU_KERNEL(past_own_tensor)

__global__ void unit_past_tensor(_global_ptr_ const float* x) {
  SDNN_BUFFER(float, tile, 64);
  SDNN_LOAD(tile, x, 2, 8 * 4, 20 * 4, 8 * 4);  // unit_past_tensor
}
XPU_SDNN_KERNEL(unit_past_tensor)

#define RUN(kernel, clusters, cores, ...) (XPU_LAUNCH(kernel, clusters, cores, nullptr, __VA_ARGS__) || xpu_wait(nullptr) ? 1 : 0)

int main(int argc, char** argv) {
  float *x = nullptr, *y = nullptr;
  auto memory = [&] { x = on_device(ramp(48)), y = on_device(ramp(48)); };
  auto told = [&] {
    const XPURange ranges[] = {{x + 28, 20 * 4, "result", 1}, {x, 24 * 4, "x", 0}};
    return xpu_launch_ranges("f", ranges, 2);
  };
  Cases cases = {
      {"past_end", [&] { return memory(), RUN(past_end, 1, 1, x); }},
      {"past_local", [&] { return memory(), RUN(past_local, 2, 4, x); }},
      {"local_overflow", [] { return RUN(local_overflow, 1, 1, 512); }},
      {"shared_overflow", [] { return RUN(shared_overflow, 2, 4, 8192 / 4 + 1); }},
      {"never_fenced", [&] { return memory(), RUN(never_fenced, 2, 4, x); }},
      {"stored_unfenced", [&] { return memory(), RUN(stored_unfenced, 1, 1, x, y); }},
      {"read_unfenced", [&] { return memory(), RUN(read_unfenced, 1, 1, x, y); }},
      {"overwritten", [&] { return memory(), RUN(overwritten, 1, 1, y); }},
      {"divergent", [&] { return RUN(divergent, 2, 4, 3); }},
      {"shared_race", [&] { return memory(), RUN(shared_race, 2, 4, y); }},
      {"global_race", [&] { return memory(), RUN(global_race, 1, 4, y); }},
      {"outside_local", [&] { return memory(), RUN(outside_local, 1, 1, 4, y); }},
      {"direct", [&] { return memory(), RUN(direct, 2, 4, y); }},
      {"asserts", [&] { return RUN(asserts, 1, 1, 7); }},
      {"unit_overflow", [&] { return memory(), RUN(unit_overflow, 1, 1, x); }},
      {"past_tensor", [&] { return memory(), told(), RUN(past_tensor, 1, 1, x); }},
      {"behind_tensor", [&] { return memory(), told(), RUN(behind_tensor, 1, 1, x); }},
      {"to_input", [&] { return memory(), told(), RUN(to_input, 1, 1, x); }},
      {"other_tensor", [&] { return memory(), told(), RUN(other_tensor, 1, 1, y); }},
      {"past_own_tensor", [&] { return memory(), RUN(past_own_tensor, 1, 1, x); }},
      {"unit_past_tensor", [&] { return memory(), told(), RUN(unit_past_tensor, 1, 1, x); }},
      {"past_tensor_replayed",
       [&] {  // a graph keeps what its launches were told, and others that come later do not
         XPUGraph graph;
         memory(), told();
         if (xpu_stream_begin_capture(nullptr) || XPU_LAUNCH(past_tensor, 1, 1, nullptr, x)) return 3;
         if (xpu_stream_end_capture(nullptr, &graph) || xpu_launch_ranges(nullptr, nullptr, 0)) return 3;
         if (XPU_LAUNCH(past_tensor, 1, 1, nullptr, x) || xpu_wait(nullptr)) return 4;
         return xpu_graph_launch(graph, nullptr) || xpu_wait(nullptr) ? 1 : 0;
       }},
      {"host_read", [&] { return memory(), static_cast<int>(x[5]); }},
      {"grid", [&] { return memory(), RUN(past_end, 3, 1, x); }},
      {"arguments", [&] { return memory(), xpu_launch_config(1, 1, nullptr) || xpu_launch_async(&xpu_kernel_past_end); }},
      {"double_free", [&] { return memory(), xpu_free(x), xpu_free(x); }},
      {"inner_free", [&] { return memory(), xpu_free(x + 1); }},
      {"copy_past_end", [&] { return memory(), xpu_memcpy(x + 40, ramp(48).data(), 48 * 4, XPU_HOST_TO_DEVICE); }},
      {"copy_after_free", [&] { return memory(), xpu_free(y), xpu_memcpy(y, ramp(48).data(), 48 * 4, XPU_HOST_TO_DEVICE); }},
      {"copy_wrong_way", [&] { return memory(), xpu_memcpy(x, y, 16, XPU_DEVICE_TO_HOST); }},
      {"too_much",
       [] {
         void* p;
         return xpu_malloc(&p, 2 << 20, XPU_MEM_L3);
       }},
      {"no_device", [] { return xpu_set_device(2); }},
      {"bad_module",
       [] {
         XPUModule m;
         return xpu_module_load(&m, "no code", 7);
       }},
      {"after_a_fault",
       [&] {  // the device goes on
         memory();
         if (!RUN(past_end, 1, 1, x)) return 3;
         return on_host(x, 48) == ramp(48) ? RUN(asserts, 1, 1, 1) : 4;
       }},
      {"told_after_free",
       [&] {  // memory is given back all the same
         memory();
         if (XPU_LAUNCH(past_end, 1, 1, nullptr, x) || xpu_free(y)) return 3;
         return xpu_wait(nullptr) == XPUERR_KERNEL_FAULT && xpu_wait(nullptr) == 0 && xpu_free(y) == XPUERR_INVALID_ADDRESS ? 0 : 4;
       }},
  };
  return main_of(argc, argv, cases);
}
