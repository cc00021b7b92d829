"""How far a run folder is: what its grid asks for, what has a record, and how many epochs each search has done."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path

from dartboard.benchmark.errors import InputError
from dartboard.results.records import (
    QUERIES,
    RunKey,
    SearchKey,
    asks_queries,
    read_epochs,
    read_header,
    read_records,
    search_folder,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchProgress:
    """One search and the selectors that are applied to what it trains."""

    search: SearchKey
    epochs: int  # finished
    of_epochs: int | None  # as many as it ran, where it is over; None where the grid does not say, or it has none
    queries: int | None  # cells that it has trained; None: it trains a supernet
    of_queries: int | None  # as many as it may
    ok: int  # selectors that came to a cell
    failed: int
    left: int

    @property
    def total(self) -> int:
        """All selectors."""
        return self.ok + self.failed + self.left


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A run folder."""

    name: str
    searches: tuple[SearchProgress, ...]

    @property
    def ok(self) -> int:
        """Runs that came to a cell."""
        return sum(search.ok for search in self.searches)

    @property
    def failed(self) -> int:
        """Runs that ended in an error."""
        return sum(search.failed for search in self.searches)

    @property
    def left(self) -> int:
        """Runs that have no record yet."""
        return sum(search.left for search in self.searches)


def read_progress(folder: Path) -> Progress:
    """How far a run folder is.

    Raises:
        InputError: when it is no run folder, or a file in it is malformed.
    """
    header = read_header(folder)
    if header is None:
        raise InputError(
            f"no run folder at {str(folder)!r}: it has no grid.json; make one with: dartboard run GRID --out {folder}"
        )
    records = read_records(folder)
    status = {record.key: record.ok for record in records}
    ran = {record.search: record.search_epochs for record in records if record.search_epochs is not None}
    queried = {record.search: record.queries for record in records if record.queries is not None}
    asked = [
        SearchKey(searcher, dataset, seed)
        for dataset, searcher, seed in product(header.datasets, header.searchers, header.seeds)
    ]
    beyond = [SearchKey(*key[:3]) for key in status]  # recorded under a wider grid
    searches = []
    for search in dict.fromkeys([*asked, *beyond]):
        asks = asks_queries(header, search.searcher)
        selectors = (QUERIES,) if asks else header.selectors
        keys = {RunKey(*search, selector) for selector in selectors if search in asked}
        keys |= {key for key in status if SearchKey(*key[:3]) == search}
        searches.append(
            SearchProgress(
                search=search,
                epochs=len(read_epochs(search_folder(folder, search))),
                of_epochs=ran.get(search, header.search_epochs.get(search.searcher)),
                queries=queried.get(search, 0) if asks else None,
                of_queries=header.options["searchers"][search.searcher].get("budget") if asks else None,
                ok=sum(status.get(key) is True for key in keys),
                failed=sum(status.get(key) is False for key in keys),
                left=sum(key not in status for key in keys),
            )
        )
    return Progress(name=header.name, searches=tuple(searches))
