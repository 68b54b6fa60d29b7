"""Where NVIDIA's libraries lie: in the packages that pip installs, or in a CUDA toolkit."""

from __future__ import annotations

import ctypes
import importlib.util
import os
from pathlib import Path

MAJOR = 13  # of CUDA: the version that TVM's CUDA runtime library is linked against


def roots() -> list[Path]:
    """The folders with lib/ and include/ of CUDA 13, in the order of preference."""
    found: list[Path] = []
    spec = importlib.util.find_spec("nvidia")  # the namespace package that NVIDIA's wheels share
    for place in (spec.submodule_search_locations or []) if spec else []:
        found.append(Path(place) / f"cu{MAJOR}")
    for name in ("CUDA_HOME", "CUDA_PATH"):
        if os.environ.get(name):
            found.append(Path(os.environ[name]))
    found.append(Path("/usr/local/cuda"))
    return [root for root in found if root.is_dir()]


def find_library(soname: str) -> Path | None:
    """The path of a library such as libcudart.so.13; None when no root has it (the dynamic linker may still know it)."""
    for root in roots():
        for folder in ("lib", "lib64"):
            if (path := root / folder / soname).is_file():
                return path
    return None


def include_folders() -> list[Path]:
    """The folders with cuda_fp16.h."""
    return [folder for root in roots() if ((folder := root / "include") / "cuda_fp16.h").is_file()]


def load(soname: str) -> ctypes.CDLL:
    """The library, its symbols global; OSError when it is nowhere, or does not load."""
    return ctypes.CDLL(str(find_library(soname) or soname), ctypes.RTLD_GLOBAL)
