"""The contract as a list of small named checks, run over every method of the catalogues and over a newcomer's.

A check is a function `check_*(case)` that raises when its claim does not hold: `Broken` where it can say why. A class
declares what it cannot keep, with the reason, in `exceptions = {"the-check": "why"}`; a declared exception that holds
after all is a failure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from dartboard.benchmark.catalogue import Entry
from dartboard.benchmark.errors import one_line
from dartboard.harness.devices import threads


class Broken(AssertionError):  # noqa: N818  (it reads as what it is)
    """A method does not keep the contract; the message says where."""


class NotClaimed(Exception):  # noqa: N818  (it is no error)
    """A check has nothing to say of a method; the message says why."""


class Case(Protocol):
    """A method on the toy problem."""

    @property
    def entry(self) -> Entry:
        """Its line in the catalogue."""
        ...

    @property
    def factory(self) -> Any:
        """Its class."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came of one check."""

    check: str
    status: Literal["ok", "failed", "exception", "skipped"]
    detail: str = ""  # why, unless ok


def require(holds: bool, why: str) -> None:
    """Raise `Broken` with `why` unless it `holds`."""
    if not holds:
        raise Broken(why)


def check_name(check: Callable[..., None]) -> str:
    """The name of a check as users see it."""
    return check.__name__.removeprefix("check_").replace("_", "-")


def examine(check: Callable[[Any], None], case: Case) -> Verdict:
    """Run one check, on one thread: the toys are too small for more."""
    name = check_name(check)
    declared = getattr(case.factory, "exceptions", {}).get(name)
    try:
        with threads(1):
            check(case)
    except NotClaimed as reason:
        return Verdict(check=name, status="skipped", detail=str(reason))
    except Exception as error:  # noqa: BLE001  (whatever a method does wrong)
        told = " ".join(str(error).split()) if isinstance(error, Broken) else one_line(error)
        if declared is None:
            return Verdict(check=name, status="failed", detail=told)
        return Verdict(check=name, status="exception", detail=declared)
    if declared is not None:
        return Verdict(check=name, status="failed", detail=f"declared as an exception ({declared}), but it holds")
    return Verdict(check=name, status="ok")


def verify(kind: Literal["searcher", "selector"], entry: Entry) -> Iterator[Verdict]:
    """Run every check on a method.

    Raises:
        InputError: when the method cannot be loaded or configured.
    """
    # They import this module.
    from dartboard.harness import query_checks, searcher_checks, selector_checks

    case: Case
    checks: Sequence[Callable[[Any], None]]
    if entry.queries:
        case, checks = query_checks.QueryCase.of(entry), query_checks.CHECKS
    elif kind == "searcher":
        case, checks = searcher_checks.SearcherCase.of(entry), searcher_checks.CHECKS
    elif entry.control == "truth":
        case, checks = selector_checks.SelectorCase.of(entry), selector_checks.YARDSTICK_CHECKS
    else:
        case, checks = selector_checks.SelectorCase.of(entry), selector_checks.CHECKS
    return (examine(check, case) for check in checks)


def check_described(case: Case) -> None:
    """Name, paper and docstring are there, and a name without options of its own is the class's."""
    factory, entry = case.factory, case.entry
    for member in ("name", "paper"):
        value = getattr(factory, member)
        require(isinstance(value, str) and bool(value), f"{member} is {value!r}, not a text")
    require(bool(factory.__doc__), "the class has no docstring")
    require(bool(entry.summary) and "\n" not in entry.summary, "the catalogue's summary is not one line")
    if not entry.options and entry.of is None:
        require(factory.name == entry.name, f"the class is called {factory.name!r}, its entry {entry.name!r}")
    if hasattr(factory, "control"):
        require(factory.control == entry.control, f"control is {factory.control!r}, its entry has {entry.control!r}")


def check_configuration_frozen(case: Case) -> None:
    """The configuration is a frozen dataclass: it cannot change under a run."""
    config = case.factory.config_class
    parameters = getattr(config, "__dataclass_params__", None)
    require(parameters is not None and parameters.frozen, f"{config.__name__} is not a frozen dataclass")
