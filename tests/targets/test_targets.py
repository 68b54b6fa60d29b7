"""The registry of targets, the CPU target's options, and what the pipeline promises to every target."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from runner import Program, module, var
from tvm import relax

from oarlock import compat, pipeline, targets
from oarlock.errors import TargetError, UnsupportedError
from oarlock.targets.cpu.machine import Machine
from oarlock.targets.cpu.tiles import UNKNOWN_ROWS, product_tile

op = relax.op


def add_one() -> object:
    return module([var("x", (4, 4))], lambda bb, a: op.add(a, relax.const(1.0)))


def test_registry() -> None:
    assert "cpu" in targets.names()
    with pytest.raises(TargetError, match="unknown target 'gpu9'"):
        targets.get("gpu9")
    with pytest.raises(TargetError, match="wrong option for target 'cpu'"):
        targets.get("cpu", colour="red")


@pytest.mark.parametrize("options", [{"threads": 0}, {"threads": 1.5}, {"threads": True}, {"mcpu": "no-such-cpu"}])
def test_wrong_options(options: dict) -> None:
    with pytest.raises(TargetError):
        targets.get("cpu", **options)


def test_out_of_tree_target(monkeypatch: pytest.MonkeyPatch) -> None:
    class Point:
        name, value = "fast", "oarlock.targets.cpu:CpuTarget"

    monkeypatch.setattr(targets, "entry_points", lambda group: [Point] if group == "oarlock.targets" else [])
    assert targets.get("fast", threads=1).options["threads"] == 1
    Point.value = "no_such_package:Target"
    with pytest.raises(TargetError, match="does not load"):
        targets.get("fast")
    Point.value = "collections:OrderedDict"
    with pytest.raises(TargetError, match="not a subclass"):
        targets.get("fast")


@pytest.mark.parametrize(
    "mcpu,triple,bits,registers",
    [
        ("x86-64-v2", "", 128, 16),
        ("x86-64-v3", "", 256, 16),
        ("znver4", "", 512, 32),
        ("sapphirerapids", "", 512, 32),
        ("cortex-a76", "aarch64-linux-gnu", 128, 32),
    ],
)
def test_machine_follows_the_target(mcpu: str, triple: str, bits: int, registers: int) -> None:
    machine = targets.get("cpu", threads=1, mcpu=mcpu, mtriple=triple or compat.llvm_host_triple()).machine
    assert (machine.vector_bits, machine.registers) == (bits, registers)


@pytest.mark.parametrize(("features", "bits"), [("", 32), ("+simd128", 128)])
def test_machine_of_webassembly(features: str, bits: int) -> None:
    machine = targets.get("cpu", threads=1, mcpu="generic", mtriple="wasm32-unknown-unknown", mattr=[features] if features else []).machine
    assert (machine.vector_bits, machine.registers, machine.spreads) == (bits, 15, True)


@pytest.mark.parametrize(
    "machine",
    [Machine(128, 16, 1), Machine(256, 16, 1), Machine(512, 32, 2), Machine(128, 15, 1, spreads=True), Machine(32, 15, 1, spreads=True)],
)
@pytest.mark.parametrize("rows", [0, 1, 7, 49, 3136, UNKNOWN_ROWS])
@pytest.mark.parametrize("columns", [1, 3, 12, 24, 64, 1000, 6625])
def test_tiles_fit_the_registers(rows: object, columns: int, machine: Machine) -> None:
    tile = product_tile(rows, columns, machine, "float32")
    vectors = tile.columns // tile.lanes
    assert tile.rows * vectors + vectors + (tile.rows if machine.spreads and vectors > 1 else 1) <= machine.registers
    assert tile.lanes * 32 <= machine.vector_bits
    assert tile.ragged == (columns % tile.columns != 0)


def test_cross_compilation_needs_a_cross_linker() -> None:
    """Code for another CPU is made; only the link step needs a compiler for it."""
    with pytest.raises(TargetError, match="failed to link|no C\\+\\+ compiler"):
        pipeline.build(add_one(), targets.get("cpu", threads=1, mcpu="cortex-a76", mtriple="aarch64-linux-gnu"))


def test_missing_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TargetError, match="no-such-cxx"):
        pipeline.build(add_one(), targets.get("cpu", cxx="no-such-cxx"))
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(TargetError, match="no C\\+\\+ compiler found"):
        pipeline.build(add_one(), targets.get("cpu"))


def test_every_stage_can_be_dumped(tmp_path: Path) -> None:
    seen: list[str] = []
    pipeline.build(add_one(), targets.get("cpu"), dump=lambda stage, mod: seen.append(stage))
    pipeline.build(add_one(), targets.get("cpu"), dump=tmp_path)
    files = sorted(p.name for p in tmp_path.iterdir())
    assert [f.split("-", 1)[1] for f in files] == [f"{s}.py" for s in seen]
    assert seen[0] == "imported" and "cpu-schedule" in seen
    assert "def main" in (tmp_path / files[0]).read_text()


def test_functions_that_only_exist_in_python_are_refused() -> None:
    mod = module([var("x", (4,), "bool")], lambda bb, a: op.nonzero(a))
    with pytest.raises(UnsupportedError, match="relax.run.nonzero"):
        pipeline.build(mod, targets.get("cpu"))


def test_what_the_runtime_is_said_to_have_is_there() -> None:
    """The list of packed functions in compat against TVM's runtime libraries, loaded without TVM's Python package."""
    script = (
        "import ctypes, importlib.util, pathlib, tvm_ffi\n"
        "lib = pathlib.Path(importlib.util.find_spec('tvm').submodule_search_locations[0]) / 'lib'\n"
        "for name in ('libtvm_runtime.so', 'libtvm_runtime_extra.so'):\n"
        "    ctypes.CDLL(str(lib / name), ctypes.RTLD_GLOBAL)\n"
        "print('\\n'.join(tvm_ffi.registry.list_global_func_names()))\n"
    )
    there = set(subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split())
    for name in ("vm.builtin.reshape", "vm.builtin.alloc_tensor", "tvm.contrib.sort.argsort", "tvm.contrib.sort.sort"):
        assert compat.runtime_has(name) and name in there
    for name in ("relax.run.nonzero", "relax.run.unique", "vm.builtin.debug_print", "relax.run.print"):
        assert not compat.runtime_has(name) and name not in there


def test_a_failing_schedule_falls_back_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from oarlock.targets.cpu.schedule import dispatch

    def broken(function, machine):
        raise ValueError("no such loop")

    monkeypatch.setattr(dispatch, "_LIBRARY", [("broken", broken)])
    program = Program(module([var("x", (4, 4))], lambda bb, a: op.exp(a)))
    assert any("broken does not apply (ValueError: no such loop)" in note for note in program.built.notes)
    x = np.ones((4, 4), "float32")
    np.testing.assert_allclose(program(x)[0], np.exp(x), rtol=1e-6)
