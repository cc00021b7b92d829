"""Where imported tables and prepared images are kept between runs."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """`$DARTBOARD_CACHE`, else `$XDG_CACHE_HOME/dartboard`, else `~/.cache/dartboard`; it may not exist yet.

    A relative `$XDG_CACHE_HOME` is ignored, as the XDG Base Directory Specification asks for.
    """
    own = os.environ.get("DARTBOARD_CACHE")
    if own:
        return Path(own).expanduser().resolve()
    shared = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (shared if shared.is_absolute() else Path.home() / ".cache") / "dartboard"
