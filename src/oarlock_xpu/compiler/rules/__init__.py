"""What the kernel library does: rules from operators to its functions, the largest patterns first."""

from .convolution import CONVOLUTION
from .elements import BINARY, UNARY
from .moves import MOVES
from .products import PRODUCTS
from .rows import ROWS
from .windows import POOLING

RULES = [CONVOLUTION, PRODUCTS, *ROWS, POOLING, *MOVES, UNARY, BINARY]

__all__ = ["RULES"]
