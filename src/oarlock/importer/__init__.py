"""Program → Relax."""

from .importer import import_program

__all__ = ["import_program"]
