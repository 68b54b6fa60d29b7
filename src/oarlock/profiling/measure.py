"""Measure this machine's peaks with kernels of our own CPU target: products for operations, sweeps over arrays for bytes."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tvm
from tvm import relax
from tvm.script import tirx as T

from .. import compat, pipeline
from ..kernels.choice import SCHEDULE
from ..runtime.artifact import Artifact
from ..runtime.machine import physical_cores
from ..runtime.profile import profile
from ..runtime.session import Session
from ..runtime.signature import Signature, TensorSpec
from ..targets.cpu import CpuTarget
from ..targets.cpu.dots import PRECISIONS
from .machine import MEMORY, Level, Peaks, caches, cpu_name

ROW = 128  # floats that a step of a sweep takes: eight of the widest vectors hide the latency of an addition
PRODUCTS = ((196, 384, 1536), (768, 512, 512), (1536, 256, 1024))  # rows, depth, columns: one fits the tiles of a machine best
ROUNDS = 5  # of all measurements: what disturbs one may be over in the next
MEASURE_S = 0.15  # for one measurement of a round; the least time counts
SWEEP_S = 0.004  # what one timed call should take: long beside its own cost, short beside a disturbance
LINKS = 16  # calls of a kernel that does nothing
Report = Callable[[str, int, int], None]


def measure(threads: int, progress: Report | None = None) -> Peaks:
    """The peaks of this machine for this many threads: about fifteen seconds.  ``progress``: called with (what, done, total).

    Other load can only slow a measurement down, so the best of several rounds counts.  What each core has for itself is measured on
    one thread, which other load disturbs least, and counts once a core.
    """
    report: Report = progress or (lambda what, done, total: None)
    cores = min(threads, physical_cores())
    alone = CpuTarget(threads=1, executor="vm")
    report("compiling what measures", 0, ROUNDS)
    has = compat.llvm_features(alone.tvm_target)
    types = [precision for precision, narrow in PRECISIONS.items() if narrow is None or has.intersection(narrow.features)]
    probes: dict[str, list[Callable[[], float]]] = {dtype: [_product(dtype, *s) for s in PRODUCTS] for dtype in types}
    sweepers = {n: _sweepers(n) for n in {1, cores}}
    levels = _levels(cores)
    for name, _, size, shared in levels:
        used = sweepers.values() if shared else [sweepers[1]]
        probes[name] = [_sweeps(pair, size if shared else size // cores) for pair in used]
    best = dict.fromkeys(probes, 0.0)
    for number in range(ROUNDS):
        for name, tries in probes.items():
            report(f"measuring {name}", number, ROUNDS)
            best[name] = max(best[name], *(probe() for probe in tries))
    times = profile(_session(_chain(), alone), {"x": np.zeros(1, "float32")}, runs=50)
    call_s = next(t.seconds / t.calls for t in times if t.calls == LINKS)
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    flops = {name: rate * cores for name, rate in best.items() if name in types}
    found = [Level(name, capacity, best[name] * (1 if shared else cores)) for name, capacity, _, shared in levels]
    return Peaks(cpu_name(), threads, flops, tuple(_falling(found)), call_s, date)


def _levels(cores: int) -> list[tuple[str, int, int, bool]]:
    """Name, capacity for all cores, bytes to sweep, and whether all cores share it, of each level."""
    out, largest = [], 0
    for name, size, shared in caches():
        capacity = size if shared else size * cores
        out.append((name, capacity, capacity // 2, shared))
        largest = max(largest, capacity)
    return [*out, (MEMORY, 0, max(4 * largest, 64 << 20), True)]


def _falling(levels: list[Level]) -> list[Level]:
    """A cache is at least as fast as what is behind it: where it was measured slower, something disturbed it."""
    out: list[Level] = []
    for level in reversed(levels):
        rate = max(level.rate, out[-1].rate) if out else level.rate
        out.append(Level(level.name, level.capacity, rate))
    return out[::-1]


def _least_s(session: Session, inputs: Mapping[str, Any]) -> float:
    # where one thread does all, its own time leaves out what the machine does in between
    clock = time.thread_time if session.threads == 1 else time.perf_counter
    least, end = float("inf"), time.perf_counter() + MEASURE_S
    while time.perf_counter() < end:
        start = clock()
        session.run(inputs)
        least = min(least, clock() - start)
    return least


def _session(module: tvm.IRModule, target: CpuTarget) -> Session:
    built = pipeline.build(module, target)
    specs = [TensorSpec(p.name, str(p.ty.dtype), (None,) * len(p.ty.shape)) for p in module["main"].params]
    signature = Signature(tuple(specs), (TensorSpec("y", str(module["main"].ret_ty.fields[0].dtype), None),))
    return Session(Artifact(built.library, built.weights, signature, {"runtime": dict(target.runtime)}))


# ---- operations ------------------------------------------------------------------------------------------------------


def _product(precision: str, rows: int, depth: int, columns: int) -> Callable[[], float]:
    """Measures operations a second, on one thread, of a product that is large enough to be all there is."""
    target = CpuTarget(threads=1, executor="vm", precision=precision)
    dtype, total = ("int8", "int32") if precision == "int8" else ("float32", "float32")
    weights = compat.constant(np.full((depth, columns), 1, dtype))
    x = relax.Var("x", relax.TensorType((rows, depth), dtype))
    session = _session(_module([x], lambda bb: bb.emit(relax.op.matmul(x, weights, out_dtype=total))), target)
    array = session.empty("x", (rows, depth))
    array[...] = 1
    return lambda: 2 * rows * depth * columns / _least_s(session, {"x": array})


def _module(params: list[relax.Var], make: Callable[[relax.BlockBuilder], relax.Expr]) -> tvm.IRModule:
    bb = relax.BlockBuilder()
    with bb.function("main", params):
        bb.emit_func_output(relax.Tuple([make(bb)]))
    return bb.get()


# ---- bytes -----------------------------------------------------------------------------------------------------------


def _sweepers(threads: int) -> tuple[Session, Session]:
    """The program that reads, and the one that reads and writes."""
    target = CpuTarget(threads=threads, executor="vm")
    reading, updating = (_session(_sweep(kernel(threads), threads), target) for kernel in (_read_kernel, _update_kernel))
    return reading, updating


def _sweeps(sweepers: tuple[Session, Session], size: int) -> Callable[[], float]:
    """Measures bytes a second of sweeps over ``size`` bytes: the faster of reading alone and of reading and writing."""
    # the second program reads two arrays, which share the space, and writes one of them
    return lambda: max(_sweep_rate(sweepers[0], size, 1), _sweep_rate(sweepers[1], size // 2, 3))


def _sweep_rate(session: Session, size: int, passes: int) -> float:
    """Bytes a second of sweeps over ``size`` bytes an array; a sweep moves ``passes`` times as many."""
    x = session.empty("x", (session.threads, max(1, size // (4 * ROW * session.threads)), ROW))
    x[...] = 1
    one = session.empty("steps", (1,))
    session.run({"x": x, "steps": one})  # gets the result's pages, too
    start = time.perf_counter()
    session.run({"x": x, "steps": one})
    count = max(8, min(10_000, int(SWEEP_S / (time.perf_counter() - start))))
    sweeps = count + (passes > 1)  # before it works on its result, the second kernel fills it
    return passes * x.nbytes * sweeps / _least_s(session, {"x": x, "steps": session.empty("steps", (count,))})


def _sweep(kernel: tvm.tirx.PrimFunc, threads: int) -> tvm.IRModule:
    """main(x [threads, n, ROW], steps [r]) → what ``kernel`` makes of x in r sweeps."""
    n, r = tvm.tirx.Var("n", "int64"), tvm.tirx.Var("r", "int64")
    x = relax.Var("x", relax.TensorType((threads, n, ROW), "float32"))
    steps = relax.Var("steps", relax.TensorType((r,), "float32"))

    def make(bb: relax.BlockBuilder) -> relax.Expr:
        gv = bb.add_func(kernel, "sweep")
        return bb.emit(relax.call_tir(gv, [x, steps], relax.TensorType((threads, n, ROW), "float32")))

    return _module([x, steps], make)


def _own(kernel: tvm.tirx.PrimFunc) -> tvm.tirx.PrimFunc:
    """A kernel whose loops stay as they are written, and that nothing is fused with."""
    return kernel.with_attrs({SCHEDULE: "measure", "op_pattern": 8, "tirx.noalias": True})


def _read_kernel(threads: int) -> tvm.tirx.PrimFunc:
    @T.prim_func(private=True, s_tir=True)
    def read(x_: T.handle, steps_: T.handle, y_: T.handle) -> None:
        n, r = T.int64(), T.int64()
        x = T.match_buffer(x_, (threads, n, ROW))
        steps = T.match_buffer(steps_, (r,))  # noqa: F841  (its length counts)
        y = T.match_buffer(y_, (threads, n, ROW))
        for t in T.parallel(threads):
            with T.sblock("sums"):
                sums = T.sblock_alloc_buffer((ROW,), scope="local")
                for k in T.vectorized(ROW):
                    sums[k] = T.float32(0)
                for _, j in T.grid(r, n):
                    for k in T.vectorized(ROW):
                        sums[k] = sums[k] + x[t, j, k]
                for k in T.vectorized(ROW):
                    y[t, 0, k] = sums[k]

    return _own(read)


def _update_kernel(threads: int) -> tvm.tirx.PrimFunc:
    @T.prim_func(private=True, s_tir=True)
    def update(x_: T.handle, steps_: T.handle, y_: T.handle) -> None:
        n, r = T.int64(), T.int64()
        x = T.match_buffer(x_, (threads, n, ROW))
        steps = T.match_buffer(steps_, (r,))  # noqa: F841
        y = T.match_buffer(y_, (threads, n, ROW))
        for t in T.parallel(threads):
            with T.sblock("update"):
                for j in range(n):
                    for k in T.vectorized(ROW):
                        y[t, j, k] = x[t, j, k]
                for _, j in T.grid(r, n):
                    for k in T.vectorized(ROW):
                        y[t, j, k] = y[t, j, k] * T.float32(0.5) + x[t, j, k]

    return _own(update)


# ---- calls -----------------------------------------------------------------------------------------------------------


def _chain() -> tvm.IRModule:
    @T.prim_func(private=True, s_tir=True)
    def link(x: T.Buffer((1,), "float32"), y: T.Buffer((1,), "float32")) -> None:  # type: ignore[valid-type]
        y[0] = x[0]

    x = relax.Var("x", relax.TensorType((1,), "float32"))

    def make(bb: relax.BlockBuilder) -> relax.Expr:
        gv, value = bb.add_func(_own(link), "link"), x
        for _ in range(LINKS):
            value = bb.emit(relax.call_tir(gv, [value], relax.TensorType((1,), "float32")))
        return value

    return _module([x], make)
