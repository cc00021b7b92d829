"""A catalogue of methods: names, one line each, and where the code is. Listing it imports no method."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from importlib import import_module
from types import NoneType, UnionType
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

from dartboard.benchmark.errors import InputError, unknown

WORDS: Final[Mapping[type, str]] = {
    # the types of options that are checked, in words; TOML has no None, and nobody can write it
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    NoneType: "",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One method by the name that users write."""

    name: str
    place: str  # "module:Class"
    summary: str  # one line
    options: Mapping[str, Any] = field(default_factory=dict)  # what this name sets in the class's Config
    control: str | None = None  # of selectors: None, "blind" or "truth", as on the class
    queries: bool = False  # of searchers: whether it trains single cells, and no supernet (see `QuerySearch`)
    passes: tuple[float, float] | None = None  # of searchers: multiply-adds of a step, forward and backward, in passes
    origin: str | None = None  # the plug-in that brought it (who loads the plug-in says so); None: Dartboard itself
    of: Entry | None = None  # the method that this one is made of, whose options are its own: `place` makes its class

    def load(self) -> Any:
        """The class.

        Raises:
            InputError: when it is a plug-in's and cannot be imported.
        """
        module, _, name = self.place.partition(":")
        try:
            found = getattr(import_module(module), name)
        except Exception as error:
            if self.origin is None:
                raise
            told = f"{type(error).__name__}: {error}"
            raise InputError(f"{self.name!r} of {self.origin} is not at {self.place!r}: {told}") from None
        return found if self.of is None else found(self.of)


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Methods that there is one of for each other method: `prefix:NAME` is made of NAME."""

    prefix: str
    summary: str  # of all of them, one line
    make: Callable[[Entry], Entry]  # raises InputError where there is none of a method


class Catalogue:
    """Methods of one kind by name.

    Args:
        kind: in the singular, for messages.
        entries: the methods.
        families: further methods, made of these when they are asked for.

    Raises:
        InputError: when two entries have one name.
    """

    def __init__(self, kind: str, entries: Iterable[Entry], families: Iterable[Family] = ()) -> None:
        self.kind, self.families = kind, tuple(families)
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
        if name in self._entries:
            return self._entries[name]
        prefix, _, rest = name.partition(":")
        for family in self.families:
            if rest and prefix == family.prefix:
                return family.make(self[rest])
        raise unknown(self.kind, name, [*self._entries, *(f"{family.prefix}:NAME" for family in self.families)])


def check_options(
    config_class: Any, options: Mapping[str, Any], owner: str, *, also: Iterable[str] = ()
) -> dict[str, Any]:
    """The options, if `config_class` has a field for each, and of its type where that is a number, a text or a truth.

    Args:
        config_class: a frozen dataclass.
        options: values by name.
        owner: whose they are, for the message.
        also: names of options that have been taken out before, for the message.

    Raises:
        InputError: naming the first that it has not, and those that it has; or quoting a value of another type.
    """
    known = {field.name for field in fields(config_class)}
    for name in options:
        if name not in known:
            if not known:
                raise InputError(f"{owner} has no options; got {name!r}")
            raise unknown(f"option of {owner}", name, {*known, *also})
    try:
        hints = get_type_hints(config_class)
    except (NameError, AttributeError, SyntaxError, TypeError):  # types that only a type checker sees: none is checked
        return dict(options)
    for name, value in options.items():
        kinds = set(get_args(hints[name])) if get_origin(hints[name]) in (Union, UnionType) else {hints[name]}
        given = float if type(value) is int and float in kinds else type(value)
        if kinds <= WORDS.keys() and given not in kinds:
            expected = " or ".join(word for kind, word in WORDS.items() if kind in kinds and word)
            raise InputError(f"{name} is {expected}; got {value!r}")
    return dict(options)
