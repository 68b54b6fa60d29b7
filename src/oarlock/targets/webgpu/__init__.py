"""The WebGPU target: kernels as WGSL that TVM makes, called one by one by a plan (docs/web-webgpu.md)."""

from .target import WebGpuTarget

__all__ = ["WebGpuTarget"]
