"""What the kernel library does: rules from operators to its functions, the largest patterns first."""

from .attention import ATTENTION
from .blocks import EMBEDDINGS, SQUEEZE_EXCITATION
from .convolution import CONVOLUTION, TRANSPOSED
from .elements import ACTIVATION, BINARY, CLIP, UNARY
from .encoder import ENCODER
from .moves import MOVES
from .norms import NORMS
from .products import PRODUCTS
from .rows import ROWS
from .windows import POOLING, RESIZING

RULES = [
    # before what they are made of
    ENCODER,
    ATTENTION,
    SQUEEZE_EXCITATION,
    EMBEDDINGS,
    CONVOLUTION,
    TRANSPOSED,
    # takes additions of biases, which a layer_norm would take for those of a residual
    *PRODUCTS,
    *NORMS,
    *ROWS,
    POOLING,
    RESIZING,
    *MOVES,
    # what no larger pattern took, and no generated kernel joins
    ACTIVATION,
    CLIP,
    UNARY,
    BINARY,
]

__all__ = ["RULES"]
