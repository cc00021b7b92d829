"""Methods of a grid, loaded and configured: whatever is wrong with their options is said before anything runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from dartboard.benchmark.catalogue import check_options
from dartboard.benchmark.contracts import Selector, Yardstick
from dartboard.benchmark.errors import InputError
from dartboard.harness.grid import Method
from dartboard.searchers._catalogue import SEARCHERS
from dartboard.searchers._training import Protocol as TrainingProtocol
from dartboard.searchers._training import resolve_protocol
from dartboard.selectors._catalogue import SELECTORS


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedSearcher:
    """A searcher of the grid with its configuration, checked."""

    label: str
    factory: Any  # the class
    protocol: TrainingProtocol
    config: Any


def prepare_searcher(method: Method) -> PreparedSearcher:
    """Load a searcher's class and build its configuration.

    Raises:
        InputError: when an option is unknown or its value cannot be used.
    """
    factory = SEARCHERS[method.name].load()
    with told_of(f"searcher {method.label}"):
        protocol, own = resolve_protocol(method.options, factory.own_protocol)
        config = factory.config_class(
            protocol=protocol, **check_options(factory.config_class, own, f"the searcher {method.label!r}")
        )
    return PreparedSearcher(label=method.label, factory=factory, protocol=protocol, config=config)


def prepare_selector(method: Method) -> Selector | Yardstick:
    """Load a selector's class and build it.

    Raises:
        InputError: when an option is unknown or its value cannot be used.
    """
    factory = SELECTORS[method.name].load()
    with told_of(f"selector {method.label}"):
        options = check_options(factory.config_class, method.options, f"the selector {method.label!r}")
        selector: Selector | Yardstick = factory(factory.config_class(**options))
    return selector


@contextlib.contextmanager
def told_of(owner: str) -> Iterator[None]:
    """Say whose options they were, when they cannot be used."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{owner}: {error}") from None
    except (TypeError, ValueError) as error:
        raise InputError(f"{owner}: an option has the wrong type: {error}") from None


def plain(config: Any) -> dict[str, Any]:
    """A method's configuration as JSON values."""
    values: dict[str, Any] = asdict(config)
    return values
