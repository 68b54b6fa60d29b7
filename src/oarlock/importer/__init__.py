"""Program → Relax."""

from .host import Hosts
from .importer import COMPLEX_INPUTS, COMPLEX_OUTPUTS, import_program

__all__ = ["COMPLEX_INPUTS", "COMPLEX_OUTPUTS", "Hosts", "import_program"]
