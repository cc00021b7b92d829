"""Names of a report's files: safe everywhere, and each once."""

from __future__ import annotations

import re


class Names:
    """Gives out names."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def free(self, kind: str) -> str:
        """A name made from `kind` that was not given out before."""
        stem = re.sub(r"[^A-Za-z0-9.-]+", "-", kind).strip("-.")
        name, n = stem, 1
        while name in self._taken:
            n += 1
            name = f"{stem}_{n}"
        self._taken.add(name)
        return name
