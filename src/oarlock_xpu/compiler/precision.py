"""Narrower operands for products and convolutions: half floats, or integers by max pointers, which go from call to call.

Before: ``conv2d_fusion(x, w)``.  After (int8): ``conv2d_fusion(x, round(w · 127 / max of each filter), scale_max, x_max)``, where x_max is
a second result of the call that makes x: its kernel finds it on the way.  Where no call gives it, operands are half floats: findmax would
be one more launch, which costs more than narrower operands save.  int31 narrows nothing: operands are fixed-point numbers of 31 bits,
multiplied at the rate of floats (assumed); where no call gives a maximum they stay floats.
Activations are rounded by their own largest number in each run; nothing is calibrated.  Depthwise convolutions, whose time is not that of
products, and products of two tensors that are not attention's stay float32; so do those of squeeze-excitation, whose matrices become half
floats.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from tvm import relax

from oarlock import compat

from .engine import Extra, Fusion, Plan, Step
from .graph import Graph, constant_of, shape_of

PRECISIONS = ("float32", "float16", "int31", "int16", "int8")
_MOST = {"int31": 2**30 - 1, "int16": 32767, "int8": 127}
_HELD = {"int31": "int32"}  # element types of weights, where another than the precision's name
# functions that write the largest number of their result with it
_MAKERS = frozenset(
    "conv2d_fusion fc_fusion qkv_attention layer_norm add_layer_norm rms_layer_norm multi_embedding_fusion transformer_encoder".split()
)
# functions whose result has no larger numbers than x
_KEEPERS = frozenset(["max_pool2d", "avg_pool2d", "transpose", "relu", "relu6", "strided_slice", "split"])
_GATES = frozenset(["sigmoid", "hard_sigmoid"])
_MATRICES = ("qkv", "out", "inner", "outer")  # of an encoder's layer


@dataclass
class Linked:
    """``narrow``: calls on integers, or half floats where these are asked for; ``others``: calls on ``instead`` in place of integers."""

    narrow: int = 0
    others: int = 0
    instead: str = "float16"


def narrow(graph: Graph, plan: Plan, precision: str) -> Linked:
    """Change the plan's calls to operands of a precision; what was done."""
    if precision == "float32":
        return Linked()
    return _Pass(graph, plan, precision).run()


def rounded(w: np.ndarray, axis: int, precision: str) -> tuple[np.ndarray, np.ndarray]:
    """Weights as integers, each slice along ``axis`` by its own largest number; and these numbers."""
    others = tuple(d for d in range(w.ndim) if d != axis)
    largest = np.abs(w).max(axis=others, keepdims=True, initial=0).astype("float32")
    scaled = largest.astype("float64" if precision == "int31" else "float32")  # as the matrix units scale activations
    factor = np.divide(scaled.dtype.type(_MOST[precision]), scaled, out=np.zeros_like(scaled), where=scaled > 0)
    integers = np.clip(np.rint(w * factor), -_MOST[precision], _MOST[precision])
    return integers.astype(_HELD.get(precision, precision)), largest.reshape(-1)


