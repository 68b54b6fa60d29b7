"""TVM's own RPC with a page as the device: kernels as modules of a few kB, and TVM's proxy with the page (docs/web-rpc.md).

module = rpc.wasm(prim_func)
with rpc.serve(key="wasm") as served:
    remote = tvm.rpc.connect(served.host, served.port, "wasm", session_constructor_args=["rpc.WasmSession", module])
    matmul = remote.system_lib()["main"]
"""

from .kernels import build, create_wasm, export, target, wasm
from .serving import Served, page_files, serve

__all__ = ["Served", "build", "create_wasm", "export", "page_files", "serve", "target", "wasm"]
