// What tvm/runtime/tensor.h asks of a header that TVM's wheel leaves out: enough to compile it.  Tensors are not saved by this plug-in.
#pragma once
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace tvm {
namespace support {
template <typename T, typename = void>
struct Serializer {
  static constexpr bool enabled = false;
};

class Stream {
 public:
  virtual ~Stream() = default;
  virtual size_t Read(void* to, size_t size) = 0;
  virtual size_t Write(const void* from, size_t size) = 0;
  template <typename T, typename = std::enable_if_t<std::is_trivially_copyable_v<T>>>
  bool Read(T* value) {
    return ReadArray(value, 1);
  }
  template <typename T, typename = std::enable_if_t<std::is_trivially_copyable_v<T>>>
  void Write(const T& value) {
    WriteArray(&value, 1);
  }
  template <typename T>
  bool ReadArray(T* values, size_t count) {
    return Read(static_cast<void*>(values), sizeof(T) * count) == sizeof(T) * count;
  }
  template <typename T>
  void WriteArray(const T* values, size_t count) {
    Write(static_cast<const void*>(values), sizeof(T) * count);
  }
};
}  // namespace support
}  // namespace tvm
