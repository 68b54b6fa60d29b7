"""Control flow: ``pd_op.if`` and ``pd_op.while`` → Relax.

Every region becomes a private function (TVM plans memory and fuses inside functions, and gets an If with a body wrong): values
that it captures are parameters, the symbolic dims that shapes mention are one shape parameter.  An ``if`` is a relax.If of
two calls.  A loop is a tower of functions, each of which runs the one below it eight times:

    level_1(s) = repeat 8 times: s = body(s) if s.condition else s
    level_k(s) = repeat 8 times: s = level_{k−1}(s) if s.condition else s

so that 8^12 iterations need a stack of 13 frames.  A dim that an iteration changes is found by trial: the body is imported
with the shapes that come in; where what it yields differs, the dim becomes unknown and the body is imported again.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from tvm import relax, tirx

from ..compat import Constant, inner_block, set_type, substitute
from ..errors import UnsupportedError
from ..model.normalise import captures
from ..model.program import Block, Op, TensorType, Value, walk
from ..ops.builder import roots
from ..ops.complex_pair import Complex, to_complex
from ..ops.tensor import Dim, PrimExpr, Tensor
from ..ops.tensor_array import TensorArray
from .structure import Skip, leaves, rebuild, shape_of

if TYPE_CHECKING:
    from .importer import Importer

FAN_OUT, LEVELS = 8, 12
LOOP = "oarlock.loop"  # attribute of a function of a tower: a target may run its first step as long as the condition holds, instead
Env = dict[Value, Any]


def dims_in(tensors: Sequence[Tensor]) -> list[tirx.Var]:
    """The symbolic dims that shapes and known contents mention, each once."""
    found: dict[tirx.Var, None] = {}
    for t in tensors:
        entries = list(t.shape) + ([] if t.known is None or t.known.dtype != object else list(t.known.flat))
        for d in entries:
            if isinstance(d, PrimExpr):
                found.update(dict.fromkeys(sorted(roots(d), key=lambda v: v.name)))
    return list(found)


# ---- regions as functions ------------------------------------------------------------------------------------------------


class _Region:
    """What a region takes from outside, and the parameters of the functions that stand for it."""

    def __init__(self, imp: Importer, block: Block) -> None:
        self.imp, self.b, self.block = imp, imp.b, block
        inside = set(block.args)
        self.outer: Env = {v: imp.env[v] for v in captures(block) if v not in inside and v in imp.env}
        self.carried: list[_Carried] = []
        self.tensors: list[Tensor] = []
        for value in self.outer.values():
            try:
                self.tensors += leaves(value)
            except Skip:
                continue  # a captured value that failed fails what uses it
        # constants are left in place
        self.passed = {id(t): t for t in self.tensors if t.known is None and not isinstance(t.expr, Constant)}

    def dims(self) -> list[tirx.Var]:
        """The outer symbolic dims that the region needs."""
        found = dict.fromkeys(dims_in(self.tensors))
        for c in self.carried:
            for d in c.dims:
                found.update(dict.fromkeys(roots(d) if isinstance(d, PrimExpr) else ()))
        return sorted(found, key=lambda v: v.name)

    def frame(self, state: bool = False) -> _Frame:
        """New parameters: dims; with ``state``, the condition and what is carried; captured tensors."""
        mapping = {v: tirx.Var(v.name, "int64") for v in self.dims()}
        dims = [relax.Var("dims", relax.ShapeType(list(mapping.values())))] if mapping else []
        states = []
        if state:
            states.append(relax.Var("condition", relax.TensorType(relax.ShapeExpr([]), "bool")))
            for i, c in enumerate(self.carried):
                shape = [self.b.fresh_dim() if d is None else substitute(d, mapping) for d in c.dims]
                states.append(relax.Var(f"carried_{i}", relax.TensorType(relax.ShapeExpr(shape), c.dtype)))
        captured = []
        for i, t in enumerate(self.passed.values()):
            shape = [substitute(d, mapping) for d in t.shape]
            captured.append(relax.Var(f"captured_{i}", relax.TensorType(relax.ShapeExpr(shape), t.dtype)))
        return _Frame(self, mapping, dims, states, captured)

    def arguments(self, state: Sequence[relax.Expr] = ()) -> list[relax.Expr]:
        """What a call from outside passes."""
        dims = self.dims()
        return [*([relax.ShapeExpr(dims)] if dims else []), *state, *(t.expr for t in self.passed.values())]


@dataclass
class _Carried:
    """One loop-carried tensor: the dims that stay the same in every iteration (None: that change), in terms of outer dims."""

    dims: list[Dim | None]
    dtype: str


class _Frame:
    """One private function being made: its parameters, its own symbolic dims, and what is emitted into it."""

    def __init__(self, region: _Region, mapping: dict, dims: list[relax.Var], state: list[relax.Var], captured: list[relax.Var]) -> None:
        self.region, self.imp, self.b = region, region.imp, region.b
        self.mapping, self.dims, self.state, self.captured = mapping, dims, state, captured
        self.outward = {inner: outer for outer, inner in mapping.items()}
        self.blocks: list[relax.BindingBlock] = []

    @property
    def params(self) -> list[relax.Var]:
        return [*self.dims, *self.state, *self.captured]

    @contextmanager
    def open(self) -> Iterator[None]:
        """Emit into this function."""
        self.imp.bb.begin_scope(self.params)
        try:
            with self.b.new_scope(), inner_block(self.imp.bb, self.blocks):
                yield
        finally:
            self.imp.bb.end_scope()

    def import_body(self, arguments: Sequence[Any] = ()) -> list[Any]:
        """Import the region (inside ``open``) with these values of its block arguments → what it yields."""
        outer_env = self.imp.env
        self.imp.env = {v: self._inner(value) for v, value in self.region.outer.items()}
        self.imp.env.update(zip(self.region.block.args, arguments, strict=True))
        try:
            self.imp.block(self.region.block)
            return _yielded(self.imp, self.region.block)
        finally:
            self.imp.env = outer_env

    def _inner(self, value: Any) -> Any:
        """A captured value as the region sees it."""
        params = dict(zip(self.region.passed, self.captured, strict=True))

        def inner(t: Tensor) -> Tensor:
            if id(t) in params:
                return self.b.tensor(params[id(t)])
            if t.known is not None and t.known.dtype == object:
                known = np.frompyfunc(lambda v: substitute(v, self.mapping), 1, 1)(t.known)
                return Tensor(self.b, known=np.asarray(known, dtype=object), dtype=t.dtype)
            return t

        try:
            return rebuild(shape_of(value), iter([inner(t) for t in leaves(value)]))
        except Skip:
            return value

    def outside(self, d: Dim) -> Dim | None:
        """An inner dim in terms of the outer ones; None when only this function knows it."""
        return None if roots(d) - set(self.outward) else substitute(d, self.outward)

    def type_of(self, dims: Sequence[Dim | None], dtype: str) -> relax.TensorType:
        """The type of a result whose dims are given in terms of the outer ones."""
        if any(d is None for d in dims):
            return relax.TensorType(dtype=dtype, ndim=len(dims))
        return relax.TensorType(relax.ShapeExpr([substitute(d, self.mapping) for d in dims]), dtype)

    def finish(self, out: relax.Var, ty: relax.Type, name: str, loop: bool = False) -> relax.GlobalVar:
        """Add the function that returns ``out``."""
        function = relax.Function(self.params, _sequence(self.blocks, out), ty, is_pure=True)
        return self.imp.bb.add_func(function.with_attr(LOOP, 1) if loop else function, name)


def _sequence(blocks: Sequence[relax.BindingBlock], out: relax.Var) -> relax.SeqExpr:
    sequence = relax.SeqExpr(blocks, out)
    set_type(sequence, out.ty)
    return sequence


def _choose(
    imp: Importer, condition: relax.Expr, then: Callable[[], relax.Expr], other: Callable[[], relax.Expr], ty: relax.Type
) -> relax.Var:
    """Emit an If of a type that both sides fit."""
    sides = []
    for emit in (then, other):
        blocks: list[relax.BindingBlock] = []
        with inner_block(imp.bb, blocks):
            out = imp.bb.emit(emit())
        sides.append(_sequence(blocks, out))
    choice, var = relax.If(condition, *sides), relax.Var("chosen", ty)
    set_type(choice, ty)
    imp.bb.emit_normalized(relax.VarBinding(var, choice))
    return var


def _fit(imp: Importer, var: relax.Var, dims: Sequence[Dim | None]) -> Tensor:
    """A tensor whose unknown dims become fresh symbolic variables."""
    if any(d is None for d in dims):
        shape = [imp.b.fresh_dim() if d is None else d for d in dims]
        var = imp.bb.match_cast(var, relax.TensorType(relax.ShapeExpr(shape), var.ty.dtype), imp.b.origin)
    return imp.b.tensor(var)


def _condition(imp: Importer, value: Value | None) -> Tensor:
    """A 0-D bool."""
    tensor = imp.env.get(value) if value is not None else None
    if not isinstance(tensor, Tensor):
        raise Skip
    return tensor.reshape([]).astype("bool")


def _yielded(imp: Importer, block: Block) -> list[Any]:
    if not block.ops or block.ops[-1].name != "cf.yield":
        return []
    out = [imp.env.get(v) if v is not None else None for v in block.ops[-1].operands.values()]
    for value in out:
        leaves(value)  # Skip, when one of them failed
    return out


# ---- branches ------------------------------------------------------------------------------------------------------------


def import_if(imp: Importer, op: Op) -> list[Any]:
    """``pd_op.if``: one region is imported when the condition is known, else both, and their results are made alike."""
    condition = _condition(imp, next(iter(op.operands.values())))
    if condition.known is not None and condition.known.dtype != object:
        block = op.regions[0 if condition.known.reshape(-1)[0] else 1]
        imp.block(block)
        return _yielded(imp, block)
    frames = [_Region(imp, block).frame() for block in op.regions]
    yields = []
    for frame in frames:
        with frame.open():
            yields.append(frame.import_body())
    if not op.results:
        return []
    for i, value in enumerate(op.results):
        _alike(frames, yields, i, value)
    pairs = list(zip(*[[t for v in y for t in leaves(v)] for y in yields], strict=True))
    types = [_common_dims(frames, pair) for pair in pairs]
    functions = []
    for side, frame in enumerate(frames):
        with frame.open():
            out = imp.bb.emit(relax.Tuple([pair[side].expr for pair in pairs]))
        ty = relax.TupleType([frame.type_of(dims, pair[side].dtype) for dims, pair in zip(types, pairs, strict=True)])
        functions.append(frame.finish(out, ty, "branch"))
    outer = relax.TupleType(
        [
            relax.TensorType(dtype=t.dtype, ndim=t.ndim)
            if None in [None if d is None else 0 for d in dims]
            else relax.TensorType(dims, t.dtype)
            for dims, (t, _) in zip(types, pairs, strict=True)
        ]
    )
    calls = [lambda f=f, fn=fn: relax.Call(fn, f.region.arguments()) for f, fn in zip(frames, functions, strict=True)]
    chosen = _choose(imp, condition.expr, calls[0], calls[1], outer)
    made = [_fit(imp, imp.bb.emit(relax.TupleGetItem(chosen, i), imp.b.origin), dims) for i, dims in enumerate(types)]
    tensors = iter([_same_number(*pair) or t for pair, t in zip(pairs, made, strict=True)])
    return [rebuild(shape_of(v), tensors) for v in yields[0]]


def _alike(frames: Sequence[_Frame], yields: Sequence[list[Any]], i: int, declared: Value) -> None:
    """Make result ``i`` of the two branches of one structure, rank and dtype."""
    _complex_both(frames, yields, i)
    left, right = (y[i] for y in yields)
    if isinstance(left, Complex) and isinstance(right, Complex):
        parts = [[[y[i].re], [y[i].im]] for y in yields]
        for k in range(2):
            _alike(frames, [side[k] for side in parts], 0, declared)
        for y, (re, im) in zip(yields, parts, strict=True):
            y[i] = Complex(re[0], im[0])
        return
    if isinstance(left, TensorArray) and isinstance(right, TensorArray) and shape_of(left) != shape_of(right):
        _stack_both(frames, yields, i)
    elif shape_of(left) != shape_of(right):
        raise UnsupportedError("the branches of an if yield different structures")
    for p, q in zip(*(leaves(y[i]) for y in yields), strict=True):
        if p.dtype != q.dtype:
            raise UnsupportedError(f"the branches of an if yield {p.dtype} and {q.dtype}")
        if p.ndim == q.ndim:
            continue
        if p.size != 1 or q.size != 1 or not isinstance(declared.type, TensorType):
            raise UnsupportedError(f"the branches of an if yield tensors of rank {p.ndim} and {q.ndim}")
        for frame, y in zip(frames, yields, strict=True):  # a number as [] and as [1]
            with frame.open():
                y[i] = y[i].reshape([1] * len(declared.type.shape))


def _complex_both(frames: Sequence[_Frame], yields: Sequence[list[Any]], i: int) -> None:
    """A real result of one branch becomes complex where the other's is."""
    for frame, mine, other in zip(frames, yields, reversed(yields), strict=True):
        if isinstance(mine[i], Tensor) and isinstance(other[i], Complex):
            with frame.open():
                mine[i] = to_complex(frame.b, mine[i], other[i].dtype)
        elif isinstance(mine[i], TensorArray) and mine[i].items == [] and isinstance(other[i], Complex):
            mine[i] = Complex(TensorArray([]), TensorArray([]))


