"""Every strategy: importing this registers them."""

import drawn_binary
import drawn_reduce
import drawn_unary
from drawing import STRATEGIES

__all__ = ["STRATEGIES", "drawn_binary", "drawn_reduce", "drawn_unary"]
