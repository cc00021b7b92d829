"""How often a criterion saves a supernet whose cell by the reference had collapsed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dartboard.results import statistics as st
from dartboard.results.aggregate import collapsed
from dartboard.results.judged import REFERENCE, by_supernet, groupings, judged
from dartboard.results.records import RunRecord, SearchKey
from dartboard.results.statistics import Estimate

GOOD_PERCENTILE: Final = 75.0
"""A cell counts as good when it is better than so many percent of the others: 92.2 % on CIFAR-10, 67.9 and 40.2 % on
CIFAR-100 and ImageNet16-120 (upper quartiles of the official table at 200 epochs)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescue:
    """How often a criterion saves a supernet whose cell by the reference had collapsed."""

    dataset: str
    searcher: str | None  # None: of all search methods
    selector: str | None  # None: any criterion, picked after the fact
    reference: str
    collapsed: tuple[SearchKey, ...]  # supernets that had collapsed by the reference, and on which this one chose
    rescued: tuple[SearchKey, ...]  # of these: not collapsed, and good
    broken: tuple[SearchKey, ...]  # good by the reference, collapsed by this one
    rate: Estimate | None  # Wilson's interval; None where nothing had collapsed


def rescues(
    records: Sequence[RunRecord],
    dataset: str,
    *,
    reference: str = REFERENCE,
    each: bool = True,
) -> list[Rescue]:
    """Any criterion, then every one, on all supernets, then with `each` search method where there are several.

    A supernet is rescued when its cell by the reference had collapsed (`aggregate.collapsed`), and the criterion's has
    not and is at least at the percentile `GOOD_PERCENTILE`.
    """
    chosen = by_supernet(record for record in judged(records, dataset) if record.control is None)
    chosen = {search: rows for search, rows in chosen.items() if any(row.selector == reference for row in rows)}
    found = []
    for searcher in groupings((search.searcher for search in chosen), each):
        mine = {search: rows for search, rows in chosen.items() if searcher in (None, search.searcher)}
        others = dict.fromkeys(row.selector for rows in mine.values() for row in rows if row.selector != reference)
        if others:
            found += [_rescue(dataset, searcher, name, reference, mine) for name in [None, *others]]
    return found


def _rescue(
    dataset: str,
    searcher: str | None,
    selector: str | None,
    reference: str,
    chosen: Mapping[SearchKey, Sequence[RunRecord]],
) -> Rescue:
    bad: list[SearchKey] = []
    saved: list[SearchKey] = []
    broken: list[SearchKey] = []
    for search, rows in chosen.items():
        before = next(row for row in rows if row.selector == reference)
        after = [row for row in rows if row.selector != reference and selector in (None, row.selector)]
        if not after:
            continue
        if _collapsed(before):
            bad.append(search)
            if any(_good(row) for row in after):
                saved.append(search)
        elif _good(before) and all(_collapsed(row) for row in after):
            broken.append(search)
    return Rescue(
        dataset=dataset,
        searcher=searcher,
        selector=selector,
        reference=reference,
        collapsed=tuple(bad),
        rescued=tuple(saved),
        broken=tuple(broken),
        rate=st.share(len(saved), len(bad)) if bad else None,
    )


def _collapsed(record: RunRecord) -> bool:
    return record.cell is not None and collapsed(record.cell)


def _good(record: RunRecord) -> bool:
    return not _collapsed(record) and record.percentile is not None and record.percentile >= GOOD_PERCENTILE
