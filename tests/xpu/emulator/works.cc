// Kernels and calls that work; a case returns 0, or the number of the check that failed.
#include "cases.h"

__global__ void scale(float k, _global_ptr_ const float* x, _global_ptr_ float* y, int64_t n) {
  XPU_LOCAL(float, lm, 64);
  for (int64_t at = 64 * (cluster_id() * core_num() + core_id()); at < n; at += 64 * cluster_num() * core_num()) {
    const int m = n - at < 64 ? n - at : 64;
    GM2LM(x + at, lm, m * sizeof(float));
    for (int i = 0; i < m; ++i) lm[i] *= k;
    XPU_OPS(m);
    LM2GM(lm, y + at, m * sizeof(float));
  }
}
XPU_KERNEL(scale)

// The sum of all numbers by one cluster: each core its part, then a tree over shared memory.
__global__ void total(_global_ptr_ const float* x, _global_ptr_ float* y, int n) {
  XPU_SHARED(float, parts, 64);
  XPU_LOCAL(float, lm, 1);
  float sum = 0;
  for (int i = core_id(); i < n; i += core_num()) {
    GM2LM(x + i, lm, 4);
    sum += lm[0];
  }
  parts[core_id()] = sum;
  for (int half = core_num() / 2; half; half /= 2) {
    sync_cluster();
    if (core_id() < half) parts[core_id()] += parts[core_id() + half];
  }
  if (core_id() == 0) {
    lm[0] = parts[0];
    LM2GM(lm, y, 4);
  }
}
XPU_KERNEL(total)

// Works on one tile while the next one is on its way.
template <bool async>
static void tiles(_global_ptr_ const float* x, _global_ptr_ float* y, int n) {
  XPU_LOCAL(float, lm, 2 * 64);
  GM2LM_ASYNC(x, lm, 64 * 4);
  mfence();
  for (int t = 0; t < n; ++t) {
    float* now = lm + t % 2 * 64;
    if (async && t + 1 < n) GM2LM_ASYNC(x + (t + 1) * 64, lm + (t + 1) % 2 * 64, 64 * 4);
    for (int i = 0; i < 64; ++i) now[i] += 1;
    XPU_OPS(64 * 100);
    if (!async && t + 1 < n) GM2LM_ASYNC(x + (t + 1) * 64, lm + (t + 1) % 2 * 64, 64 * 4);
    LM2GM_ASYNC(now, y + t * 64, 64 * 4);
    mfence();
  }
}
__global__ void overlapped(_global_ptr_ const float* x, _global_ptr_ float* y, int n) { tiles<true>(x, y, n); }
XPU_KERNEL(overlapped)
__global__ void in_turn(_global_ptr_ const float* x, _global_ptr_ float* y, int n) { tiles<false>(x, y, n); }
XPU_KERNEL(in_turn)

__global__ void product(_global_ptr_ const float* a, _global_ptr_ const float* b, _global_ptr_ float* c, int m, int n, int k) {
  SDNN_BUFFER(float, left, m* k);
  SDNN_BUFFER(float, right, k* n);
  SDNN_BUFFER(float, sums, m* n);
  SDNN_LOAD(left, a, m, k * 4, k * 4, k * 4);
  SDNN_LOAD(right, b, k, n * 4, n * 4, n * 4);
  memset(sums, 0, m * n * 4);
  SDNN_PRODUCT(left, right, sums, m, n, k, k, n, n);
  SDNN_STORE(sums, c, m, n * 4, n * 4, n * 4);
}
XPU_SDNN_KERNEL(product)

#define CHECK(number, condition) \
  if (!(condition)) return number

static double modelled_us(const char* kernel) {
  std::string text = xpu_sim_counters();
  size_t at = text.find(std::string("\"") + kernel + "\"");
  if (at == std::string::npos) return -1;
  return atof(text.c_str() + text.find("\"modelled_us\": ", at) + 15);
}

