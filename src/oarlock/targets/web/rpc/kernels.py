"""Kernels of TVM, which take packed arguments, as modules for the page: no runtime is linked."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tvm

from .... import compat_rpc
from ....errors import InputError
from ..module import link_packed
from ..target import WebTarget


def target(variant: str = "simd128") -> tvm.target.Target:
    """TVM's target for the page: "plain", "simd128" or "relaxed-simd"."""
    made = WebTarget(variant=variant)
    if made.threads != 1:
        raise InputError(f"the page runs kernels on one thread, not {variant}", where="oarlock.targets.web.rpc", todo="leave out -threads")
    return made.tvm_target


def wasm(kernels: Any, *, variant: str = "simd128") -> bytes:
    """The module of a PrimFunc (its function is "main"), of an IRModule's PrimFuncs, or of what TVM built for ``target()`` already.

    Raises InputError for anything else, UnsupportedError where kernels call what the page does not have, TargetError without a linker.
    """
    if isinstance(kernels, tvm.tirx.PrimFunc):
        kernels = tvm.IRModule({"main": kernels.with_attr("global_symbol", "main")})
    if isinstance(kernels, tvm.IRModule):
        if others := [gv.name_hint for gv, f in kernels.functions.items() if not isinstance(f, tvm.tirx.PrimFunc)]:
            what = f"the page runs kernels (PrimFuncs), not {', '.join(sorted(others))}"
            raise InputError(what, where="oarlock.targets.web.rpc", todo="`oarlock web build` compiles whole models")
        named = {gv: f.with_attr("global_symbol", gv.name_hint) for gv, f in kernels.functions.items()}  # else a function is private
        kernels = compat_rpc.build_packed(tvm.IRModule(named, attrs=kernels.attrs), target(variant))
    if isinstance(kernels, tvm.runtime.Executable):
        kernels = kernels.mod
    if not isinstance(kernels, tvm.runtime.Module):
        raise InputError(
            f"a PrimFunc, an IRModule or a built module is wanted, not {type(kernels).__name__}", where="oarlock.targets.web.rpc"
        )
    with tempfile.TemporaryDirectory(prefix="oarlock-") as scratch:
        out = Path(scratch) / "kernels.wasm"
        kernels.export_library(str(out), fcompile=create_wasm)
        return out.read_bytes()


def create_wasm(output: str, objects: str | Sequence[str], options: Sequence[str] | None = None, **_: Any) -> None:
    """For ``export_library(…, fcompile=create_wasm)``, in the place of tvm.contrib.tvmjs.create_tvmjs_wasm."""
    paths = [Path(objects)] if isinstance(objects, str) else [Path(path) for path in objects]
    link_packed(paths, Path(output))


create_wasm.output_format = "wasm"  # type: ignore[attr-defined]


def build(mod: tvm.IRModule, target: tvm.target.Target, params: Any = None) -> tvm.runtime.Module:
    """For MetaSchedule: LocalBuilder(f_build=build).  TVM's own spends most of its time on intrinsics that the web does not have."""
    return compat_rpc.build_packed(mod, target)


def export(module: tvm.runtime.Module) -> str:
    """For MetaSchedule: LocalBuilder(f_export=export).  The file has a folder of its own, which MetaSchedule removes."""
    path = os.path.join(tempfile.mkdtemp(prefix="oarlock-"), "kernels.wasm")
    Path(path).write_bytes(wasm(module))
    return path
