"""A GPU for tests on machines that have none: TVM's own CUDA runtime over an emulated driver, kernels compiled by g++.

What it can tell: that kernels compute the right numbers with the right threads, barriers and shuffles, that launches are within CUDA's
limits, and that no host code touches device memory.  What it cannot: speed, data races between blocks, what NVRTC and the GPU round
otherwise.
"""

from __future__ import annotations

import ctypes
import hashlib
import platform
import re
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
_KERNEL = re.compile(r'extern "C" __global__ void (?:__launch_bounds__\(\d+\) )?(\w+)\(([^)]*)\) \{')
_VERSIONS = "libcudart.so.13 { global: cuda*; };\n"


def missing() -> str:
    """Why the emulator cannot run here; "" when it can."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return "the emulated GPU runs on x86-64 Linux"
    return "" if shutil.which("g++") else "the emulated GPU needs g++"


def install(folder: Path) -> None:
    """Make this process one with a GPU: load the emulated driver, and compile kernels for it.  It cannot be undone."""
    from oarlock.runtime import cuda_libraries
    from oarlock.targets.cuda.nvrtc import Nvrtc

    versions = folder / "versions"
    versions.write_text(_VERSIONS)
    libraries = {}
    for soname, extra in (("libcuda.so.1", []), ("libcudart.so.13", [f"-Wl,--version-script={versions}"])):
        libraries[soname] = folder / soname
        _gxx([str(HERE / "driver.cpp"), *extra, f"-Wl,-soname,{soname}", "-ldl"], libraries[soname])
    # one copy of the state: the runtime's functions and the driver's are both taken from the library that is loaded first
    for path in libraries.values():
        ctypes.CDLL(str(path), ctypes.RTLD_GLOBAL)
    find = cuda_libraries.find_library
    cuda_libraries.find_library = lambda soname: libraries.get(soname) or find(soname)
    Nvrtc.__init__ = lambda self: None
    Nvrtc.architectures = lambda self: [75, 80, 90]
    Nvrtc.compile = lambda self, source, arch, result, options=(): compile_kernels(source, folder)


def compile_kernels(source: str, folder: Path) -> bytes:
    """CUDA C++ → what the emulated driver takes for PTX."""
    body = "\n".join(line for line in source.splitlines() if not line.startswith("#define __"))
    body = re.sub(r"__shared__ (alignas\(\d+\))", r"\1 static", body)
    kernels = []
    for found in _KERNEL.finditer(body):
        name, parameters = found[1], [p.replace("__restrict__", "").strip() for p in found[2].split(",") if p.strip()]
        types = [re.sub(r"\w+$", "", p).strip() for p in parameters]
        end = body.find('extern "C"', found.end())
        text = body[found.end() : end if end > 0 else None]
        barriers = "true" if re.search(r"__sync|__shfl", text) else "false"
        arguments = ", ".join(f"*({t}*)p[{i}]" for i, t in enumerate(types))
        sizes = ", ".join(f"sizeof({t})" for t in types) or "0"
        kernels.append(f"static const unsigned sizes_of_{name}[] = {{{sizes}}};")
        kernels.append(
            f'extern "C" __attribute__((visibility("default"))) const EmulatedKernel emulated_{name} = '
            f"{{[](void** p) {{ {name}({arguments}); }}, {barriers}, {len(types)}, sizes_of_{name}}};"
        )
    stem = hashlib.sha256(source.encode()).hexdigest()[:16]
    file, library = folder / f"{stem}.cpp", folder / f"{stem}.so"
    # the threads are made of the same library as the kernels, so that each module has its own state
    file.write_text(f"#include <emulated.h>\n{body}\n" + "\n".join(kernels) + f'\n#include "{HERE / "threads.cpp"}"\n')
    _gxx([str(file)], library)
    return f"//emulated {library}\n".encode()


def _gxx(arguments: list[str], out: Path) -> None:
    command = ["g++", "-std=c++17", "-O1", "-w", "-fPIC", "-shared", f"-I{HERE / 'include'}", *arguments, "-o", str(out)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"g++ failed: {done.stderr[:4000]}")
