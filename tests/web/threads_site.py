"""Models of parallel loops as folders for the web: a network of Paddle (``python threads_site.py FOLDER``), and a kernel that fails."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

PARTS = 64  # iterations of the loops that fail
ROOM = 5000  # floats of work space of each


def save(folder: Path) -> None:
    """A network with loops that are worth several threads, and what Paddle gives for a seeded input."""
    import numpy as np
    import paddle
    from paddle import nn

    paddle.seed(5)
    net = nn.Sequential(
        nn.Conv2D(3, 32, 3, 2, 1), nn.Hardswish(), nn.Conv2D(32, 32, 5, padding=2, groups=32), nn.ReLU(), nn.Conv2D(32, 48, 1),
        nn.Conv2D(48, 48, 3, padding=1), nn.Softmax(1), nn.MaxPool2D(2), nn.Flatten(2), nn.LayerNorm(24 * 20), nn.Linear(24 * 20, 200),
    )  # fmt: skip
    net.eval()
    paddle.jit.save(net, str(folder / "net"), input_spec=[paddle.static.InputSpec([1, 3, 96, 80], "float32", "x")])
    x = np.random.default_rng(0).standard_normal((1, 3, 96, 80)).astype("float32")
    x.tofile(folder / "x.bin")
    net(paddle.to_tensor(x)).numpy().tofile(folder / "y.bin")


def site_of_loops(folder: Path) -> None:
    """One kernel, y[i] = the sum of 0 … ROOM + x[i] in work space of each iteration's own; it fails, as x says, at any iteration.

    x[i] < 0: a check that says why; x[i] > 1000: an address that no memory has.
    """
    from tvm import relax
    from tvm.script import tirx as T

    from oarlock import pipeline
    from oarlock.kernels.choice import SCHEDULE
    from oarlock.targets.web import WebTarget

    @T.prim_func(private=True, s_tir=True)
    def loops(x: T.Buffer((PARTS,), "float32"), y: T.Buffer((PARTS,), "float32")) -> None:
        for i in T.parallel(PARTS):
            with T.sblock("sums"):
                room = T.sblock_alloc_buffer((ROOM,), scope="global")
                assert x[i] >= T.float32(0), "below nothing"
                for k in T.serial(ROOM):
                    room[k] = T.Cast("float32", k) + x[i]
                y[i] = T.float32(0)
                for k in T.serial(ROOM):
                    y[i] = y[i] + room[k]
                if x[i] > T.float32(1000):
                    y[T.Cast("int32", x[i]) * 100000] = T.float32(0)

    target = WebTarget(variant="simd128-threads")
    x = relax.Var("x", relax.TensorType((PARTS,), "float32"))
    bb = relax.BlockBuilder()
    with bb.function("main", [x]):
        gv = bb.add_func(loops.with_attrs({SCHEDULE: "test", "op_pattern": 8, "tirx.noalias": True}), "loops")
        bb.emit_func_output(relax.Tuple([bb.emit(relax.call_tir(gv, [x], relax.TensorType((PARTS,), "float32")))]))
    built = pipeline.build(bb.get(), target)

    def part(name: str, content: bytes) -> dict[str, Any]:
        (folder / name).write_bytes(content)
        return {"file": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}

    files = {"module": part("loops.wasm", built.library), "weights": [part("loops.bin", built.weights[0].tobytes())]}
    variant = {"name": "simd128-threads", "needs": ["simd", "threads"], **files}
    x_and_y = [{"name": name, "dtype": "float32", "shape": [PARTS]} for name in "xy"]
    manifest = {"format": "oarlock web", "version": 1, "oarlock": "0", "inputs": x_and_y[:1], "outputs": x_and_y[1:], "variants": [variant]}
    (folder / "model.json").write_text(json.dumps(manifest))


if __name__ == "__main__":
    save(Path(sys.argv[1]))
