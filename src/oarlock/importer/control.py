"""Control flow: ``pd_op.if`` and ``pd_op.while`` → Relax.

A branch is a relax.If over tuples.  A loop is a tower of private functions, each of which runs the one below it eight times:

    level_0(s) = if s.cond: body(s) else s
    level_k(s) = if s.cond: level_{k−1}(… level_{k−1}(s) …) else s        (8 times)

so that 8^12 iterations need a stack of 13 frames.  Values that the body captures are parameters of every level, the symbolic
dims that shapes mention are one shape parameter.  A dim that an iteration changes is found by trial: the body is imported
with the shapes that come in; where what it yields differs, the dim becomes unknown and the body is imported again.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from tvm import relax, tirx

from ..compat import inner_block, substitute
from ..errors import UnsupportedError
from ..model.normalise import captures
from ..model.program import Block, Op, TensorType, Value
from ..ops.arrays import TensorArray
from ..ops.builder import roots
from ..ops.tensor import Dim, PrimExpr, Tensor

if TYPE_CHECKING:
    from .importer import Importer

FAN_OUT, LEVELS = 8, 12
Env = dict[Value, Any]


class Skip(Exception):
    """A value that is needed could not be computed; the cause is reported already."""


# ---- structured values: a tensor, a list, a tensor array ---------------------------------------------------------------


def leaves(value: Any) -> list[Tensor]:
    """The tensors that a value consists of, in order."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, list):
        return [leaf for v in value for leaf in leaves(v)]
    if isinstance(value, TensorArray):
        return leaves(value.items) if value.items is not None else [value.stack]  # type: ignore[list-item]
    raise Skip


def shape_of(value: Any) -> Any:
    """How a value is put together, comparable with ==."""
    if isinstance(value, list):
        return [shape_of(v) for v in value]
    if isinstance(value, TensorArray):
        return "stack" if value.items is None else ("array", len(value.items))
    return "tensor"


def rebuild(shape: Any, tensors: Iterator[Tensor]) -> Any:
    """The value of this structure with other tensors as leaves."""
    if isinstance(shape, list):
        return [rebuild(s, tensors) for s in shape]
    if shape == "stack":
        return TensorArray(stack=next(tensors))
    if isinstance(shape, tuple):
        return TensorArray([next(tensors) for _ in range(shape[1])])
    return next(tensors)


def dims_in(tensors: Sequence[Tensor]) -> list[tirx.Var]:
    """The symbolic dims that shapes and known contents mention, each once."""
    found: dict[tirx.Var, None] = {}
    for t in tensors:
        entries = list(t.shape) + ([] if t.known is None or t.known.dtype != object else list(t.known.flat))
        for d in entries:
            if isinstance(d, PrimExpr):
                found.update(dict.fromkeys(sorted(roots(d), key=lambda v: v.name)))
    return list(found)


# ---- branches ----------------------------------------------------------------------------------------------------------


def import_if(imp: Importer, op: Op) -> list[Any]:
    """``pd_op.if``: one region is imported when the condition is known, else both, and their results are made alike."""
    b = imp.b
    condition = _condition(imp, next(iter(op.operands.values())))
    if condition.known is not None and condition.known.dtype != object:
        region = op.regions[0 if condition.known.reshape(-1)[0] else 1]
        imp.block(region)
        return _yielded(imp, region)
    before = len(b.fresh)
    branches = [_Branch(imp, region) for region in op.regions]
    inner = set(b.fresh[before:])
    results: list[Any] = []
    for i, value in enumerate(op.results):
        values = [branch.results[i] for branch in branches]
        _alike_arrays(imp, branches, i)
        values = [branch.results[i] for branch in branches]
        if shape_of(values[0]) != shape_of(values[1]):
            raise UnsupportedError("the branches of an if yield different structures")
        for left, right in zip(leaves(values[0]), leaves(values[1]), strict=True):
            pair = _alike(branches, left, right, value)
            results.append(pair)
    types = [_common_type(b, left, right, inner) for left, right in results]
    for side, branch in enumerate(branches):
        branch.close([pair[side] for pair in results])
    made = _emit_if(imp, condition.expr, branches[0].sequence, branches[1].sequence, types)
    tensors = iter([_fit(imp, t, dims) for t, (dims, _) in zip(made, types, strict=True)])
    return [rebuild(shape_of(v), tensors) for v in branches[0].results]


