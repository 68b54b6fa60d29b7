"""Modelled times beside the published latencies of an R200, and what L3, replay and fusion each bring: make xpu-calibration.

Numbers are not computed (the emulator runs dry), so weights are as they come; 16-bit operands are supposed where kernels do not have them.
Options: --only PATTERN, --json FILE (a row a launch, to fit constants of chips.def to), --gains (switch each of L3, replay, fusion off).
"""

from __future__ import annotations

import argparse
import ctypes
import inspect
import json
import sys
import tempfile
import time
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
import oarlock
import xpu_published
from oarlock.runtime.artifact import Artifact
from oarlock_xpu import device, native
from oarlock_xpu.target import R200

OPERANDS = 2  # bytes of the published models' operands
# where the target has operands of 16 bits they are used; else the emulator supposes them
PRECISION = {"precision": "float16"} if "precision" in inspect.signature(R200).parameters else {}
GAINS = {
    "all": {},
    "without L3": {"l3": "0"},
    "without replay": {"graphs": "false"},
    "without fusion": {"fusion": "false"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="*", help="models with names like this")
    parser.add_argument("--json", type=Path, help="write every launch to this file")
    parser.add_argument("--gains", action="store_true", help="switch L3, replay and fusion off, one at a time")
    options = parser.parse_args()
    native.load()
    device.become("r200")
    chosen = {name: p for name, p in xpu_published.models().items() if fnmatch(name, options.only)}
    print(f"published: {xpu_published.SOURCE}")
    print(f"{'model':14} {'launches':>8} {'MB moved':>9} {'GMAC':>6} {'published':>10} {'modelled':>9} {'ratio':>6}")
    rows: dict[str, Any] = {}
    ratios, gains = [], {}
    for name, published in chosen.items():
        with exported(published.make) as path:
            # as published: launched from the host, weights in GDDR
            artifact = oarlock.compile(path, "xpu/r200", options={"graphs": "false", "l3_weights": "false", **PRECISION}, records=False)
            counted, launches = modelled(artifact, each=options.json is not None)
            rows[name] = {"published_ms": published.ms, "launches": launches}
            if options.gains:
                gains[name] = {what: time_of(path, o) for what, o in GAINS.items()}
            del artifact
        kernels = counted["kernels"].values()
        ms, macs = counted["modelled_us"] / 1e3, sum(k["macs"] for k in kernels)
        moved = sum(k[f"{m}_{d}"] for k in kernels for m in ("gm", "l3") for d in ("read", "written"))
        ratios.append(ms / published.ms)
        print(
            f"{name:14} {sum(k['launches'] for k in kernels):8} {moved / 1e6:9.1f} {macs / 1e9:6.2f} {published.ms:7.3f} ms {ms:6.3f} ms "
            f"{ratios[-1]:6.2f}",
            flush=True,
        )
    if ratios:
        off = np.abs(np.array(ratios) - 1)
        print(f"off by {off.mean():.1%} on average, {off.max():.1%} at most; {int((off <= 0.25).sum())} of {len(off)} within 25%")
    if gains:
        print("\nmodelled ms" + "".join(f"{what:>18}" for what in GAINS))
        for name, times in gains.items():
            print(f"{name:14}" + "".join(f"{t:18.3f}" for t in times.values()))
    if options.json:
        options.json.write_text(json.dumps(rows), encoding="utf-8")


@contextmanager
def exported(make: Any) -> Any:
    """The net as a saved model of one picture, in a folder that goes away."""
    import paddle

    paddle.seed(0)
    net = make()
    net.eval()
    with tempfile.TemporaryDirectory(prefix="oarlock-xpu-") as folder:
        spec = [paddle.static.InputSpec([1, 3, 224, 224], "float32", "x")]
        paddle.jit.save(paddle.jit.to_static(net, full_graph=True), f"{folder}/net", input_spec=spec)
        del net
        yield Path(folder, "net.json")


def time_of(path: Path, options: dict[str, str]) -> float:
    """Modelled ms with these options."""
    artifact = oarlock.compile(path, "xpu/r200", options={**options, **PRECISION}, records=False)
    return modelled(artifact)[0]["modelled_us"] / 1e3


def modelled(artifact: Artifact, each: bool = False) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What the emulator counts in a run after the first; and each launch of another one."""
    library = native.runtime()
    library.xpu_sim_dry(1)
    launches: list[dict[str, Any]] = []
    try:
        with supposed(), oarlock.Session(artifact) as session:
            inputs = {"x": np.zeros((1, 3, 224, 224), "float32")}
            session.run(inputs)
            device.counters(reset=True)
            session.run(inputs)
            counted = device.counters(reset=True)

            def hook(function: Any, name: str, before: bool, result: Any, *arguments: Any) -> int:
                if not before and not name.startswith("vm."):
                    for kernel, k in device.counters(reset=True)["kernels"].items():
                        launches.append({"call": name, "kernel": kernel, **k})
                return 0

            if each:
                session.instrument(hook)
                session.run(inputs)
                session.instrument(None)
    finally:
        library.xpu_sim_dry(0)
    return counted, launches


@contextmanager
def supposed() -> Any:
    """Weights and products of 16 bits, where the target has none."""
    if PRECISION:
        yield
        return
    library, upload = native.runtime(), device.Xpu.upload_weights

    def uploaded(self: Any, tensors: list[Any], artifact: Artifact) -> list[Any]:
        there = upload(self, tensors, artifact)
        for tensor in there:
            if tensor.nbytes:
                library.xpu_sim_suppose_bytes(ctypes.c_void_p(tensor.data), ctypes.c_double(OPERANDS / 4))
        return there

    device.Xpu.upload_weights = uploaded  # type: ignore[method-assign]
    library.xpu_sim_suppose_operands(OPERANDS)
    try:
        yield
    finally:
        library.xpu_sim_suppose_operands(4)
        device.Xpu.upload_weights = upload  # type: ignore[method-assign]


if __name__ == "__main__":
    started = time.time()
    main()
    print(f"{time.time() - started:.0f} s")
