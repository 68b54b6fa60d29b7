"""Faults to plant in the compiler, and models to plant them under.  Each says which operators and which stage are guilty."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

Call = Callable[..., Any]


@dataclass(frozen=True)
class Model:
    call: Call
    inputs: dict[str, np.ndarray]


def _conv(paddle: Any, x: Any) -> Any:
    """Convolutions as networks for pictures have them: folded norms, depthwise, squeeze and excitation, pooling."""
    paddle.seed(3)
    nn, F = paddle.nn, paddle.nn.functional
    norms = [nn.BatchNorm2D(16), nn.BatchNorm2D(16)]
    for norm in norms:
        norm.eval()
    y = F.hardswish(norms[0](nn.Conv2D(3, 16, 3, stride=2, padding=1)(x)))
    y = F.relu(norms[1](nn.Conv2D(16, 16, 3, padding=1, groups=16)(y)))
    gate = F.hardsigmoid(nn.Conv2D(4, 16, 1)(F.relu(nn.Conv2D(16, 4, 1)(F.adaptive_avg_pool2d(y, 1)))))
    y = F.max_pool2d(y * gate, 2)
    return F.softmax(nn.Linear(16, 10)(paddle.flatten(F.adaptive_avg_pool2d(y, 1), 1)))


def _attention(paddle: Any, x: Any) -> Any:
    paddle.seed(4)
    nn, F = paddle.nn, paddle.nn.functional
    q, k, v = (nn.Linear(32, 32)(x).reshape([0, 0, 4, 8]).transpose([0, 2, 1, 3]) for _ in range(3))
    weights = F.softmax(paddle.matmul(q, k, transpose_y=True) * 0.35)
    y = paddle.matmul(weights, v).transpose([0, 2, 1, 3]).reshape([0, 0, 32])
    y = nn.LayerNorm(32)(x + nn.Linear(32, 32)(y))
    return nn.LayerNorm(32)(y + nn.Linear(64, 32)(F.gelu(nn.Linear(32, 64)(y))))


def _decoder(paddle: Any, x: Any) -> Any:
    """Resizing, concatenation, transposed convolution: what segmentation and detection add."""
    paddle.seed(5)
    nn, F = paddle.nn, paddle.nn.functional
    low = F.relu(nn.Conv2D(8, 16, 3, stride=2, padding=1)(x))
    up = F.interpolate(low, scale_factor=2, mode="bilinear")
    y = paddle.concat([F.sigmoid(nn.Conv2D(8, 8, 1)(x)), up], 1)
    return paddle.tanh(nn.Conv2DTranspose(24, 4, 2, stride=2)(y))


def _recurrent(paddle: Any, x: Any) -> Any:
    paddle.seed(6)
    cell, state, out = paddle.nn.LSTMCell(12, 16), None, []
    for step in range(3):
        y, state = cell(x[:, step], state)
        out.append(y)
    return paddle.nn.functional.log_softmax(paddle.nn.Linear(16, 5)(paddle.stack(out, 1)))


def _tabular(paddle: Any, ids: Any, x: Any) -> Any:
    paddle.seed(7)
    nn, F = paddle.nn, paddle.nn.functional
    y = paddle.concat([nn.Embedding(40, 8)(ids).sum(1), paddle.log(paddle.abs(x) + 1.0)], 1)
    y = F.relu(nn.Linear(14, 32)(y))
    top, _ = paddle.topk(y, 4)
    return F.sigmoid(nn.Linear(32, 1)(y)) + paddle.cumsum(top, 1)


def _features(paddle: Any, x: Any) -> Any:
    """Signals: slices, powers, reductions, statistics."""
    paddle.seed(8)
    frames = paddle.stack([x[:, i : i + 16] for i in range(0, 48, 8)], 1)
    power = paddle.sqrt(paddle.square(frames) + 1e-3)
    mean, spread = power.mean(-1, keepdim=True), power.std(-1, keepdim=True)
    y = paddle.nn.functional.leaky_relu((power - mean) / (spread + 0.1))
    return paddle.clip(paddle.matmul(y, y, transpose_y=True).max(-1), -4.0, 4.0)


def _random(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).standard_normal(shape).astype("float32")


def _loop(paddle: Any, x: Any, n: Any) -> Any:
    paddle.seed(9)
    i, weight = paddle.zeros([], "int64"), paddle.create_parameter([12, 12], "float32")
    y = paddle.nn.functional.relu(paddle.nn.Linear(12, 12)(x))
    _, y = paddle.static.nn.while_loop(lambda i, y: i < n, lambda i, y: [i + 1, paddle.tanh(paddle.matmul(y, weight)) + y], [i, y])
    return paddle.nn.functional.softmax(paddle.cumsum(y, 1))


MODELS = {
    "conv": Model(_conv, {"x": _random(2, 3, 32, 32)}),
    "attention": Model(_attention, {"x": _random(2, 9, 32)}),
    "decoder": Model(_decoder, {"x": _random(1, 8, 12, 12)}),
    "recurrent": Model(_recurrent, {"x": _random(2, 7, 12)}),
    "tabular": Model(_tabular, {"ids": np.arange(12).reshape(4, 3) * 3, "x": _random(4, 6)}),
    "loop": Model(_loop, {"x": _random(4, 12), "n": np.array(5)}),
    "features": Model(_features, {"x": _random(3, 64)}),
}


@dataclass(frozen=True)
class Fault:
    """``plant(monkeypatch)`` breaks something; ``operator``: one that must be among the guilty; ``stage``: the guilty one."""

    model: str
    operator: str
    stage: str
    plant: Callable[[pytest.MonkeyPatch], None]


def converter(name: str, change: Callable[[Any], Any]) -> Callable[[pytest.MonkeyPatch], None]:
    """The converter of an operator gives something else."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        from oarlock.ops import registry

        registry.load_builtin()
        spec = registry.lookup(f"pd_op.{name}")
        assert spec is not None
        real = registry.apply

        def apply(b: Any, given: Any, op: Any, operands: Any) -> Any:
            out = real(b, given, op, operands)
            return (change(out[0]), *out[1:]) if op.short_name == name else out

        patch.setattr(registry, "apply", apply)

    return plant


