"""Small network shapes built by hand in Relax: compile time and run time on the CPU target.

    python benchmarks/cpu_models.py [names…] [--threads N] [--kernels]

``--kernels`` also times every kernel of the network by itself (static shapes only).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import tvm
from tvm import relax

from oarlock import compat, pipeline, targets

op = relax.op


class Net:
    """A network under construction: convolutions with folded batch norms, as a model's importer leaves them."""

    def __init__(self, shape: tuple, dtype: str = "float32") -> None:
        self.bb, self.rng, self.flops = relax.BlockBuilder(), np.random.default_rng(0), 0
        self.x = relax.Var("x", relax.TensorType(shape, dtype))

    def const(self, *shape: int, scale: float = 1.0) -> relax.Expr:
        return relax.const((self.rng.standard_normal(shape) * scale).astype("float32"))

    def conv(self, x, out, k=1, s=1, groups=1, act="relu", add=None):
        c, e = int(x.ty.shape.values[1]), self.bb.emit
        w = self.const(out, c // groups, k, k, scale=(2.0 / (c // groups * k * k)) ** 0.5)
        y = e(op.nn.conv2d(x, w, strides=s, padding=k // 2, groups=groups))
        try:
            self.flops += 2 * int(np.prod([int(d) for d in y.ty.shape.values])) * (c // groups) * k * k
        except (TypeError, ValueError):
            pass
        y = e(op.add(e(op.multiply(y, self.const(1, out, 1, 1))), self.const(1, out, 1, 1)))
        if add is not None:
            y = e(op.add(y, add))
        return self.act(y, act)

    def act(self, y, act):
        e = self.bb.emit
        if act == "relu":
            return e(op.nn.relu(y))
        if act == "hswish":
            t = e(op.divide(e(op.clip(e(op.add(y, relax.const(3.0, "float32"))), 0.0, 6.0)), relax.const(6.0, "float32")))
            return e(op.multiply(y, t))
        return y

    def squeeze_excite(self, x, mid):
        e, c = self.bb.emit, int(x.ty.shape.values[1])
        s = self.conv(self.conv(e(op.mean(x, [2, 3], True)), mid), c, act="")
        s = e(op.clip(e(op.add(e(op.multiply(s, relax.const(0.2, "float32"))), relax.const(0.5, "float32"))), 0.0, 1.0))
        return e(op.multiply(x, s))

    def linear(self, x, n):
        k = int(x.ty.shape.values[-1])
        return self.bb.emit(op.add(self.bb.emit(op.matmul(x, self.const(k, n, scale=k**-0.5))), self.const(n)))


def resnet(n: Net, bottleneck: bool) -> relax.Expr:
    e = n.bb.emit
    x = e(op.nn.max_pool2d(n.conv(n.x, 64, 7, 2), (3, 3), (2, 2), (1, 1, 1, 1)))
    for stage, blocks in enumerate((3, 4, 6, 3) if bottleneck else (2, 2, 2, 2)):
        c = 64 << stage
        for i in range(blocks):
            s = 2 if i == 0 and stage else 1
            out = 4 * c if bottleneck else c
            short = x if i or (not bottleneck and not stage) else n.conv(x, out, 1, s, act="")
            y = n.conv(n.conv(x, c), c, 3, s) if bottleneck else n.conv(x, c, 3, s)
            x = n.conv(y, out, 1 if bottleneck else 3, add=short)
    return n.linear(e(op.mean(x, [2, 3])), 1000)


def mobilenet_v3_small(n: Net) -> relax.Expr:
    rows = [  # kernel, expanded, out, squeeze-excite, activation, stride
        (3, 16, 16, 1, "relu", 2), (3, 72, 24, 0, "relu", 2), (3, 88, 24, 0, "relu", 1), (5, 96, 40, 1, "hswish", 2),
        (5, 240, 40, 1, "hswish", 1), (5, 240, 40, 1, "hswish", 1), (5, 120, 48, 1, "hswish", 1), (5, 144, 48, 1, "hswish", 1),
        (5, 288, 96, 1, "hswish", 2), (5, 576, 96, 1, "hswish", 1), (5, 576, 96, 1, "hswish", 1),
    ]  # fmt: skip
    e = n.bb.emit
    x = n.conv(n.x, 16, 3, 2, act="hswish")
    for k, mid, out, se, act, s in rows:
        c = int(x.ty.shape.values[1])
        y = n.conv(x, mid, act=act) if mid != c else x
        y = n.conv(y, mid, k, s, groups=mid, act=act)
        if se:
            y = n.squeeze_excite(y, mid // 4)
        x = n.conv(y, out, act="", add=x if s == 1 and c == out else None)
    x = n.conv(x, 576, act="hswish")
    x = n.act(n.linear(e(op.mean(x, [2, 3])), 1024), "hswish")
    return n.linear(x, 1000)


def encoder(n: Net, layers: int = 6, d: int = 384, heads: int = 12) -> relax.Expr:
    e, x = n.bb.emit, n.x
    b, s, _ = x.ty.shape.values
    for _ in range(layers):
        q, k, v = (e(op.permute_dims(e(op.reshape(n.linear(x, d), (b, s, heads, d // heads))), [0, 2, 1, 3])) for _ in range(3))
        a = e(op.multiply(e(op.matmul(q, e(op.permute_dims(k, [0, 1, 3, 2])))), relax.const((d // heads) ** -0.5, "float32")))
        a = e(op.matmul(e(op.nn.softmax(a, -1)), v))
        a = n.linear(e(op.reshape(e(op.permute_dims(a, [0, 2, 1, 3])), (b, s, d))), d)
        one, zero = relax.const(np.ones(d, "float32")), relax.const(np.zeros(d, "float32"))
        x = e(op.nn.layer_norm(e(op.add(x, a)), one, zero, axes=[-1]))
        h = n.linear(e(op.nn.gelu(n.linear(x, 4 * d))), d)
        x = e(op.nn.layer_norm(e(op.add(x, h)), one, zero, axes=[-1]))
    return x


def _dim(name: str) -> tvm.tirx.Var:
    return tvm.tirx.Var(name, "int64")


NETS = {
    "resnet18": (lambda n: resnet(n, False), (1, 3, 224, 224)),
    "resnet50": (lambda n: resnet(n, True), (1, 3, 224, 224)),
    "mobilenetv3s": (mobilenet_v3_small, (1, 3, 224, 224)),
    "encoder": (encoder, (1, 128, 384)),
}


def make(name: str, dynamic: bool) -> tuple[tvm.IRModule, tuple, int]:
    """The module of a network, the shape to run it with, and its multiply-adds × 2 (convolutions; static shapes)."""
    build, shape = NETS[name]
    symbolic = tuple(_dim(f"d{i}") if i != (2 if len(shape) == 3 else 1) else d for i, d in enumerate(shape))
    n = Net(symbolic if dynamic else shape)
    with n.bb.function("main", [n.x]):
        n.bb.emit_func_output(relax.Tuple([build(n)]))
    return n.bb.get(), shape, n.flops


def best_ms(call, threads: int, seconds: float = 1.5) -> float:
    """The least time of a call, in milliseconds: processor time of one thread (a busy machine does not lengthen it), else wall time."""
    clock = time.thread_time if threads == 1 else time.perf_counter
    call()
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = clock()
        call()
        best = min(best, clock() - start)
    return best * 1e3


def kernel_times(text_mod: tvm.IRModule, target: targets.Target) -> list[tuple[float, int, str]]:
    """(ms × calls, calls, name) of each kernel of a scheduled module, slowest first."""
    calls: Counter = Counter()

    def count(e: relax.Expr) -> None:
        if isinstance(e, relax.Call) and getattr(e.op, "name", "") == "relax.call_tir":
            calls[e.args[0].name_hint] += 1

    relax.analysis.post_order_visit(text_mod["main"], count)
    rows = []
    for gv, f in text_mod.functions.items():
        if not isinstance(f, tvm.tirx.PrimFunc) or gv.name_hint not in calls:
            continue
        module = tvm.IRModule({"main": f.with_attr("global_symbol", "main")})
        lib = tvm.tirx.build(module, target=target.tvm_target, pipeline=compat.tir_pipeline())
        args = [tvm.runtime.tensor(np.random.rand(*[int(d) for d in b.shape]).astype(str(b.dtype))) for b in f.params]
        ms = min(lib.time_evaluator("main", tvm.cpu(), number=1, repeat=5, min_repeat_ms=2)(*args).results) * 1e3
        rows.append(
            (
                ms * calls[gv.name_hint],
                calls[gv.name_hint],
                f"{gv.name_hint} [{f.attrs.get('oarlock.schedule')}] " + " ".join("x".join(str(d) for d in b.shape) for b in f.params),
            )
        )
    return sorted(rows, reverse=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(NETS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--kernels", action="store_true")
    parser.add_argument("--dynamic", action="store_true", help="all dims but the channels symbolic")
    args = parser.parse_args()
    target = targets.get("cpu", threads=args.threads)
    for name in args.names:
        mod, shape, flops = make(name, args.dynamic)
        scheduled: dict[str, tvm.IRModule] = {}
        start = time.perf_counter()
        built = pipeline.build(mod, target, dump=scheduled.__setitem__)
        compiled = time.perf_counter() - start
        with tempfile.TemporaryDirectory() as d:
            path = Path(d) / "library.so"
            path.write_bytes(built.library)
            vm = relax.VirtualMachine(tvm.runtime.load_module(str(path)), tvm.cpu())
        x = tvm.runtime.tensor(np.random.default_rng(1).standard_normal(shape).astype("float32"))
        weights = [tvm.runtime.tensor(w) for w in built.weights]
        tvm.get_global_func("runtime.config_threadpool")(1, args.threads)
        ms = best_ms(lambda vm=vm, x=x, weights=weights: vm["main"](x, *weights), args.threads)
        print(
            f"{name:14s} threads {args.threads} {'dynamic' if args.dynamic else 'static'}: compiled in {compiled:.1f} s, "
            f"{len(built.library) / 1e6:.2f} MB, runs in {ms:.2f} ms ({flops / ms / 1e6:.1f} GF/s in convolutions)",
            flush=True,
        )
        for note in built.notes:
            print("   note:", note)
        if args.kernels:
            rows = kernel_times(scheduled["cpu-schedule"], target)
            print(f"   sum of kernels {sum(r[0] for r in rows):.2f} ms")
            for t, n, k in rows[:30]:
                print(f"   {t:8.3f} ms  x{n:<3d} {k[:170]}")


if __name__ == "__main__":
    main()