class _Branch:
    """One region of an if, imported into binding blocks of its own."""

    def __init__(self, imp: Importer, region: Block) -> None:
        self.imp, self.blocks, self.sequence = imp, [], None
        with self.open():
            imp.block(region)
            self.results = _yielded(imp, region)

    @contextmanager
    def open(self) -> Iterator[None]:
        """Emit into this branch."""
        with self.imp.b.new_scope(), inner_block(self.imp.bb, self.blocks):
            yield

    def close(self, tensors: Sequence[Tensor]) -> None:
        with self.open():
            out = self.imp.bb.emit(relax.Tuple([t.expr for t in tensors]))
        self.sequence = relax.SeqExpr(self.blocks, out)


def _alike_arrays(imp: Importer, branches: Sequence[_Branch], i: int) -> None:
    """Arrays of different lengths in the two branches are stacked."""
    arrays = [branch.results[i] for branch in branches]
    if not all(isinstance(a, TensorArray) for a in arrays) or shape_of(arrays[0]) == shape_of(arrays[1]):
        return
    like = next((a.stack.shape[1:] if a.stack is not None else a.items[0].shape, leaves(a)[0].dtype) for a in arrays if leaves(a))
    for branch, array in zip(branches, arrays, strict=True):
        with branch.open():
            branch.results[i] = TensorArray(stack=imp.b.full([0, *like[0]], 0, like[1]) if array.items == [] else array.stacked(imp.b))


def _alike(branches: Sequence[_Branch], left: Tensor, right: Tensor, declared: Value) -> tuple[Tensor, Tensor]:
    if left.dtype != right.dtype:
        raise UnsupportedError(f"the branches of an if yield {left.dtype} and {right.dtype}")
    if left.ndim == right.ndim:
        return left, right
    if left.size == 1 and right.size == 1:  # a number as [] and as [1]
        rank = len(declared.type.shape) if isinstance(declared.type, TensorType) else right.ndim
        out = []
        for branch, t in zip(branches, (left, right), strict=True):
            with branch.open():
                out.append(t.reshape([1] * rank))
        return out[0], out[1]
    raise UnsupportedError(f"the branches of an if yield tensors of rank {left.ndim} and {right.ndim}")


def _common_type(b: Any, left: Tensor, right: Tensor, inner: set[tirx.Var]) -> tuple[list[Dim | None], str]:
    """The dims that hold whichever branch runs (None: only known at run time), and the dtype."""
    dims: list[Dim | None] = [p if b.equal(p, q) and not roots(p) & inner else None for p, q in zip(left.shape, right.shape, strict=True)]
    return dims, left.dtype


def _relax_type(dims: Sequence[Dim | None], dtype: str, mapping: Mapping[tirx.Var, tirx.Var] | None = None) -> relax.TensorType:
    if any(d is None for d in dims):
        return relax.TensorType(dtype=dtype, ndim=len(dims))
    return relax.TensorType(relax.ShapeExpr([substitute(d, mapping or {}) for d in dims]), dtype)


def _emit_if(imp: Importer, condition: relax.Expr, then: relax.Expr, other: relax.Expr, types: Sequence[Any]) -> list[relax.Var]:
    var = relax.Var("branch", relax.TupleType([_relax_type(dims, dtype) for dims, dtype in types]))
    imp.bb.emit_normalized(relax.VarBinding(var, relax.If(condition, then, other)))
    return [imp.bb.emit(relax.TupleGetItem(var, i)) for i in range(len(types))]


