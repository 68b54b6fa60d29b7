"""Program → Relax."""

from .host import Hosts
from .importer import import_program

__all__ = ["Hosts", "import_program"]
