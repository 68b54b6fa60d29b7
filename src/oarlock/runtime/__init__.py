"""Runs artifacts with TVM's runtime library, tvm_ffi and numpy alone: no compiler, no Paddle."""
