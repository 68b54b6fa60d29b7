"""A kernel is chosen by measurement: candidates, the contest between them, and the records of what it found."""

from .choice import Choices
from .records import Records

__all__ = ["Choices", "Records"]