def _stack_both(frames: Sequence[_Frame], yields: Sequence[list[Any]], i: int) -> None:
    """Arrays of different lengths in the two branches are stacked; an empty one gets the other's shape where that is known."""
    for frame, y, other_frame, other in zip(frames, yields, reversed(frames), reversed(yields), strict=True):
        with frame.open():
            if y[i].items != []:
                y[i] = TensorArray(stack=y[i].stacked(frame.b))
                continue
            element = other[i].stack.shape[1:] if other[i].stack is not None else other[i].items[0].shape
            outer = [other_frame.outside(d) for d in element]
            own = [0 if d is None or roots(d) - set(frame.mapping) else substitute(d, frame.mapping) for d in outer]
            y[i] = TensorArray(stack=frame.b.full([0, *own], 0, leaves(other[i])[0].dtype))


def _common_dims(frames: Sequence[_Frame], pair: Sequence[Tensor]) -> list[Dim | None]:
    """The dims that hold whichever branch runs (None: only known at run time)."""
    out: list[Dim | None] = []
    for dims in zip(*(t.shape for t in pair), strict=True):
        left, right = (frame.outside(d) for frame, d in zip(frames, dims, strict=True))
        out.append(left if left is not None and right is not None and frames[0].b.equal(left, right) else None)
    return out