static int grids() {
  for (int n : {1, 63, 64, 65, 1000, 100003}) {
    float *x = on_device(ramp(n)), *y = on_device(std::vector<float>(n), n < 5000 ? XPU_MEM_L3 : XPU_MEM_MAIN);
    for (auto [clusters, cores] : {std::pair(2, 4), std::pair(1, 1), std::pair(2, 3)}) {
      CHECK(1, XPU_LAUNCH(scale, clusters, cores, nullptr, 0.5f, x, y, n) == 0);
      std::vector<float> found = on_host(y, n);
      for (int i = 0; i < n; ++i) CHECK(2, found[i] == i * 0.5f);
    }
    CHECK(3, xpu_free(x) == 0 && xpu_free(y) == 0);
  }
  return 0;
}

static int barriers() {
  const int n = 1000;
  float *x = on_device(ramp(n)), *y = on_device({0});
  CHECK(1, XPU_LAUNCH(total, 1, 4, nullptr, x, y, n) == 0 && xpu_wait(nullptr) == 0);
  CHECK(2, on_host(y, 1)[0] == n * (n - 1) / 2);
  CHECK(3, strstr(xpu_sim_counters(), "\"barriers\": 2"));
  return 0;
}

static int overlap() {
  const int n = 32;
  float *x = on_device(ramp(n * 64)), *y = on_device(ramp(n * 64));
  CHECK(1, XPU_LAUNCH(overlapped, 1, 1, nullptr, x, y, n) == 0 && xpu_wait(nullptr) == 0);
  CHECK(2, on_host(y, n * 64)[64 * 5 + 3] == 64 * 5 + 4);
  CHECK(3, XPU_LAUNCH(in_turn, 1, 1, nullptr, x, y, n) == 0 && xpu_wait(nullptr) == 0);
  CHECK(4, on_host(y, n * 64)[n * 64 - 1] == n * 64);
  CHECK(5, modelled_us("overlapped") > 10 && modelled_us("overlapped") < modelled_us("in_turn"));
  return 0;
}

static int products() {
  for (auto [m, n, k] : {std::tuple(1, 1, 1), std::tuple(7, 45, 13), std::tuple(16, 64, 32), std::tuple(9, 17, 40)}) {
    std::vector<float> a(m * k), b(k * n);
    for (size_t i = 0; i < a.size(); ++i) a[i] = static_cast<int>(i * 7 % 11) - 5;
    for (size_t i = 0; i < b.size(); ++i) b[i] = static_cast<int>(i * 5 % 13) - 6;
    float *x = on_device(a), *w = on_device(b), *y = on_device(std::vector<float>(m * n));
    CHECK(1, XPU_LAUNCH(product, 1, 1, nullptr, x, w, y, m, n, k) == 0);
    std::vector<float> found = on_host(y, m * n);
    for (int i = 0; i < m; ++i)
      for (int j = 0; j < n; ++j) {
        float sum = 0;
        for (int p = 0; p < k; ++p) sum += a[i * k + p] * b[p * n + j];
        CHECK(2, found[i * n + j] == sum);
      }
  }
  return 0;
}

// Work is done when it is waited for, in the order of its stream and of events.
static int streams() {
  XPUStream a, b;
  XPUEvent e;
  CHECK(1, !xpu_stream_create(&a) && !xpu_stream_create(&b) && !xpu_event_create(&e));
  const std::vector<float> one(64, 1);
  float *x = on_device(one), *y = on_device(one), host = 0;
  CHECK(2, XPU_LAUNCH(scale, 1, 1, a, 3.f, x, y, 64) == 0);
  CHECK(3, !xpu_event_record(e, a) && !xpu_stream_wait_event(b, e));
  CHECK(4, XPU_LAUNCH(scale, 1, 1, b, 2.f, y, y, 64) == 0 && !xpu_memcpy_async(&host, y, 4, XPU_DEVICE_TO_HOST, b));
  CHECK(5, host == 0);
  CHECK(6, !xpu_wait(b) && host == 6);
  CHECK(7, !xpu_event_wait(e) && !xpu_event_destroy(e) && !xpu_stream_destroy(a) && !xpu_stream_destroy(b));
  CHECK(8, xpu_stream_destroy(b) == XPUERR_INVALID_PARAM);
  return 0;
}

