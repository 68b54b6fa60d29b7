"""What a call costs on the host's side: of library functions with their arguments checked and not, and of the VM.

    python benchmarks/xpu/calls.py [--rounds 40]

The emulator runs kernels when somebody waits for them, so what is timed here is the call alone: arguments, the library's checks, the
launch.  Waiting is between the rounds and not timed.  Rounds with and without checks alternate; shown are medians, and the quartiles of
the ratios of neighbouring rounds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tvm
import tvm_ffi
from tvm import relax

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from oarlock.runtime import ffi, tvm_runtime  # noqa: E402
from oarlock_xpu import device, native  # noqa: E402
from oarlock_xpu.target import R200  # noqa: E402

CALLS = 200
XPU = tvm.ext_dev(0)


def timed(call: Callable[[], object]) -> float:
    """Microseconds of one call, of many; the device is idle before and after."""
    XPU.sync()
    start = time.thread_time()  # others may have the core for a while
    for _ in range(CALLS):
        call()
    passed = time.thread_time() - start
    XPU.sync()
    return passed / CALLS * 1e6


def with_and_without(call: Callable[[], object], rounds: int) -> tuple[float, float, list[float]]:
    """Medians with and without checks, and the quartiles of the ratio."""
    switch = tvm_ffi.get_global_func("oarlock_xpu.check_arguments")
    call()
    times: dict[bool, list[float]] = {True: [], False: []}
    for round_ in range(rounds):
        for checked in (True, False) if round_ % 2 else (False, True):
            switch(checked)
            times[checked].append(timed(call))
    switch(True)
    ratios = [a / b for a, b in zip(times[True], times[False], strict=True)]
    return statistics.median(times[True]), statistics.median(times[False]), statistics.quantiles(ratios, n=4)


def library_call(step: dict, *shapes: tuple[int, ...]) -> Callable[[], object]:
    """A call of a library function on tensors of these shapes, the result's last."""
    function = tvm_ffi.get_global_func("oarlock_xpu.library_module")(json.dumps({"f": step}))["f"]
    tensors = [tvm.runtime.tensor(np.ones(shape, "float32"), XPU) for shape in shapes]
    return lambda: function(*tensors)


def chain(steps: int) -> tuple[Callable[[], object], int]:
    """A model of dynamic size, of functions that are library calls each → a run of it, and how many calls it has."""
    from oarlock import pipeline

    n = tvm.tirx.Var("n", "int64")
    x = relax.Var("x", relax.TensorType((n, 16), "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        with builder.dataflow():
            y = x
            for i in range(steps):
                y = builder.emit(relax.op.nn.softmax(y, -1) if i % 2 else relax.op.tanh(y))
            y = builder.emit_output(y)
        builder.emit_func_output(y)
    built = pipeline.build(builder.get(), R200())
    module = tvm_runtime.load_module(built.library, "the model")
    vm = ffi.module_function(module, "vm_load_executable")()
    ffi.module_function(vm, "vm_initialization")(device.EXT_DEV, 0, 2, ffi.CPU, 0, 2)
    main = ffi.module_function(vm, "main")
    given = ffi.empty((8, 16), "float32", ffi.Device(device.EXT_DEV, 0))
    return lambda: main(given), sum(len(calls) for calls in built.calls.values()) or steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    rounds = parser.parse_args().rounds
    native.load()
    device.become("r200")
    relu = library_call({"api": "relu", "inputs": ["x"]}, (8, 16), (8, 16))
    fc = library_call({"api": "fc_fusion", "inputs": ["x", "w", "bias"], "act": "relu"}, (8, 16), (16, 16), (16,), (8, 16))
    print("a call, arguments                checked µs   not µs   ratio (quartiles)")
    for name, call in (("relu, 2 tensors", relu), ("fc_fusion, 4 tensors", fc)):
        checked, not_checked, (low, middle, high) = with_and_without(call, rounds)
        print(f"{name:32} {checked:10.2f} {not_checked:8.2f}   {middle:.3f} ({low:.3f} to {high:.3f})")
    # of the VM: what a longer model costs more, a call, beside the calls themselves
    softmax = library_call({"api": "softmax", "inputs": ["x"], "axis": -1}, (8, 16), (8, 16))
    tanh = library_call({"api": "tanh", "inputs": ["x"]}, (8, 16), (8, 16))
    short, long = chain(8), chain(40)
    each, direct = [], []
    for _ in range(max(rounds // 4, 5)):
        each.append((timed(long[0]) - timed(short[0])) / 32)
        direct.append((timed(softmax) + timed(tanh)) / 2)
    low, middle, high = statistics.quantiles(each, n=4)
    alone = statistics.median(direct)
    print(f"a call of a dynamic model in the VM: {middle:.2f} µs ({low:.2f} to {high:.2f}), the same called directly {alone:.2f} µs")


if __name__ == "__main__":
    main()
