"""Layouts without a pass over the whole graph: a value is kept in the form its producer made, and converted when asked.

Forms of a value: ``plain`` (as the model has it), ``nhwc`` (rank 4, channels moved last), ``rows1`` (nhwc as a matrix: pixels ×
channels) and ``rows-1`` (plain as a matrix: everything × last dim).  nhwc ↔ rows1 and plain ↔ rows-1 are free views.
Elementwise operators take the form of their biggest operand, so that they fuse into the convolution or product before them.

A value that a product reads as a narrower type is kept as that type alone: it is rounded once, by the kernel that makes it, and
whoever needs it wide widens it on the way in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tvm
from tvm import relax

from ... import compat
from ...errors import InternalError
from ...rules.origins import Origins, standing_for
from .dots import Narrow

TO_NHWC, TO_NCHW = (0, 2, 3, 1), (0, 3, 1, 2)
Dims = list[Any]
Handler = Callable[["Forms", relax.Var, relax.Call], "dict[str, relax.Expr] | None"]
Keeps = Callable[[relax.DataflowBlock], "set[relax.Var]"]


def dims(expr: relax.Expr) -> Any:
    """The shape of a tensor expression; static dims as int.  None when it is not known."""
    ty = expr.ty
    if not isinstance(ty, relax.TensorType) or ty.shape is None or not isinstance(ty.shape, relax.ShapeExpr):
        return None
    return [compat.static(d) for d in ty.shape.values]


def known_dims(expr: relax.Expr) -> Dims:
    """``dims`` of an expression whose shape is known to be known."""
    shape = dims(expr)
    if shape is None:
        raise InternalError(f"a tensor of unknown shape where its shape is needed: {expr.ty}")
    return shape


def same(a: Any, b: Any) -> bool:
    """Whether two dims are equal for sure."""
    if isinstance(a, int) or isinstance(b, int):
        return isinstance(a, int) and isinstance(b, int) and a == b
    return compat.equal_dims(a, b)


def alike(a: Dims | None, b: Dims | None) -> bool:
    """Whether two shapes are known, and equal for sure."""
    return a is not None and b is not None and len(a) == len(b) and all(map(same, a, b))


def product(sizes: Sequence[Any]) -> Any:
    """The product of dims: an int when all are static."""
    out: Any = 1
    for size in sizes:
        out = out * size if not (isinstance(out, int) and out == 1) else size
    return out


@relax.expr_functor.mutator
class Forms(relax.PyExprMutator, Origins):
    """Rewrites one function with ``handlers`` (operator name → what makes its result in other forms)."""

    def __init__(self, mod: tvm.IRModule, handlers: dict[str, Handler], narrow: Narrow | None, keeps: Keeps) -> None:
        """``keeps``: which values of a block are kept as the narrow type, if there is one."""
        super().__init__(mod)
        self.handlers, self.narrow, self.keeps = handlers, narrow, keeps
        self.kept_narrow: set[relax.Var] = set()
        self.widened: dict[relax.Var, relax.Expr] = {}  # what ``get`` widened
        self.kernels = dict(mod.functions.items())
        self.forms: dict[relax.Var, dict[str, relax.Expr]] = {}
        self.values: dict[relax.Var, relax.Expr] = {}
        self.order: dict[relax.Var, int] = {}  # when a value got its forms
        self.in_dataflow = False

    # ---- what handlers use ------------------------------------------------------------------------------------------

    def te(self, function: Callable, *args: Any, name: str, fusable: bool = True) -> relax.Var:
        """Bind a kernel made by a TE function; ``fusable``: elementwise operators after it may join it."""
        attrs = {"op_pattern": 4} if fusable else None  # 4 = TVM's kOutEWiseFusable: the analysis cannot see it in tiles
        return self.emit(self.builder_.call_te(function, *args, primfunc_name_hint=name, primfunc_attrs=attrs))

    def reshape(self, expr: relax.Expr, shape: Sequence[Any]) -> relax.Expr:
        """The same elements in another shape (the same expression when nothing changes)."""
        if alike(dims(expr), list(shape)):
            return expr
        if isinstance(expr, compat.Constant) and all(isinstance(d, int) for d in shape):
            return compat.constant(compat.constant_array(expr).reshape(shape))
        return self.emit(relax.op.reshape(expr, tuple(shape)))

    def get(self, value: relax.Expr, form: str) -> relax.Expr:
        """``value`` (of the old function) in ``form`` as the type that it has in the model."""
        stored = self.stored(value, form)
        # bound anew for each reader, so that it can be fused into each
        if not self.narrow or not self.is_narrow(value):
            return stored
        wide = self.emit(self.narrow.widen(stored))
        self.widened[wide] = stored
        return wide

    def narrowed(self, value: relax.Expr, form: str) -> relax.Expr:
        """``value`` in ``form`` as the narrow type."""
        stored = self.stored(value, form)
        assert self.narrow is not None
        return stored if self.is_narrow(value) else self.emit(self.narrow.narrow(stored))

    def is_narrow(self, value: relax.Expr) -> bool:
        """Whether ``value`` is kept as the narrow type."""
        return isinstance(value, relax.Var) and value in self.kept_narrow

    def stored(self, value: relax.Expr, form: str) -> relax.Expr:
        """``value`` in ``form`` as the type that it is kept in; conversions are bound once."""
        if not isinstance(value, relax.Var):
            return self._convert(self.visit_expr(value), form)
        have = self.forms.setdefault(value, {})
        if form in have:
            return have[form]
        with standing_for(self, value):
            if form == "plain":
                have[form] = self._plain(value, have)
            elif form == "rows1":
                have[form] = self._rows(self.stored(value, "nhwc"))
            elif form == "rows-1":
                have[form] = self._rows(self.stored(value, "plain"))
            elif "rows1" in have:
                n, c, h, w = known_dims(value)
                have[form] = self.reshape(have["rows1"], (n, h, w, c))
            else:
                have[form] = self._convert(self.stored(value, "plain"), "nhwc")
            self.settle(have[form])
        return have[form]

    def has(self, value: relax.Expr, form: str) -> bool:
        """Whether ``value`` is there in ``form`` without a conversion that moves data."""
        have = self.forms.get(value, {}) if isinstance(value, relax.Var) else {}
        return form in have or (form == "nhwc" and "rows1" in have) or (form == "rows1" and "nhwc" in have)

    def preferred(self, values: Sequence[relax.Expr]) -> list[str]:
        """The forms that the values are there in, that of the value made last first: it can be fused with what is made next."""
        known = sorted((v for v in values if isinstance(v, relax.Var) and v in self.order), key=self.order.__getitem__, reverse=True)
        exact = [form for v in known for form in self.forms.get(v, {}) if form != "plain"]
        views = [form for v in known for form in ("rows1", "nhwc") if self.has(v, form)]
        return list(dict.fromkeys(exact + views))

    def operand(self, value: relax.Expr, form: str, out: Dims) -> relax.Expr | None:
        """``value`` as an operand that broadcasts against a result of shape ``out`` in ``form``; None when it cannot."""
        have = dims(value)
        if have is None or len(have) > len(out):
            return None
        if all(isinstance(d, int) and d == 1 for d in have):
            return self._scalar(value)
        padded = [1] * (len(out) - len(have)) + have
        if form == "nhwc":
            if len(have) == 4:
                return self.get(value, "nhwc")
            if isinstance(value, compat.Constant):
                return compat.constant(compat.constant_array(value).reshape(padded).transpose(TO_NHWC))
            return self._convert(self.reshape(self.get(value, "plain"), padded), "nhwc")
        axis = 1 if form == "rows1" else len(out) - 1
        outer = [i for i in range(len(out)) if i != axis]
        if all(same(padded[i], out[i]) for i in outer):
            if len(have) == len(out):
                return self.get(value, form)
            return None
        if all(isinstance(padded[i], int) and padded[i] == 1 for i in outer):
            if isinstance(value, compat.Constant):
                return compat.constant(compat.constant_array(value).reshape(1, -1))
            return self.reshape(self.get(value, "plain"), (1, padded[axis]))
        return None

    # ---- conversions ------------------------------------------------------------------------------------------------

    def _plain(self, value: relax.Var, have: dict[str, relax.Expr]) -> relax.Expr:
        if "rows-1" in have:
            return self.reshape(have["rows-1"], known_dims(value))
        if "nhwc" in have or "rows1" in have:
            shape = known_dims(value)
            source = self.stored(value, "nhwc")
            if shape[1] == 1 or shape[2:] == [1, 1]:
                return self.reshape(source, shape)  # moving a dim of 1 moves no data
            return self.emit(relax.op.permute_dims(source, TO_NCHW))
        return self.visit_expr(value)

    def _rows(self, expr: relax.Expr) -> relax.Expr:
        shape = known_dims(expr)
        return self.reshape(expr, (product(shape[:-1]), shape[-1]))

    def _scalar(self, value: relax.Expr) -> relax.Expr:
        if isinstance(value, compat.Constant):
            return compat.constant(compat.constant_array(value).reshape(()))
        return self.reshape(self.get(value, "plain"), ())

    def _convert(self, expr: relax.Expr, form: str) -> relax.Expr:
        if form == "plain":
            return expr
        if form.startswith("rows"):
            return self._rows(self._convert(expr, "nhwc") if form == "rows1" else expr)
        shape = known_dims(expr)
        if isinstance(expr, compat.Constant):
            return compat.constant(compat.constant_array(expr).transpose(TO_NHWC))
        if shape[1] == 1 or shape[2:] == [1, 1]:
            n, c, h, w = shape
            return self.reshape(expr, (n, h, w, c))
        return self.emit(relax.op.permute_dims(expr, TO_NHWC))

    # ---- the walk ---------------------------------------------------------------------------------------------------

    def visit_dataflow_block_(self, block: relax.DataflowBlock) -> relax.BindingBlock:
        self.in_dataflow = True
        compat.begin_dataflow(self.builder_)
        if self.narrow is not None:
            self.kept_narrow = self.keeps(block)
        for binding in block.bindings:
            self.visit_binding(binding)
        self.in_dataflow = False
        self.kept_narrow = set()
        self.widened.clear()
        self.forms.clear()  # every value that leaves the block was bound in its plain form
        return compat.end_block(self.builder_)

    def visit_var_binding_(self, binding: relax.VarBinding) -> None:
        self.enter(binding)
        var, value = binding.var, binding.value
        if not self.in_dataflow:
            return super().visit_var_binding_(binding)
        self.values[var] = value
        made = None
        if isinstance(value, relax.Call) and isinstance(value.op, tvm.ir.Op) and value.op.name in self.handlers and dims(var) is not None:
            made = self.handlers[value.op.name](self, var, value)
        if made is None:
            self._plain_uses(value)
            super().visit_var_binding_(binding)
            if self.narrow and var in self.kept_narrow:
                self.forms[var] = {"plain": self.emit(self.narrow.narrow(self.visit_expr(var)))}
            return None
        if self.narrow and var in self.kept_narrow:
            held = self.narrow.operand
            made = {form: e if str(e.ty.dtype) == held else self.emit(self.narrow.narrow(e)) for form, e in made.items()}
        for expr in made.values():
            self.settle(expr)
        self.forms[var] = made
        self.order[var] = len(self.order)
        if not isinstance(var, relax.DataflowVar):
            plain = self.builder_.emit_output(self.get(var, "plain"), self.origin)
            self.set_var_remap(var, plain)
        return None

    def visit_match_cast_(self, binding: relax.MatchCast) -> None:
        self.enter(binding)
        self._plain_uses(binding.value)
        super().visit_match_cast_(binding)

    def _plain_uses(self, value: relax.Expr) -> None:
        """Bind the plain form of everything that an operator without a handler reads."""

        def visit(e: relax.Expr) -> None:
            if isinstance(e, relax.DataflowVar) and e in self.order:  # what leaves the block is there in its plain form
                plain = self.get(e, "plain")
                if not isinstance(plain, relax.Var):
                    plain = self.emit(plain)
                if not plain.same_as(e):
                    self.set_var_remap(e, plain)

        relax.analysis.post_order_visit(value, visit)
