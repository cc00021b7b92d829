"""Methods from elsewhere, beside Dartboard's own: from installed packages and from single files.

A plug-in gives lists of catalogue entries, `SEARCHERS` and `SELECTORS` (see docs/plugins.md). A file is named by
`--plugin path.py`; a package names its lists as entry points of the groups `dartboard.searchers` and
`dartboard.selectors`.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from traceback import extract_tb
from types import ModuleType
from typing import Any, Final, NamedTuple

import click

from dartboard.benchmark.catalogue import Catalogue, Entry
from dartboard.benchmark.errors import InputError, one_line

LISTS: Final = ("SEARCHERS", "SELECTORS")

plugin_option: Final = click.option(
    "--plugin",
    "plugins",
    multiple=True,
    metavar="FILE.py",
    type=click.Path(path_type=Path),
    help="A Python file with searchers or selectors of your own (docs/plugins.md); may be repeated.",
)


class Source(NamedTuple):
    """A plug-in file as it was read; one that was changed since is another."""

    path: Path
    content: bytes


_SOURCES: Final[dict[str, Source]] = {}  # of what this process has executed, by module


class Catalogues(NamedTuple):
    """All methods there are."""

    searchers: Catalogue
    selectors: Catalogue


def catalogues(files: Sequence[Path] = ()) -> Catalogues:
    """Dartboard's own methods, those of installed packages, and those of `files`, in this order.

    Raises:
        InputError: when a plug-in cannot be loaded, gives no method, or uses a name that is taken.
    """
    from dartboard.searchers._catalogue import SEARCHERS
    from dartboard.selectors._catalogue import SELECTORS

    found: dict[str, list[Entry]] = {"SEARCHERS": list(SEARCHERS), "SELECTORS": list(SELECTORS)}
    for name in LISTS:
        for point in entry_points(group=f"dartboard.{name.lower()}"):
            found[name] += _entries(_load(point), origin=_packaged(point), told=f"the entry point {point.name!r}")
    for path in files:
        module, origin = execute(_read(path))
        given = [name for name in LISTS if hasattr(module, name)]
        if not given:
            raise InputError(f"the plug-in {path} gives no method: it needs a list called {' or '.join(LISTS)}")
        for name in given:
            found[name] += _entries(getattr(module, name), origin=origin, told=name)
    return Catalogues(
        Catalogue("searcher", found["SEARCHERS"], SEARCHERS.families),
        Catalogue("selector", found["SELECTORS"], SELECTORS.families),
    )


def _packaged(point: EntryPoint) -> str:
    return f"the package {point.dist.name} {point.dist.version}" if point.dist else f"the entry point {point.value}"


def _load(point: EntryPoint) -> Any:
    """What an entry point names."""
    try:
        return point.load()
    except (Exception, SystemExit) as error:  # noqa: BLE001  (whatever is wrong with somebody's package)
        raise InputError(f"{_packaged(point)} cannot be loaded: {one_line(error)}; repair or uninstall it") from None


def _read(path: Path) -> Source:
    try:
        return Source(path, path.read_bytes())
    except OSError as error:
        raise InputError(f"cannot read the plug-in {str(path)!r}: {error.strerror}") from None


def executed() -> tuple[Source, ...]:
    """The plug-in files that this process has executed, for a process of its own to execute them, too."""
    return tuple(_SOURCES.values())


def execute(source: Source) -> tuple[ModuleType, str]:
    """The module of a plug-in file, and the file's name and digest.

    Raises:
        InputError: when it cannot be executed.
    """
    path, content = source
    digest = hashlib.sha256(content).hexdigest()
    name = re.sub(r"\W", "_", f"dartboard_plugin_{path.stem}_{digest[:16]}")
    origin = f"the plug-in {path.name} (sha256 {digest[:16]})"
    if name in sys.modules:
        return sys.modules[name], origin
    module = ModuleType(name)
    module.__file__ = str(path.resolve())
    sys.modules[name] = module  # dataclasses and `Entry.load` look it up
    try:
        exec(compile(content, module.__file__, "exec"), module.__dict__)
    except (Exception, SystemExit) as error:  # noqa: BLE001  (whatever is wrong with somebody's file)
        del sys.modules[name]
        lines = [frame.lineno for frame in extract_tb(error.__traceback__) if frame.filename == module.__file__]
        where = f" (line {lines[-1]})" if lines else ""
        raise InputError(f"the plug-in {path} cannot be loaded: {one_line(error)}{where}") from None
    _SOURCES[name] = source
    return module, origin


def _entries(given: Any, *, origin: str, told: str) -> list[Entry]:
    """The entries of a plug-in's list, with their origin."""
    if not isinstance(given, list | tuple) or not all(isinstance(entry, Entry) for entry in given):
        raise InputError(f"{told} of {origin} is not a list of dartboard.benchmark.catalogue.Entry; got {given!r:.80}")
    return [replace(entry, origin=origin) for entry in given]
