"""Paddle's files → Program.  Nothing here knows TVM, and Paddle need not be installed."""

from .load import load_model
from .program import ArrayType, Block, ListType, Op, OpaqueType, Parameter, Program, TensorType, Type, Value

__all__ = [
    "ArrayType",
    "Block",
    "ListType",
    "Op",
    "OpaqueType",
    "Parameter",
    "Program",
    "TensorType",
    "Type",
    "Value",
    "load_model",
]
