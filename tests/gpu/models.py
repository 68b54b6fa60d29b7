"""Small Relax modules that use every kind of schedule, with inputs: what tests here compile and run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm
from tvm import relax

import oarlock
from oarlock import pipeline, targets
from oarlock.runtime.artifact import Artifact
from oarlock.runtime.signature import Signature, TensorSpec

op = relax.op


def rand(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def dim(name: str) -> tvm.tirx.Var:
    return tvm.tirx.Var(name, "int64")


def const(*shape: int, seed: int = 1) -> relax.Expr:
    return relax.const(rand(*shape, seed=seed) * 0.2)


@dataclass(frozen=True)
class Case:
    """``make(block builder, *inputs)`` gives the outputs; ``dims``: the inputs' declared dims where some are dynamic."""

    make: Callable[..., Any]
    inputs: tuple[np.ndarray, ...]
    dims: tuple[tuple[Any, ...], ...] = ()

    def module(self) -> tvm.IRModule:
        shapes = self.dims or tuple(x.shape for x in self.inputs)
        symbols: dict[str, tvm.tirx.Var] = {}
        given = []
        for i, (x, shape) in enumerate(zip(self.inputs, shapes, strict=True)):
            sizes = tuple(symbols.setdefault(d, dim(d)) if isinstance(d, str) else d for d in shape)
            given.append(relax.Var(f"x{i}", relax.TensorType(sizes, str(x.dtype))))
        bb = relax.BlockBuilder()
        with bb.function("main", given):
            out = self.make(bb, *given)
            outs = [bb.emit(o) for o in (out if isinstance(out, list | tuple) else [out])]
            bb.emit_func_output(relax.Tuple(outs))
        return bb.get()

    def artifact(self, target: str, dump: pipeline.Dump | None = None, /, **options: Any) -> Artifact:
        module, chosen = self.module(), targets.get(target, **options)
        built = pipeline.build(module, chosen, dump=dump)
        shapes = self.dims or tuple(x.shape for x in self.inputs)
        inputs = tuple(TensorSpec(f"x{i}", str(x.dtype), shape) for i, (x, shape) in enumerate(zip(self.inputs, shapes, strict=True)))
        outputs = tuple(TensorSpec(f"y{i}", str(t.dtype), None) for i, t in enumerate(module["main"].ret_ty.fields))
        manifest = {"target": target, "options": dict(chosen.options), "runtime": dict(chosen.runtime), "kernels": built.kernels}
        return Artifact(built.library, built.weights, Signature(inputs, outputs), manifest)

    def run(self, artifact: Artifact) -> list[np.ndarray]:
        with oarlock.Session(artifact) as session:
            return list(session.run({f"x{i}": x for i, x in enumerate(self.inputs)}).values())


def _convolutions(bb: Any, x: Any) -> Any:
    y = op.nn.relu(op.add(op.nn.conv2d(x, const(16, 3, 3, 3), strides=2, padding=1), const(1, 16, 1, 1)))
    y = op.nn.silu(op.nn.conv2d(y, const(16, 1, 3, 3), padding=1, groups=16))
    z = op.nn.conv2d(y, const(24, 16, 1, 1))
    z = op.add(z, op.nn.conv2d(y, const(24, 4, 3, 3), padding=2, dilation=2, groups=4))
    scale = op.sigmoid(op.nn.conv2d(op.mean(z, [2, 3], True), const(24, 24, 1, 1)))
    return op.multiply(z, scale)


def _classifier(bb: Any, x: Any) -> Any:
    y = op.nn.max_pool2d(_convolutions(bb, x), (3, 3), (2, 2), (1, 1, 1, 1))
    y = op.matmul(op.reshape(op.mean(y, [2, 3]), (x.ty.shape[0], 24)), const(24, 70))
    return op.nn.softmax(op.add(y, const(70)), -1)


def _attention(bb: Any, x: Any) -> Any:
    n, s, _ = x.ty.shape

    def heads(seed: int) -> Any:
        return op.permute_dims(op.reshape(op.matmul(x, const(64, 64, seed=seed)), (n, s, 4, 16)), [0, 2, 1, 3])

    q, k, v = heads(2), heads(3), heads(4)
    weights = op.nn.softmax(op.multiply(op.matmul(q, op.permute_dims(k, [0, 1, 3, 2])), relax.const(0.25)), -1)
    y = op.reshape(op.permute_dims(op.matmul(weights, v), [0, 2, 1, 3]), (n, s, 64))
    y = op.nn.layer_norm(op.add(x, y), const(64), const(64, seed=5), [-1])
    return op.add(y, op.nn.gelu(op.matmul(y, const(64, 64, seed=6))))


