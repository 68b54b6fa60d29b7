"""The CUDA target: TVM's GPU schedules and convolutions as products, compiled to PTX by NVRTC; needs no GPU to compile."""

from .target import CudaTarget

__all__ = ["CudaTarget"]
