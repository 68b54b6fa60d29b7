"""Counts that may depend on run-time sizes: whole numbers, or texts like ``n*33`` that a manifest can hold and a profile evaluates."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

Size = int | str

_OPERATORS: dict[type, Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_FUNCTIONS: dict[str, Callable[..., int]] = {"min": min, "max": max}


def evaluate(size: Size, symbols: Mapping[str, int]) -> int | None:
    """The number that ``size`` is where the symbols have these values; None where one is not known, or the text is no such expression."""
    if isinstance(size, int):
        return size
    try:
        return _number(ast.parse(size, mode="eval").body, symbols)
    except (SyntaxError, ValueError, KeyError, ZeroDivisionError, RecursionError):
        return None


def _number(node: ast.expr, symbols: Mapping[str, int]) -> int:
    match node:
        case ast.Constant(value=int(value)):
            return value
        case ast.Name(id=name):
            return symbols[name]
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_number(left, symbols), _number(right, symbols))
        case ast.Call(func=ast.Name(id=name), args=args) if name in _FUNCTIONS and args:
            return _FUNCTIONS[name](*(_number(a, symbols) for a in args))
        case _:
            raise ValueError(f"{ast.unparse(node)} is no size")


def is_size(value: Any) -> bool:
    """Whether a manifest's value can be a size."""
    return isinstance(value, str) or isinstance(value, int) and not isinstance(value, bool) and value >= 0
