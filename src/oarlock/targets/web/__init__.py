"""The web target: kernels as WebAssembly, called one by one by a plan (docs/web.md)."""

from .target import WebTarget

__all__ = ["WebTarget"]
