"""A catalogue of methods: names, one line each, and where the code is. Listing it imports no method."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from importlib import import_module
from typing import Any

from dartboard.benchmark.errors import InputError, unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One method by the name that users write."""

    name: str
    place: str  # "module:Class"
    summary: str  # one line
    options: Mapping[str, Any] = field(default_factory=dict)  # what this name sets in the class's Config
    control: str | None = None  # of selectors: None, "blind" or "truth", as on the class
    passes: tuple[float, float] | None = None  # of searchers: a batch's forward and backward passes in a step, counted
    origin: str | None = None  # the plug-in that brought it (who loads the plug-in says so); None: Dartboard itself

    def load(self) -> Any:
        """The class.

        Raises:
            InputError: when it is a plug-in's and cannot be imported.
        """
        module, _, name = self.place.partition(":")
        try:
            return getattr(import_module(module), name)
        except Exception as error:
            if self.origin is None:
                raise
            told = f"{type(error).__name__}: {error}"
            raise InputError(f"{self.name!r} of {self.origin} is not at {self.place!r}: {told}") from None


class Catalogue:
    """Methods of one kind by name.

    Args:
        kind: in the singular, for messages.
        entries: the methods.

    Raises:
        InputError: when two entries have one name.
    """

    def __init__(self, kind: str, entries: Iterable[Entry]) -> None:
        self.kind = kind
        self._entries: dict[str, Entry] = {}
        for entry in entries:
            if entry.name in self._entries:
                parties = [e.origin or f"Dartboard itself ({e.place})" for e in (self._entries[entry.name], entry)]
                raise InputError(f"two {kind}s are called {entry.name!r}: one of {parties[0]}, one of {parties[1]}")
            self._entries[entry.name] = entry

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def __getitem__(self, name: str) -> Entry:
        """The entry called `name`.

        Raises:
            InputError: with the nearest name, when there is none.
        """
        if name not in self._entries:
            raise unknown(self.kind, name, self._entries)
        return self._entries[name]


def check_options(config_class: Any, options: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """The options, if `config_class` has a field for each.

    Raises:
        InputError: naming the first that it has not, and those that it has.
    """
    known = {field.name for field in fields(config_class)}
    for name in options:
        if name not in known:
            if not known:
                raise InputError(f"{owner} has no options; got {name!r}")
            raise unknown(f"option of {owner}", name, known)
    return dict(options)
