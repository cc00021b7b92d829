"""Archives of arrays (`.npz`), of which nobody says that they are whole."""

from __future__ import annotations

import zipfile
import zlib
from typing import Final

BROKEN: Final = (OSError, EOFError, ValueError, KeyError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error)
"""What NumPy raises where an archive is damaged, locked, or claims to hold more than there is room for."""