def _same_number(left: Tensor, right: Tensor) -> Tensor | None:
    """The content, when both branches yield the same numbers."""
    if left.known is None or right.known is None or object in (left.known.dtype, right.known.dtype):
        return None
    return left if left.dtype == right.dtype and np.array_equal(left.known, right.known) else None


# ---- loops -------------------------------------------------------------------------------------------------------------


def import_while(imp: Importer, op: Op) -> list[Any]:
    """``pd_op.while``: operands are the condition and what is carried; the region yields the same."""
    values = list(op.operands.values())
    condition = _condition(imp, values[0])
    initial = [imp.env.get(v) if v is not None else None for v in values[1:]]
    if condition.known is not None and condition.known.dtype != object and not condition.known:
        return initial
    if len(initial) != len(op.regions[0].args):
        raise UnsupportedError(f"a loop with {len(initial)} operands and {len(op.regions[0].args)} block arguments")
    return _Loop(imp, op, condition, initial).run()


class _Loop:
    """The import of one loop; ``initial`` are the carried values that come in, made wider until the body keeps their types."""

    def __init__(self, imp: Importer, op: Op, condition: Tensor, initial: list[Any]) -> None:
        self.imp, self.b, self.condition, self.initial = imp, imp.b, condition, initial
        self.region = _Region(imp, op.regions[0])
        self._carry()

    def _carry(self) -> None:
        self.region.carried = [_Carried(list(t.shape), t.dtype) for v in self.initial for t in leaves(v)]

    def run(self) -> list[Any]:
        failures, done = copy.deepcopy(self.imp.failures), self.imp._done
        for _ in range(2 + sum(len(c.dims) for c in self.region.carried) + 4 * len(self.initial)):
            self.imp.failures, self.imp._done = copy.deepcopy(failures), done
            frame = self.region.frame(state=True)
            with frame.open():
                tensors = iter([self.b.tensor(p) for p in frame.state[1:]])
                again, *yielded = frame.import_body([rebuild(shape_of(v), tensors) for v in self.initial])
                settled = self._structures_settled(yielded) and self._shapes_settled(frame, yielded)
                if settled:
                    condition = again.reshape([]).astype("bool")
                    out = self.imp.bb.emit(relax.Tuple([condition.expr, *(t.expr for v in yielded for t in leaves(v))]))
            if settled:
                return self._call(self._tower(frame.finish(out, self._type(frame), "loop_body")))
            self._widen(frame, yielded)
        raise UnsupportedError("the shapes that a loop carries do not settle")

    def _type(self, frame: _Frame) -> relax.TupleType:
        fields = [frame.type_of(c.dims, c.dtype) for c in self.region.carried]
        return relax.TupleType([relax.TensorType(relax.ShapeExpr([]), "bool"), *fields])

    def _structures_settled(self, yielded: list[Any]) -> bool:
        return all(
            shape_of(v) == shape_of(w) and not self._is_placeholder(i, w)
            for i, (v, w) in enumerate(zip(self.initial, yielded, strict=True))
        )

    def _is_placeholder(self, i: int, after: Any) -> bool:
        """Whether carried value ``i`` comes in as the number that stands for a variable first assigned in the body."""
        before, argument = self.initial[i], self.region.block.args[i]
        tensor = isinstance(after, Tensor) or (isinstance(after, Complex) and isinstance(after.re, Tensor))
        if not isinstance(before, Tensor) or not tensor or (before.ndim == after.ndim and before.dtype == after.dtype):
            return False
        return before.known is not None and before.size == 1 and not any(argument in op.operands.values() for op in walk(self.region.block))

    def _shapes_settled(self, frame: _Frame, yielded: list[Any]) -> bool:
        """Whether the body yields the shapes that it was given; the dims that it changes become unknown."""
        settled = True
        for c, param, t in zip(self.region.carried, frame.state[1:], [t for v in yielded for t in leaves(v)], strict=True):
            if t.dtype != c.dtype or t.ndim != len(c.dims):
                raise UnsupportedError(f"a loop carries {c.dtype} of rank {len(c.dims)} and gets {t.dtype} of rank {t.ndim} from its body")
            own = param.ty.shape.values
            for axis, d in enumerate(t.shape):
                if c.dims[axis] is not None and not self.b.equal(d, self.b.simplify(own[axis])):
                    c.dims[axis], settled = None, False
        return settled

    def _widen(self, frame: _Frame, yielded: list[Any]) -> None:
        """Carried arrays that the body makes longer become stacked ones; dims that are known only inside start as 0."""

        def start(shape: Sequence[Dim]) -> list[Dim]:
            return [0 if d is None else d for d in map(frame.outside, shape)]

        for i, (before, after) in enumerate(zip(self.initial, yielded, strict=True)):
            if self._is_placeholder(i, after):
                zeros = self.b.full(start(after.shape), 0, leaves(after)[0].dtype)
                self.initial[i] = Complex(zeros, zeros) if isinstance(after, Complex) else zeros
            elif shape_of(before) != shape_of(after):
                self.initial[i] = self._wider(before, after, start)
            else:
                continue
            self._carry()

    def _wider(self, before: Any, after: Any, start: Callable[[Sequence[Dim]], list[Dim]]) -> Any:
        """What comes in, put together as what the body yields."""
        if shape_of(before) == shape_of(after):
            return before
        if isinstance(after, Complex):
            if isinstance(before, Tensor) and isinstance(after.re, Tensor):
                return to_complex(self.b, before, after.dtype)
            if isinstance(before, TensorArray) and before.items == []:
                before = Complex(before, before)
            if isinstance(before, Complex):
                return Complex(self._wider(before.re, after.re, start), self._wider(before.im, after.im, start))
        if not isinstance(before, TensorArray) or not isinstance(after, TensorArray):
            raise UnsupportedError("the body of a loop yields another structure than it gets")
        if before.items != []:
            return TensorArray(stack=before.stacked(self.b))
        element = after.items[0].shape if after.items is not None else after.stack.shape[1:]  # type: ignore[union-attr]
        return TensorArray(stack=self.b.full([0, *start(element)], 0, leaves(after)[0].dtype))

    def _tower(self, function: relax.GlobalVar) -> relax.GlobalVar:
        for _ in range(LEVELS):
            function = self._level(function)
        return function

    def _level(self, below: relax.GlobalVar) -> relax.GlobalVar:
        """The function that runs ``below`` FAN_OUT times, as long as the condition holds."""
        frame, bb = self.region.frame(state=True), self.imp.bb
        ty = self._type(frame)
        with frame.open():
            state: list[relax.Var] = frame.state
            for _ in range(FAN_OUT):
                arguments = [*frame.dims, *state, *frame.captured]
                same = relax.Tuple(state)
                called = _choose(self.imp, state[0], lambda a=arguments: relax.Call(below, a), lambda s=same: s, ty)
                state = [bb.emit(relax.TupleGetItem(called, i)) for i in range(len(state))]
                state[1:] = [self._refit(frame, var, c) for var, c in zip(state[1:], self.region.carried, strict=True)]
            out = bb.emit(relax.Tuple(state))
        return frame.finish(out, ty, "loop", loop=True)

    def _refit(self, frame: _Frame, var: relax.Var, c: _Carried) -> relax.Var:
        return _fit(self.imp, var, [None if d is None else substitute(d, frame.mapping) for d in c.dims]).expr

    def _call(self, top: relax.GlobalVar) -> list[Any]:
        """Run the loop from the initial values."""
        state = [self.condition.expr, *(t.expr for v in self.initial for t in leaves(v))]
        called = self.imp.bb.emit(relax.Call(top, self.region.arguments(state)))
        out = [self.imp.bb.emit(relax.TupleGetItem(called, i + 1), self.b.origin) for i in range(len(self.region.carried))]
        tensors = iter([_fit(self.imp, var, c.dims) for var, c in zip(out, self.region.carried, strict=True)])
        return [rebuild(shape_of(v), tensors) for v in self.initial]
