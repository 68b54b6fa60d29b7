// What TVM passes to a function of a model, checked: this is the one place where that is done.
//
// What TVM passes has left the compiler's view, and a wrong address in a kernel is a fault of the device, minutes later and far from its
// cause.  So types, element types, dims, strides, the device, the allocation and the alignment are looked at before anything is launched.
#ifndef OARLOCK_XPU_ARGUMENTS_H_
#define OARLOCK_XPU_ARGUMENTS_H_

#include <string>

#include "steps.h"

namespace oarlock_xpu {

// While it lives, launches of this thread may touch the tensors of a call only, where the runtime looks at that.
class Ranges {
 public:
  explicit Ranges(const Call& call);
  ~Ranges();
  Ranges(const Ranges&) = delete;
};

// A tensor of the device `device` (-1: of any); TypeError or ValueError with the function, the argument's number and its role.
View tensor_argument(const Step& step, ffi::PackedArgs args, int index, const char* role, int device = -1);

// An address within an allocation of the device, or null.
void* address_argument(const std::string& kernel, ffi::PackedArgs args, int index);
int64_t integer_argument(const std::string& kernel, ffi::PackedArgs args, int index, int64_t least, int64_t most);
double number_argument(const std::string& kernel, ffi::PackedArgs args, int index);

}  // namespace oarlock_xpu
#endif  // OARLOCK_XPU_ARGUMENTS_H_
