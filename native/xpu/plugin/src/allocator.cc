// Pools of device memory, one for each kind: what a program gave back is used again by the next run.  And tensors at places in it.
#include <tvm/runtime/memory/memory_manager.h>

#include <map>
#include <mutex>

#include "plugin.h"

namespace oarlock_xpu {
namespace {
using tvm::runtime::memory::Allocator;
using tvm::runtime::memory::AllocatorType;
using tvm::runtime::memory::Buffer;

size_t size_class(size_t size) {
  // of equal sizes nearly all are given back as they were; rounding lets dynamic sizes share, at a cost of an eighth at most
  size_t step = 256;
  while (step * 16 < size) step *= 2;
  return (std::max<size_t>(size, 1) + step - 1) / step * step;
}

class XpuAllocator final : public Allocator {
 public:
  explicit XpuAllocator(AllocatorType type) : Allocator(type), kind_(type) {}
  ~XpuAllocator() final { Clear(); }

  Buffer Alloc(Device device, size_t size, size_t alignment, DLDataType) final {
    if (alignment > 256) TVM_FFI_THROW(ValueError) << "XPU memory is aligned to 256 bytes, not to " << alignment;
    return take(device, size, false);
  }

  Buffer Alloc(Device device, ffi::Shape shape, DLDataType dtype, const std::string& scope) final {
    if (!AllowMemoryScope(scope)) TVM_FFI_THROW(ValueError) << "the XPU has no memory scope " << scope << ": use global or global.l3";
    return take(device, ffi::GetDataSize(shape.Product(), dtype), scope == "global.l3");
  }

  void Free(const Buffer& buffer) final {
    XPUMemoryKind kind = XPU_MEM_MAIN;
    xpu_pointer_kind(buffer.data, &kind, nullptr);
    std::lock_guard<std::mutex> guard(mutex_);
    if (kind_ == tvm::runtime::memory::kNaive) {
      used_ -= buffer.size;
      release(buffer.data);
    } else {
      pool_[{buffer.device.device_id, kind == XPU_MEM_L3, buffer.size}].push_back(buffer.data);
    }
  }

  void Clear() final {
    std::lock_guard<std::mutex> guard(mutex_);
    for (auto& [key, free] : pool_)
      for (void* memory : free) {
        used_ -= key.size;
        release(memory);
      }
    pool_.clear();
  }

  size_t UsedMemory() const final { return used_; }

 protected:
  bool AllowMemoryScope(const std::string& scope) const final { return scope.empty() || scope == "global" || scope == "global.l3"; }

 private:
  struct Key {
    int device;
    bool in_l3;
    size_t size;
    bool operator<(const Key& o) const { return std::tie(device, in_l3, size) < std::tie(o.device, o.in_l3, o.size); }
  };

  void* pooled(int device, bool in_l3, size_t size) {
    std::lock_guard<std::mutex> guard(mutex_);
    auto& free = pool_[{device, in_l3, size}];
    if (free.empty()) return nullptr;
    void* memory = free.back();
    free.pop_back();
    return memory;
  }

  Buffer take(Device device, size_t asked, bool in_l3) {
    Buffer buffer;
    buffer.device = device;
    // in L3 what is asked for was planned to the byte
    buffer.size = in_l3 ? std::max<size_t>(asked, 1) : size_class(asked);
    buffer.alloc_type = kind_;
    buffer.data = pooled(device.device_id, in_l3, buffer.size);
    if (buffer.data) return buffer;
    if (in_l3) {  // where L3 was full before, main memory stood in
      buffer.data = allocate_l3(device.device_id, buffer.size);
      if (!buffer.data) buffer.data = pooled(device.device_id, false, buffer.size);
      if (buffer.data) return buffer;
    }
    try {
      buffer.data = allocate(device.device_id, buffer.size, false);
    } catch (const ffi::Error&) {
      Clear();  // what the pools hold may be just what is missing
      buffer.data = allocate(device.device_id, buffer.size, in_l3);
    }
    std::lock_guard<std::mutex> guard(mutex_);
    used_ += buffer.size;
    return buffer;
  }

  // nullptr where L3 is full, even without what programs of the past left in the pool.
  void* allocate_l3(int device, size_t size) {
    use_device(device);
    std::lock_guard<std::mutex> guard(mutex_);
    void* memory = nullptr;
    if (xpu_malloc(&memory, size, XPU_MEM_L3) != XPU_SUCCESS) {
      for (auto& [key, free] : pool_) {
        if (key.device != device || !key.in_l3) continue;
        for (void* old : free) {
          used_ -= key.size;
          release(old);
        }
        free.clear();
      }
      if (xpu_malloc(&memory, size, XPU_MEM_L3) != XPU_SUCCESS) return nullptr;
    }
    used_ += size;
    return memory;
  }

  const AllocatorType kind_;
  std::map<Key, std::vector<void*>> pool_;
  size_t used_ = 0;
  std::mutex mutex_;
};

// Tensors of planned programs lie at offsets in one storage.  TVM's own keep the offset beside the address, which kernels refuse.
struct Part {
  tvm::runtime::memory::Storage storage;
  void AllocData(DLTensor* tensor, int64_t offset) {
    tensor->data = static_cast<char*>(storage->buffer.data) + offset;
    tensor->byte_offset = 0;
  }
  void FreeData(DLTensor*) {}
};

tvm::runtime::Tensor tensor_at(tvm::runtime::memory::Storage storage, int64_t offset, ffi::Shape shape, DLDataType dtype) {
  const size_t needed = ffi::GetDataSize(shape.Product(), dtype);
  if (offset < 0 || static_cast<size_t>(offset) > storage->buffer.size || needed > storage->buffer.size - offset)
    TVM_FFI_THROW(ValueError) << "a tensor of " << needed << " bytes at " << offset << " leaves its storage of " << storage->buffer.size;
  return tvm::runtime::Tensor::FromNDAlloc(Part{storage}, shape, dtype, storage->buffer.device, offset);
}
}  // namespace

TVM_FFI_STATIC_INIT_BLOCK() {
  tvm::ffi::reflection::GlobalDef().def("oarlock_xpu.tensor_at", tensor_at);
  // for a device type that TVM does not name, its runtime asks for an allocator by this literal name
  tvm::ffi::reflection::GlobalDef().def("DeviceAllocator.", [](Device device, int type) -> void* {
    if (device.device_type != kXpu) return nullptr;
    return static_cast<Allocator*>(new XpuAllocator(static_cast<AllocatorType>(type)));
  });
}
}  // namespace oarlock_xpu
