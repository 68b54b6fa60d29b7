"""Places in memory that TVM or LLVM computes wrongly, and what keeps them from it.  test_indices.py tells when either can go.

TVM's FlattenBuffer simplifies the index of every load and store as a sum of parts of loops, and that goes wrong for what is divided
after something was subtracted or added: ``a[(3 - i) // 2]`` becomes ``a[i // -2 + 1]``, and ``a[(6 * i + j + 7) // 3 % 3]`` has two too
little.  So a tensor that is repeated and then reversed was read at the wrong places, and a dilated convolution beyond its input.  Its
other simplifications are right and are wanted: ``(i * 32 + j) // 32`` is ``i``.

LLVM's vectoriser of loops (22) takes ``i % 4`` for ``i``: in a loop that computes ``a[i % 4] + b[3 * i + k]`` it may assume that neither
wraps if the latter does not, checks that, and goes on beyond the fourth element.  A tensor added to one that is tiled was wrong that way.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import tvm
import tvm_ffi
from tvm import tirx

_flatten_buffer = tirx.transform.FlattenBuffer
_lock = threading.Lock()
_users = 0
_OPAQUE = {tirx.FloorDiv: "oarlock_floordiv", tirx.FloorMod: "oarlock_floormod"}  # calls that no pass knows


@contextmanager
def exact() -> Iterator[None]:
    """Pipelines that are put together inside get flatten_buffer for TVM's FlattenBuffer."""
    global _users
    with _lock:
        _users += 1
        tirx.transform.FlattenBuffer = flatten_buffer
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if not _users:
                tirx.transform.FlattenBuffer = _flatten_buffer


def flatten_buffer() -> tvm.transform.Pass:
    """FlattenBuffer that leaves divisions alone unless they split a sum of loops and nothing else."""

    @tvm.transform.module_pass(opt_level=0, name="ExactFlattenBuffer")
    def run(mod: tvm.IRModule, _: tvm.transform.PassContext) -> tvm.IRModule:
        return _mapped(_flatten_buffer()(_mapped(mod, _hidden)), _shown)

    return run


def _mapped(mod: tvm.IRModule, change: Any) -> tvm.IRModule:
    new = {gv: f.with_body(change(f.body)) for gv, f in mod.functions.items() if isinstance(f, tirx.PrimFunc)}
    mod = mod.clone()
    mod.update(tvm.IRModule(new))
    return mod


def _hidden(body: tirx.Stmt) -> tirx.Stmt:
    loops: set[Any] = set()

    def threads(node: tirx.AttrStmt) -> None:
        if isinstance(node.node, tirx.IterVar):
            loops.add(node.node.var)

    tvm_ffi.structural_walk(body, [(tirx.For, lambda loop: loops.add(loop.loop_var)), (tirx.AttrStmt, threads)])

    def hide(node: Any) -> Any:
        if _adds_loops(node.a, loops):
            return node
        return tirx.call_pure_extern(str(node.ty.dtype), _OPAQUE[type(node)], node.a, node.b)

    return tvm_ffi.structural_map(body, [(kind, hide) for kind in _OPAQUE])


def _adds_loops(e: Any, loops: set[Any]) -> bool:
    """Whether ``e`` adds loops, their multiples and parts of such sums, and nothing that is the same in all of them."""
    match e:
        case tvm.ir.Var():
            return e in loops
        case tirx.Add():
            return _adds_loops(e.a, loops) and _adds_loops(e.b, loops)
        case tirx.Mul():
            first, factor = (e.b, e.a) if isinstance(e.a, tirx.IntImm) else (e.a, e.b)
            return _adds_loops(first, loops) and not (isinstance(factor, tirx.IntImm) and factor.value < 0)
        case tirx.FloorDiv() | tirx.FloorMod():
            return _adds_loops(e.a, loops)
        case tirx.Cast():
            return _adds_loops(e.value, loops)
    return False


def _shown(body: tirx.Stmt) -> tirx.Stmt:
    kinds = {name: kind for kind, name in _OPAQUE.items()}

    def show(call: tvm.ir.Call) -> Any:
        if getattr(call.op, "name", "") != "tirx.call_pure_extern":
            return call
        kind = kinds.get(str(getattr(call.args[0], "value", "")))
        return call if kind is None else kind(call.args[1], call.args[2])

    return tvm_ffi.structural_map(body, (tvm.ir.Call, show))


# ---- remainders by powers of two ---------------------------------------------------------------------------------------

_HIDDEN = """
define linkonce_odr i{bits} @oarlock_hidden_{bits}(i{bits} %value) alwaysinline {{
  %place = alloca i{bits}
  store volatile i{bits} %value, ptr %place
  %same = load volatile i{bits}, ptr %place
  ret i{bits} %same
}}
"""


def hide_masks(function: tirx.PrimFunc) -> tuple[tirx.PrimFunc, str]:
    """``i % 4`` as a bitwise and with a number that LLVM cannot know; and the LLVM IR of what gives it.

    The number is made once a call.  Where LLVM is right, a loop over ``i`` is not vectorised for ``i % 4`` either.
    """
    masks: dict[tuple[str, int], tirx.Var] = {}

    def hide(node: tirx.FloorMod) -> Any:
        dtype, by = str(node.ty.dtype), node.b
        if dtype not in _BITS or not isinstance(by, tirx.IntImm) or by.value < 2 or by.value & (by.value - 1):
            return node
        key = dtype, int(by.value) - 1
        return tirx.bitwise_and(node.a, masks.setdefault(key, tirx.Var(f"mask{key[1]}", dtype)))

    body = tvm_ffi.structural_map(function.body, (tirx.FloorMod, hide))
    if not masks:
        return function, ""
    made = [
        tirx.Bind(var, tirx.call_extern(dtype, f"oarlock_hidden_{_BITS[dtype]}", tirx.const(mask, dtype)))
        for (dtype, mask), var in masks.items()
    ]
    text = "".join(_HIDDEN.format(bits=bits) for bits in sorted({_BITS[dtype] for dtype, _ in masks}))
    return function.with_body(tirx.SeqStmt([*made, body])), text


_BITS = {"int32": 32, "int64": 64}
