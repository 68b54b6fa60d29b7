"""A matrix product run, timed and tuned in a browser by TVM's own tools: its RPC client, its MetaSchedule, its RPCRunner.

    pip install -e '.[rpc]'
    python examples/web/rpc.py [--trials 8] [--size 128]

TVM's import of the intrinsics that its tuning knows of takes half a minute.
"""

from __future__ import annotations

import argparse
import tempfile

import numpy as np
import tvm
from tvm import te
from tvm.rpc.tracker import Tracker
from tvm.s_tir import meta_schedule as ms

from oarlock.targets.web import rpc


def product(size: int) -> tvm.tirx.PrimFunc:
    a, b = (te.placeholder((size, size), name=name) for name in "ab")
    k = te.reduce_axis((0, size), name="k")
    return te.create_prim_func([a, b, te.compute((size, size), lambda i, j: te.sum(a[i, k] * b[k, j], axis=k), name="c")])


def run(served: rpc.Served, module: bytes, size: int) -> float:
    """Its time in milliseconds, by TVM's client alone."""
    remote = tvm.rpc.connect(served.host, served.port, served.key, session_constructor_args=["rpc.WasmSession", module])
    dev, lib = remote.cpu(0), remote.system_lib()
    x, y = (np.random.default_rng(seed).standard_normal((size, size)).astype("float32") for seed in (0, 1))
    a, b, c = tvm.runtime.tensor(x, dev), tvm.runtime.tensor(y, dev), tvm.runtime.empty((size, size), "float32", dev)
    lib["main"](a, b, c)
    np.testing.assert_allclose(c.numpy(), x.astype("float64") @ y.astype("float64"), rtol=1e-4, atol=1e-4)
    return float(lib.time_evaluator("main", dev, number=1, repeat=5, min_repeat_ms=50)(a, b, c).median) * 1e3


def tuned(function: tvm.tirx.PrimFunc, trials: int, target: tvm.target.Target) -> tvm.IRModule:
    """The fastest of what MetaSchedule proposes, measured by its stock runner through a tracker."""
    tracker = Tracker(host="127.0.0.1", port=9190, port_end=9290, silent=True)
    try:
        with rpc.serve(tracker=f"127.0.0.1:{tracker.port}") as served, tempfile.TemporaryDirectory() as folder:
            config = ms.runner.RPCConfig("127.0.0.1", tracker.port, served.key, session_timeout_sec=30)
            database = ms.tune_tir(
                tvm.IRModule({"main": function}),
                target=target,
                work_dir=folder,
                max_trials_global=trials,
                num_trials_per_iter=min(trials, 16),
                builder=ms.builder.LocalBuilder(max_workers=2, timeout_sec=120, f_build=rpc.build, f_export=rpc.export),
                runner=ms.runner.RPCRunner(config, ms.runner.EvaluatorConfig(number=1, repeat=3, min_repeat_ms=20)),
                cost_model="random",
                num_tuning_cores=1,
            )
            records = list(database.get_all_tuning_records())
            print(f"{sum(float(min(r.run_secs)) < 1e9 for r in records)} of {len(records)} candidates measured in the page")
            schedule = ms.tir_integration.compile_tir(database, tvm.IRModule({"main": function}), target)
    finally:
        tracker.terminate()
    if schedule is None:
        raise SystemExit("no candidate ran")
    return schedule.mod


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--trials", type=int, default=8)
    args = parser.parse_args()
    function = product(args.size)
    best = tuned(function, args.trials, rpc.target())
    plain, fast = rpc.wasm(function), rpc.wasm(best)
    with rpc.serve() as served:
        before, after = run(served, plain, args.size), run(served, fast, args.size)
    print(f"{args.size}×{args.size}: as written {before:.3f} ms ({len(plain)} bytes), tuned {after:.3f} ms ({len(fast)} bytes)")


if __name__ == "__main__":  # MetaSchedule's workers import this file
    main()