def _scans(bb: Any, x: Any) -> Any:
    order = bb.emit(op.argsort(x, -1, False, "int64"))
    return [op.cumsum(x, 1), op.cumprod(x, 0), order, op.argsort(x, -1, True, "int32"), op.cumsum(x, 1, exclusive=True)]


def _reductions(bb: Any, x: Any) -> Any:
    return [op.sum(x, [0, 2]), op.max(x, [1]), op.mean(op.abs(x)), op.argmax(x, 2), op.variance(x, [1, 2]), op.nn.log_softmax(x, 1)]


def _moves(bb: Any, x: Any) -> Any:
    y = op.concat([op.permute_dims(x, [0, 2, 1]), op.strided_slice(op.permute_dims(x, [0, 2, 1]), [1], [0], [4])], 1)
    picked = op.take(y, relax.const(np.array([3, 0, 3], "int64")), 1)
    return [op.nn.pad(y, (0, 0, 1, 2, 3, 0)), op.where(op.greater(y, relax.const(0.0)), y, op.exp(y)), picked, op.astype(y, "int32")]


def _exact(bb: Any, x: Any) -> Any:
    return [getattr(op, name)(x) for name in ("exp", "sin", "cos", "tanh", "erf", "sqrt", "rsqrt")] + [op.power(x, relax.const(1.7))]


def _half(bb: Any, x: Any) -> Any:
    """Products and convolutions of float16, some of which tensor cores can take."""

    def half(value: Any) -> Any:
        return op.astype(value, "float16")

    image = op.reshape(half(x), (x.ty.shape[0], 96, 16, 16))
    y = op.nn.relu(op.nn.conv2d(image, half(const(128, 96, 3, 3)), padding=1))
    y = op.nn.conv2d(y, half(const(128, 1, 3, 3)), padding=1, groups=128)
    rows = op.reshape(op.permute_dims(y, [0, 2, 3, 1]), (x.ty.shape[0] * 256, 128))
    z = op.matmul(rows, half(const(128, 192)))
    return [op.astype(y, "float32"), op.astype(op.nn.softmax(z, -1), "float32"), op.astype(z, "float32")]


def half_in_float64() -> list[np.ndarray]:
    """The images and the products that _half computes, without rounding between its steps."""

    def rounded(array: np.ndarray) -> np.ndarray:
        return array.astype("float16").astype("float64")

    def window(x: np.ndarray, i: int, j: int) -> np.ndarray:
        return np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))[:, :, i : i + 16, j : j + 16]

    places = [(i, j) for i in range(3) for j in range(3)]
    full, deep, last = (rounded(rand(*shape, seed=1) * 0.2) for shape in ((128, 96, 3, 3), (128, 1, 3, 3), (128, 192)))
    x = rounded(HALF.inputs[0]).reshape(2, 96, 16, 16)
    y = np.maximum(sum(np.einsum("oc,nchw->nohw", full[:, :, i, j], window(x, i, j)) for i, j in places), 0)
    y = sum(deep[:, 0, i, j][:, None, None] * window(y, i, j) for i, j in places)
    return [y, y.transpose(0, 2, 3, 1).reshape(-1, 128) @ last]


HALF = Case(_half, (rand(2, 96 * 256),))  # the emulated GPU has no float16

CASES: dict[str, Case] = {
    "convolutions": Case(_convolutions, (rand(2, 3, 21, 18),)),
    "convolutions of any size": Case(_convolutions, (rand(2, 3, 21, 18),), (("n", 3, "h", "w"),)),
    "classifier": Case(_classifier, (rand(1, 3, 33, 20),)),
    "attention": Case(_attention, (rand(2, 37, 64),)),
    "attention of any length": Case(_attention, (rand(2, 37, 64),), (("n", "s", 64),)),
    "scans": Case(_scans, (np.round(rand(5, 140), 1),)),
    "scans of any length": Case(_scans, (np.round(rand(5, 140), 1),), (("n", "m"),)),
    "reductions": Case(_reductions, (rand(4, 70, 33),)),
    "reductions of any size": Case(_reductions, (rand(4, 70, 33),), (("n", "m", 33),)),
    "moves": Case(_moves, (rand(3, 5, 7),)),
    "moves of any size": Case(_moves, (rand(3, 5, 7),), (("n", 5, "m"),)),
    "functions": Case(_exact, (np.abs(rand(1000)) + 0.1,)),
}


def difference(got: np.ndarray, want: np.ndarray) -> float:
    """The largest difference as a part of the scale of what is right; infinite where shapes, types or integers differ."""
    if got.shape != want.shape or got.dtype != want.dtype:
        return float("inf")
    if got.dtype.kind != "f":
        return 0.0 if np.array_equal(got, want) else float("inf")
    return float(np.abs(got - want).max(initial=0) / max(np.abs(want).max(initial=0), 1e-30))