def _fit(imp: Importer, var: relax.Var, dims: Sequence[Dim | None]) -> Tensor:
    """A tensor whose unknown dims become fresh symbolic variables."""
    if any(d is None for d in dims):
        shape = [imp.b.fresh_dim() if d is None else d for d in dims]
        var = imp.bb.match_cast(var, relax.TensorType(relax.ShapeExpr(shape), var.ty.dtype))
    return imp.b.tensor(var)


def _condition(imp: Importer, value: Value | None) -> Tensor:
    """A 0-D bool."""
    tensor = imp.env.get(value) if value is not None else None
    if not isinstance(tensor, Tensor):
        raise Skip
    return tensor.reshape([]).astype("bool")


def _yielded(imp: Importer, region: Block) -> list[Any]:
    if not region.ops or region.ops[-1].name != "cf.yield":
        return []
    out = [imp.env.get(v) if v is not None else None for v in region.ops[-1].operands.values()]
    for value in out:
        leaves(value)  # Skip, when one of them failed
    return out


# ---- loops -------------------------------------------------------------------------------------------------------------


@dataclass
class _Carried:
    """One loop-carried tensor: the dims that stay the same in every iteration (None: that change), in terms of outer dims."""

    dims: list[Dim | None]
    dtype: str


def import_while(imp: Importer, op: Op) -> list[Any]:
    """``pd_op.while``: operands are the condition and what is carried; the region yields the same."""
    values = list(op.operands.values())
    condition = _condition(imp, values[0])
    if condition.known is not None and condition.known.dtype != object and not condition.known:
        return [imp.env[v] for v in values[1:] if v is not None]
    initial = [imp.env.get(v) if v is not None else None for v in values[1:]]
    return _Loop(imp, op, condition, initial).run()