class _Pass:
    def __init__(self, graph: Graph, plan: Plan, precision: str) -> None:
        self.graph, self.plan, self.precision = graph, plan, precision
        self.integers = precision in _MOST
        self.instead = "float32" if precision == "int31" else "float16"  # where nothing gives a maximum
        self.done = Linked(instead=self.instead)
        self.block = 0
        self.steps: dict[int, Step] = {}
        self.results = {node.var: var for var, f in plan.fusions.items() for node in (f.last, *f.more.values())}

    def run(self) -> Linked:
        changes = {
            "conv2d_fusion": self._conv,
            "fc_fusion": self._fc,
            "qkv_attention": self._attention,
            "transformer_encoder": self._encoder,
            "squeeze_excitation_block": self._excitation,
        }
        for var, node in self.graph.nodes.items():
            self.block = node.block
            fusion = self.plan.fusions.get(var)
            if fusion is None or fusion.api not in changes:
                continue
            made = changes[fusion.api](fusion)
            if made is not None:
                # a maximum that a later call asked it for stays
                self.plan.fusions[var] = replace(made, extra=self.plan.fusions[var].extra)
        return self.done

    def _count(self, precision: str) -> None:
        if precision == self.precision:
            self.done.narrow += 1
        else:
            self.done.others += 1

    # ---- calls

    def _weights(self, w: np.ndarray, axis: int, role: str, by: str, precision: str) -> dict[str, Any]:
        if precision == "float32":
            return {}
        if precision == "float16":
            return {role: compat.constant(w.astype("float16"))}
        integers, largest = rounded(w, axis, precision)
        return {role: compat.constant(integers), by: compat.constant(largest)}

    def _conv(self, fusion: Fusion) -> Fusion | None:
        w, shape = constant_of(fusion.inputs["w"]), shape_of(fusion.inputs["x"])  # type: ignore[arg-type]
        if w is None or shape is None or fusion.attributes["groups"] == shape[1]:
            return None
        of_x = self._max("x_max", fusion.inputs["x"])
        precision = self._of(of_x)
        self._count(precision)
        return replace(fusion, inputs={**fusion.inputs, **self._weights(w, 0, "w", "scale_max", precision), **(of_x or {})})

    def _fc(self, fusion: Fusion) -> Fusion | None:
        changed = self._product(fusion.inputs, fusion.attributes)
        return None if changed is None else replace(fusion, inputs=changed)

    def _product(self, inputs: dict[str, Any], attributes: dict[str, Any]) -> dict[str, Any] | None:
        w = constant_of(inputs["w"])
        if w is None:
            return None
        of_x = self._max("x_max", inputs["x"])
        precision = self._of(of_x)
        self._count(precision)
        return {**inputs, **self._weights(w, 0 if attributes.get("wtrans") else 1, "w", "w_columns", precision), **(of_x or {})}

    def _attention(self, fusion: Fusion) -> Fusion:
        inputs, maxima = dict(fusion.inputs), dict[str, Any]()
        for role in ("q", "k", "v"):
            given = fusion.inputs[role]
            if isinstance(given, Step):
                inputs[role] = self._step(given)
            maxima |= self._max(f"{role}_max", inputs[role]) or {}
        precision = self.precision if len(maxima) == 3 or not self.integers else self.instead
        self._count(precision)
        inputs |= maxima if precision in _MOST else {}
        told = {} if precision == "float32" else {"precision": precision}
        return replace(fusion, inputs=inputs, attributes={**fusion.attributes, **told})

    def _step(self, step: Step) -> Step:
        """A product that stands before attention, narrowed once for all that read it."""
        if id(step) not in self.steps:
            changed = self._product(step.inputs, step.attributes)
            extra = {"y_max": self._pointer()} if self.integers else {}
            self.steps[id(step)] = step if changed is None else replace(step, inputs=changed, extra=extra)
        return self.steps[id(step)]

    def _encoder(self, fusion: Fusion) -> Fusion:
        of_x = self._max("x_max", fusion.inputs["x"])
        inputs = {**fusion.inputs, **(of_x or {})}
        # its own calls give each other maxima: where x has none, the first product looks for it
        for number in range(fusion.attributes["layers"]):
            for role in _MATRICES:
                name = f"l{number}.{role}"
                w = constant_of(inputs[name])  # type: ignore[arg-type]
                assert w is not None
                inputs |= self._weights(w, 1, name, f"{name}_max", self.precision)
        self._count(self.precision)
        return replace(fusion, inputs=inputs)

    def _excitation(self, fusion: Fusion) -> Fusion | None:
        """Cores multiply it, and in floats: of narrower matrices less is read."""
        if self.instead == "float32":
            return None
        matrices = {role: constant_of(fusion.inputs[role]) for role in ("w1", "w2")}  # type: ignore[arg-type]
        halves = {role: compat.constant(w.astype("float16")) for role, w in matrices.items() if w is not None}
        return replace(fusion, inputs={**fusion.inputs, **halves}) if len(halves) == 2 else None

    # ---- maxima

    def _of(self, of_x: dict[str, Any] | None) -> str:
        return self.precision if of_x or not self.integers else self.instead

    def _pointer(self) -> tuple[tuple[int, ...], str]:
        return (self.graph.options.max_ptr,), "float32"

    def _max(self, role: str, x: Any) -> dict[str, Any] | None:
        """The max pointer of an operand, as an input of that role; None where nothing gives it."""
        if not self.integers:
            return None
        if isinstance(x, Step):
            return {role: Extra(x, "y_max")} if x.extra else None
        maker = self._maker(x)
        if maker is None:
            return None
        fusion = self.plan.fusions[maker]
        self.plan.fusions[maker] = replace(fusion, extra={**fusion.extra, "y_max": self._pointer()})
        return {role: Extra(maker, "y_max")}

    def _maker(self, x: relax.Expr) -> relax.Var | None:
        """The last variable of the call whose result's largest number is x's, or no smaller; through calls and views that keep it."""
        while isinstance(x, relax.Var):
            var = self.results.get(x)
            node = self.graph.node(x)
            if var is None:
                if node is None or node.name != "reshape":
                    return None
                x = node.call.args[0]
                continue
            fusion = self.plan.fusions[var]
            if fusion.last.block != self.block:  # what a block computes on the way is not seen outside of it
                return None
            if fusion.api == "conv2d_fusion" and _by_cores(fusion):
                return None
            if fusion.api in _MAKERS and x.same_as(fusion.last.var):
                return var
            gated = fusion.api == "squeeze_excitation_block" and fusion.attributes["act2"] in _GATES
            if fusion.api not in _KEEPERS and not gated:
                return None
            given = fusion.inputs["x"]
            if not isinstance(given, relax.Expr):
                return None
            x = given
        return None


def _by_cores(fusion: Fusion) -> bool:
    """Whether a convolution is depthwise: cores make it, and with a maximum by fewer clusters than without (as many as a max pointer has
    numbers), which costs more than integers save."""
    shape = shape_of(fusion.inputs["w"])  # type: ignore[arg-type]
    return shape is not None and shape[1] == 1 and fusion.attributes["groups"] > 1