static int peers() {
  float* x = on_device(ramp(64));
  CHECK(1, !xpu_set_device(1));
  float* y = on_device(std::vector<float>(64));
  XPUMemoryKind kind;
  int device = -1;
  CHECK(2, !xpu_pointer_kind(y, &kind, &device) && kind == XPU_MEM_MAIN && device == 1);
  CHECK(3, xpu_memcpy(y, x, 256, XPU_DEVICE_TO_DEVICE) == XPUERR_INVALID_ADDRESS);  // the other device's memory
  CHECK(4, !xpu_memcpy_peer(1, y, 0, x, 256) && on_host(y, 64) == ramp(64));
  return 0;
}

// Launches may touch the tensors that were told, also in place and where one lies in another, and all memory when nothing is told.
static int ranges() {
  float* x = on_device(ramp(512));
  const XPURange told[] = {{x, 128 * 4, "x", 0}, {x + 128, 128 * 4, "result", 1}, {x + 64, 32 * 4, "part", 1}};
  CHECK(1, !xpu_launch_ranges("scale", told, 3));
  CHECK(2, !XPU_LAUNCH(scale, 2, 4, nullptr, 2.0f, x, x + 128, int64_t(128)) && !xpu_wait(nullptr));
  CHECK(3, on_host(x + 128, 128)[100] == 200);
  CHECK(4, !XPU_LAUNCH(scale, 1, 1, nullptr, 2.0f, x + 64, x + 64, int64_t(32)) && !xpu_wait(nullptr) && on_host(x + 64, 1)[0] == 128);
  CHECK(5, !XPU_LAUNCH(scale, 1, 1, nullptr, 2.0f, x, x + 256, int64_t(64)) && xpu_wait(nullptr) == XPUERR_KERNEL_FAULT);
  const XPURange work{x + 256, 64 * 4, "workspace", 1};
  CHECK(6, !xpu_launch_range_add(&work));
  CHECK(7, !XPU_LAUNCH(scale, 1, 1, nullptr, 2.0f, x, x + 256, int64_t(64)) && !xpu_wait(nullptr));
  CHECK(8, !XPU_LAUNCH(scale, 1, 1, nullptr, 2.0f, x, x + 320, int64_t(64)) && !xpu_launch_ranges(nullptr, nullptr, 0));
  CHECK(9, xpu_wait(nullptr) == XPUERR_KERNEL_FAULT);  // launched before the end
  CHECK(10, !XPU_LAUNCH(scale, 1, 1, nullptr, 2.0f, x, x + 320, int64_t(64)) && !xpu_wait(nullptr) && !xpu_launch_range_add(&work));
  CHECK(11, !XPU_LAUNCH(scale, 1, 1, nullptr, 2.0f, x, x + 320, int64_t(64)) && !xpu_wait(nullptr));
  return 0;
}

static int attributes() {
  uint64_t value = 0;
  CHECK(1, !xpu_device_get_attr(&value, XPUATTR_NUM_CLUSTER, 0) && value == 2);
  CHECK(2, !xpu_device_get_attr(&value, XPUATTR_MEM_L3_CAPACITY, 1) && value == 1 << 20);
  CHECK(3, xpu_device_get_attr(&value, static_cast<XPUDeviceAttr>(99), 0) == XPUERR_INVALID_PARAM);
  float* x = on_device(ramp(64));
  CHECK(4, !xpu_device_get_attr(&value, XPUATTR_MEM_MAIN_USED, 0) && value >= 256);
  CHECK(5, xpu_sim_configure("r200", 1) == XPUERR_BUSY && !xpu_free(x) && xpu_sim_configure("none", 1) == XPUERR_INVALID_PARAM);
  CHECK(6, !xpu_sim_configure("r200", 1) && !xpu_device_get_attr(&value, XPUATTR_NUM_CORE, 0) && value == 64);
  return 0;
}

int main(int argc, char** argv) {
  return main_of(argc, argv,
                 {{"grids", grids},
                  {"barriers", barriers},
                  {"overlap", overlap},
                  {"products", products},
                  {"streams", streams},
                  {"peers", peers},
                  {"ranges", ranges},
                  {"attributes", attributes}});
}