def replaced(module: str, name: str, make: Callable[[Any], Any]) -> Callable[[pytest.MonkeyPatch], None]:
    """A function of the compiler is replaced by what ``make`` makes of it."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        import importlib

        home = importlib.import_module(f"oarlock.{module}")
        patch.setattr(home, name, make(getattr(home, name)))

    return plant


def scaled(result: Any) -> Any:
    return result * 1.02


def scaled_tensor(real: Callable[..., Any]) -> Callable[..., Any]:
    """A TE kernel whose result is larger."""

    def make(*args: Any, **kwargs: Any) -> Any:
        from tvm import te, tirx

        out = real(*args, **kwargs)
        return te.compute(out.shape, lambda *i: out(*i) * tirx.const(1.02, out.dtype), name="faulty")

    return make


def first_wrong(real: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """An array whose first element is off."""

    def make(array: np.ndarray, *args: Any) -> np.ndarray:
        array = array.copy()
        array.reshape(-1)[0] += 1.0
        return real(array, *args)

    return make


def first_factor(real: Callable[..., Any]) -> Callable[..., Any]:
    def make(affine: Any, factor: np.ndarray) -> Any:
        return real(affine, np.concatenate([factor[:1] * 1.1, factor[1:]]))

    return make


def lifted(real: Callable[..., Any]) -> Callable[..., Any]:
    """A weight is lost when weights are lifted."""

    def make(mod: Any, weights: Any) -> Any:
        out = real(mod, weights)
        weights.arrays[0] = np.zeros_like(weights.arrays[0])
        return out

    return make


def legalised(patch: pytest.MonkeyPatch) -> None:
    from tvm import te, topi

    from oarlock.rules.legalise import LEGALISATIONS

    def tanh(bb: Any, call: Any) -> Any:
        def kernel(x: te.Tensor) -> te.Tensor:
            return topi.multiply(topi.tanh(x), 1.02)

        return bb.call_te(kernel, call.args[0], primfunc_name_hint="tanh")

    patch.setitem(LEGALISATIONS, "relax.tanh", tanh)


def lapped(real: Callable[..., Any]) -> Callable[..., Any]:
    """The native function has its tensors upon each other."""

    def make(values: list[Any]) -> Any:
        size = real(values)
        for value in values:
            value.offset = 0
        return size

    return make


def generated(patch: pytest.MonkeyPatch) -> None:
    """A code generator that takes a function which tanh is made of for another when it optimises."""
    from tvm import tirx
    from tvm.script import from_source

    from oarlock import compat

    real = compat.build_vm

    def build(mod: Any, target: Any, *args: Any, **kwargs: Any) -> Any:
        if target.attrs.get("opt-level", 3) != 0:
            mod = mod.clone()
            for gv, function in mod.functions.items():
                if isinstance(function, tirx.PrimFunc) and "T.copysign(" in function.script():
                    wrong = from_source(function.script().replace("T.copysign(", "T.float32(1.02) * T.copysign("))
                    mod[gv] = wrong.with_attrs(dict(function.attrs))
        return real(mod, target, *args, **kwargs)

    patch.setattr(compat, "build_vm", build)


FAULTS = {
    # the operators' converters
    "hardswish": Fault("conv", "hardswish", "imported", converter("hardswish", scaled)),
    "max-pool": Fault("conv", "pool2d", "imported", converter("pool2d", scaled)),
    "attention-softmax": Fault("attention", "softmax", "imported", converter("softmax", scaled)),
    "attention-norm": Fault("attention", "layer_norm", "imported", converter("layer_norm", scaled)),
    "gelu": Fault("attention", "gelu", "imported", converter("gelu", scaled)),
    "resize": Fault("decoder", "bilinear_interp", "imported", converter("bilinear_interp", scaled)),
    "gate": Fault("recurrent", "sigmoid", "imported", converter("sigmoid", scaled)),
    "cumsum": Fault("tabular", "cumsum", "imported", converter("cumsum", scaled)),
    "embedding": Fault("tabular", "embedding", "imported", converter("embedding", scaled)),
    "leaky-relu": Fault("features", "leaky_relu", "imported", converter("leaky_relu", scaled)),
    # stages
    "folding": Fault("conv", "batch_norm", "fold-affine", replaced("rules.affine", "_scaled", first_factor)),
    "legalising": Fault("decoder", "tanh", "legalise", legalised),
    "lifting": Fault("conv", "conv2d", "lift-weights", replaced("pipeline", "lift_weights", lifted)),
    # the kernels that the target brings
    "packing": Fault("conv", "conv2d", "cpu-layouts", replaced("targets.cpu.kernels", "pack_columns", first_wrong)),
    "depthwise": Fault("conv", "depthwise_conv2d", "cpu-layouts", replaced("targets.cpu.kernels", "depthwise", scaled_tensor)),
    "product": Fault("tabular", "matmul", "cpu-layouts", replaced("targets.cpu.kernels", "product", scaled_tensor)),
    "batch-product": Fault("attention", "matmul", "cpu-layouts", replaced("targets.cpu.kernels", "batch_product", scaled_tensor)),
    "row-softmax": Fault("recurrent", "log_softmax", "cpu-rows", replaced("targets.cpu.rows", "softmax", scaled_tensor)),
    "row-norm": Fault("attention", "layer_norm", "cpu-rows", replaced("targets.cpu.rows", "layer_norm", scaled_tensor)),
    "row-mean": Fault("features", "mean", "cpu-rows", replaced("targets.cpu.rows", "reduction", scaled_tensor)),
    # in a loop
    "loop": Fault("loop", "tanh", "imported", converter("tanh", scaled)),
    # what calls the kernels, and what makes machine code of them
    "native-function": Fault("attention", "scale", "cpu-ahead-of-time", replaced("targets.cpu.aot", "place", lapped)),
    "code-generator": Fault("decoder", "tanh", "generate-code", generated),
}
