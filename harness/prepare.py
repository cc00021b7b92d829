"""Methods of a grid, loaded and configured: whatever is wrong with their options is said before anything runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from dartboard.benchmark.catalogue import Entry, check_options
from dartboard.benchmark.contracts import QuerySearch, Selector, Yardstick
from dartboard.benchmark.errors import InputError, one_line
from dartboard.benchmark.supernet import SupernetConfig
from dartboard.harness.grid import Method
from dartboard.searchers._training import Protocol as TrainingProtocol
from dartboard.searchers._training import resolve_protocol

STATE: Final = ("restart_weight_optimizer", "state_dict", "load_state_dict")
STEPS: Final = ("mixture", "finished", "begin_epoch", "step", *STATE)
SEARCHER_MEMBERS: Final = ("name", "paper", "config_class", *STEPS)
QUERY_MEMBERS: Final = ("name", "paper", "config_class", "search")
SELECTOR_MEMBERS: Final = ("name", "paper", "control", "config_class")


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedSearcher:
    """A searcher of the grid with its configuration, checked."""

    label: str
    factory: Any  # the class
    protocol: TrainingProtocol
    config: Any

    def supernet_config(self, size: SupernetConfig) -> SupernetConfig:
        """The supernet of this size that the method asks for: plain, unless its class has a `supernet_config`.

        Raises:
            InputError: when the method cannot have one of this size.
        """
        ask = getattr(self.factory, "supernet_config", None)
        if ask is None:
            return size
        with told_of(f"searcher {self.label}"):
            asked: SupernetConfig = ask(size, self.config)
        return asked


def prepare_searcher(method: Method) -> PreparedSearcher:
    """Load a searcher's class and build its configuration.

    Raises:
        InputError: when an option is unknown or its value cannot be used, or the class is no searcher.
    """
    factory = _load(method.entry, "searcher", SEARCHER_MEMBERS)
    with told_of(f"searcher {method.label}"):
        protocol, own = resolve_protocol(
            method.options,
            getattr(factory, "own_protocol", {}),
            default=factory.config_class().protocol,
        )
        of_protocol = [field.name for field in fields(TrainingProtocol)]
        own = check_options(factory.config_class, own, f"the searcher {method.label!r}", also=of_protocol)
        config = factory.config_class(protocol=protocol, **own)
    return PreparedSearcher(label=method.label, factory=factory, protocol=protocol, config=config)


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedQuerySearch:
    """A search of the grid that trains single cells, built."""

    label: str
    search: QuerySearch


def prepare_query_search(method: Method) -> PreparedQuerySearch:
    """Load the class of a search that trains single cells, and build it.

    Raises:
        InputError: when an option is unknown or its value cannot be used, or the class is no such search.
    """
    factory = _load(method.entry, "search that trains single cells", QUERY_MEMBERS)
    with told_of(f"searcher {method.label}"):
        options = check_options(factory.config_class, method.options, f"the searcher {method.label!r}")
        search: QuerySearch = factory(factory.config_class(**options))
    return PreparedQuerySearch(label=method.label, search=search)


def prepare_selector(method: Method) -> Selector | Yardstick:
    """Load a selector's class and build it.

    Raises:
        InputError: when an option is unknown or its value cannot be used, or the class is no selector.
    """
    answers = "choose" if method.entry.control == "truth" else "select"
    factory = _load(method.entry, "selector", (*SELECTOR_MEMBERS, answers))
    with told_of(f"selector {method.label}"):
        options = check_options(factory.config_class, method.options, f"the selector {method.label!r}")
        selector: Selector | Yardstick = factory(factory.config_class(**options))
    return selector


def _load(entry: Entry, kind: str, members: Iterable[str]) -> Any:
    """The class of `entry`, which must have all of `members`."""
    factory = entry.load()
    missing = [member for member in members if not hasattr(factory, member)]
    if missing:
        raise InputError(f"{entry.place} is no {kind}: it has no {', '.join(missing)} (see docs/plugins.md)")
    return factory


@contextlib.contextmanager
def told_of(owner: str) -> Iterator[None]:
    """Say whose options they were, when they cannot be used."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{owner}: {error}") from None
    except (TypeError, ValueError) as error:
        raise InputError(f"{owner}: an option has the wrong type: {error}") from None
    except Exception as error:  # noqa: BLE001  (a plug-in's constructor can fail in any way)
        raise InputError(f"{owner} cannot be made: {one_line(error)}") from None


def settings(method: Method, name: str, config: Any) -> dict[str, Any]:
    """What a run's header tells of a method: its class's name, the plug-in it is of, its configuration; JSON values."""
    origin = {} if method.entry.origin is None else {"origin": method.entry.origin}
    queries = {"queries": True} if method.entry.queries else {}
    return {"method": name, **origin, **queries, **asdict(config)}