class _Loop:
    """The import of one loop."""

    def __init__(self, imp: Importer, op: Op, condition: Tensor, initial: list[Any]) -> None:
        self.imp, self.b, self.op, self.condition, self.initial = imp, imp.b, op, condition, initial
        self.body = op.regions[0]
        inside = set(self.body.args)
        self.outer: Env = {v: imp.env[v] for v in captures(self.body) if v not in inside and v in imp.env}
        self.carried = [_Carried(list(t.shape), t.dtype) for v in initial for t in leaves(v)]
        if len(initial) != len(self.body.args):
            raise UnsupportedError(f"a loop with {len(initial)} operands and {len(self.body.args)} block arguments")

    def run(self) -> list[Any]:
        # captured values that are no constants are passed as parameters; a failed one fails only what uses it
        self.passed: dict[int, Tensor] = {}
        for value in self.outer.values():
            try:
                for t in leaves(value):
                    if t.known is None and not isinstance(t.expr, relax.Constant):
                        self.passed[id(t)] = t
            except Skip:
                continue
        state, done = copy.deepcopy(self.imp.failures), self.imp._done
        for _ in range(2 + sum(len(c.dims) for c in self.carried) + 2 * len(self.initial)):
            self.imp.failures, self.imp._done = copy.deepcopy(state), done
            level = self._trial()
            if level is not None:
                return self._call(self._tower(level))
        raise UnsupportedError("the shapes that a loop carries do not settle")

    # ---- parameters ----------------------------------------------------------------------------------------------

    def _outer_dims(self) -> list[tirx.Var]:
        tensors = [*self.passed.values()]
        for value in self.outer.values():
            try:
                tensors += leaves(value)
            except Skip:
                continue
        found = dict.fromkeys(dims_in(tensors))
        for c in self.carried:
            for d in c.dims:
                found.update(dict.fromkeys(roots(d) if isinstance(d, PrimExpr) else ()))
        return sorted(found, key=lambda v: v.name)

    def _params(self) -> tuple[list[relax.Var], dict[tirx.Var, tirx.Var]]:
        """New parameters of one level (dims, condition, carried, captured), and the level's own symbolic dims."""
        mapping = {v: tirx.Var(v.name, "int64") for v in self._outer_dims()}
        params = [relax.Var("dims", relax.ShapeType(list(mapping.values())))] if mapping else []
        params.append(relax.Var("condition", relax.TensorType(relax.ShapeExpr([]), "bool")))
        for i, c in enumerate(self.carried):
            shape = [self.b.fresh_dim() if d is None else substitute(d, mapping) for d in c.dims]
            params.append(relax.Var(f"carried_{i}", relax.TensorType(relax.ShapeExpr(shape), c.dtype)))
        for i, t in enumerate(self.passed.values()):
            shape = [substitute(d, mapping) for d in t.shape]
            params.append(relax.Var(f"captured_{i}", relax.TensorType(relax.ShapeExpr(shape), t.dtype)))
        return params, mapping

    def _result_type(self, mapping: Mapping[tirx.Var, tirx.Var]) -> relax.TupleType:
        fields = [_relax_type(c.dims, c.dtype, mapping) for c in self.carried]
        return relax.TupleType([relax.TensorType(relax.ShapeExpr([]), "bool"), *fields])

    # ---- one iteration -------------------------------------------------------------------------------------------

    def _trial(self) -> relax.GlobalVar | None:
        """Import the body with the carried shapes of now; None when they changed and it has to be imported again."""
        imp, b = self.imp, self.b
        params, mapping = self._params()
        first = len(params) - len(self.passed) - len(self.carried)
        condition, carried = params[first - 1], params[first : first + len(self.carried)]
        captured = dict(zip(self.passed, params[first + len(self.carried) :], strict=True))
        outer_env, blocks = imp.env, []
        imp.bb.begin_scope(params)
        try:
            with b.new_scope(), inner_block(imp.bb, blocks):
                tensors = iter([b.tensor(p) for p in carried])
                imp.env = {v: self._inner(value, captured, mapping) for v, value in self.outer.items()}
                for arg, value in zip(self.body.args, self.initial, strict=True):
                    imp.env[arg] = rebuild(shape_of(value), tensors)
                imp.block(self.body)
                again, *yielded = _yielded(imp, self.body)
                if not self._settled(yielded, carried, mapping):
                    return None
                again = again.reshape([]).astype("bool")
                out = imp.bb.emit(relax.Tuple([again.expr, *(t.expr for v in yielded for t in leaves(v))]))
        finally:
            imp.env = outer_env
            imp.bb.end_scope()
        return self._add(params, condition, relax.SeqExpr(blocks, out), carried, mapping, "loop_body")

    def _inner(self, value: Any, captured: Mapping[int, relax.Var], mapping: Mapping[tirx.Var, tirx.Var]) -> Any:
        """A captured value as the body sees it."""
        try:
            inner = [self._inner_tensor(t, captured, mapping) for t in leaves(value)]
        except Skip:
            return value
        return rebuild(shape_of(value), iter(inner))

    def _inner_tensor(self, t: Tensor, captured: Mapping[int, relax.Var], mapping: Mapping[tirx.Var, tirx.Var]) -> Tensor:
        if id(t) in captured:
            return self.b.tensor(captured[id(t)])
        if t.known is not None and t.known.dtype == object:
            known = np.frompyfunc(lambda v: substitute(v, mapping), 1, 1)(t.known)
            return Tensor(self.b, known=np.asarray(known, dtype=object), dtype=t.dtype)
        return t

    def _settled(self, yielded: list[Any], params: Sequence[relax.Var], mapping: Mapping[tirx.Var, tirx.Var]) -> bool:
        """Whether the body yields the shapes that it was given; if not, ``carried`` and ``initial`` are made wider."""
        outward = {inner: outer for outer, inner in mapping.items()}
        for i, (before, after) in enumerate(zip(self.initial, yielded, strict=True)):
            if shape_of(before) != shape_of(after):
                self.initial[i] = self._stacked(before, after, outward)
                self.carried = [_Carried(list(t.shape), t.dtype) for v in self.initial for t in leaves(v)]
                return False
        settled = True
        for c, param, t in zip(self.carried, params, [t for v in yielded for t in leaves(v)], strict=True):
            if t.dtype != c.dtype or t.ndim != len(c.dims):
                raise UnsupportedError(f"a loop carries {c.dtype} of rank {len(c.dims)} and gets {t.dtype} of rank {t.ndim} from its body")
            own = param.ty.shape.values
            for axis, d in enumerate(t.shape):
                if c.dims[axis] is not None and not self.b.equal(d, self.b.simplify(own[axis])):
                    c.dims[axis], settled = None, False
        return settled

    def _stacked(self, before: Any, after: Any, outward: Mapping[tirx.Var, tirx.Var]) -> TensorArray:
        """A carried array that the body makes longer, as a stacked one; dims that are known only inside start as 0."""
        if not isinstance(before, TensorArray) or not isinstance(after, TensorArray):
            raise UnsupportedError("the body of a loop yields another structure than it gets")
        if before.items != []:
            return TensorArray(stack=before.stacked(self.b))
        like = after.items[0] if after.items is not None else after.stack
        assert like is not None
        dims = like.shape if after.items is not None else like.shape[1:]
        start = [0 if isinstance(d, PrimExpr) and roots(d) - set(outward) else substitute(d, outward) for d in dims]
        return TensorArray(stack=self.b.full([0, *start], 0, like.dtype))

    def _add(self, params: list[relax.Var], condition: relax.Var, then: relax.Expr, carried: Sequence[relax.Var], mapping: Any, name: str) -> relax.GlobalVar:
        """Add the private function ``if condition: then else (condition, *carried)``."""
        result = relax.Var("state", self._result_type(mapping))
        choice = relax.If(condition, then, relax.SeqExpr([], relax.Tuple([condition, *carried])))
        body = relax.SeqExpr([relax.BindingBlock([relax.VarBinding(result, choice)])], result)
        return self.imp.bb.add_func(relax.Function(params, body, self._result_type(mapping), is_pure=True), name)

    # ---- the tower -----------------------------------------------------------------------------------------------

    def _tower(self, level: relax.GlobalVar) -> relax.GlobalVar:
        for _ in range(LEVELS):
            level = self._level(level)
        return level

    def _level(self, below: relax.GlobalVar) -> relax.GlobalVar:
        bb, (params, mapping) = self.imp.bb, self._params()
        n, fixed = len(self.carried), 1 if mapping else 0
        blocks: list[relax.BindingBlock] = []
        bb.begin_scope(params)
        try:
            with inner_block(bb, blocks):
                state = params[fixed : fixed + 1 + n]
                for _ in range(FAN_OUT):
                    called = bb.emit(relax.Call(below, [*params[:fixed], *state, *params[fixed + 1 + n :]]))
                    state = [bb.emit(relax.TupleGetItem(called, i)) for i in range(n + 1)]
                    state[1:] = [self._refit(var, c, mapping) for var, c in zip(state[1:], self.carried, strict=True)]
                out = bb.emit(relax.Tuple(state))
        finally:
            bb.end_scope()
        return self._add(params, params[fixed], relax.SeqExpr(blocks, out), params[fixed + 1 : fixed + 1 + n], mapping, "loop")

    def _refit(self, var: relax.Var, c: _Carried, mapping: Mapping[tirx.Var, tirx.Var]) -> relax.Var:
        return _fit(self.imp, var, [None if d is None else substitute(d, mapping) for d in c.dims]).expr

    def _call(self, top: relax.GlobalVar) -> list[Any]:
        """Run the loop from the initial values."""
        dims = self._outer_dims()
        state = [t.expr for v in self.initial for t in leaves(v)]
        captured = [t.expr for t in self.passed.values()]
        called = self.imp.bb.emit(relax.Call(top, [*([relax.ShapeExpr(dims)] if dims else []), self.condition.expr, *state, *captured]))
        out = [self.imp.bb.emit(relax.TupleGetItem(called, i + 1)) for i in range(len(self.carried))]
        tensors = iter([_fit(self.imp, var, c.dims) for var, c in zip(out, self.carried, strict=True)])
        return [rebuild(shape_of(v), tensors) for v in self.initial]
