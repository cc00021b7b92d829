"""Who ranks where: criteria on the same supernets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

from dartboard.results import statistics as st
from dartboard.results.judged import accuracy_of, judged
from dartboard.results.records import RunHeader, RunRecord, SearchKey
from dartboard.results.statistics import Estimate, Ranking


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One criterion among others on the same supernets."""

    name: str
    accuracy: Estimate  # percent: interquartile mean over supernets
    worst: float  # percent
    rank: float | None  # mean rank over the blocks that all ranked ones have; None: not ranked, for the reason given
    reason: str  # "" where it is ranked
    variants: tuple[str, ...]  # other settings of its method in this run: the best of them is picked after the fact

    @property
    def n(self) -> int:
        """How many supernets."""
        return self.accuracy.n


@dataclass(frozen=True, slots=True, kw_only=True)
class Standings:
    """The criteria, ranked ones first by mean rank, then the others by name."""

    dataset: str
    rows: tuple[Standing, ...]
    ranking: Ranking | None  # of the ranked rows, in their order; None with fewer than two of them

    @property
    def ranked(self) -> tuple[Standing, ...]:
        """The rows that are ranked."""
        return tuple(row for row in self.rows if row.rank is not None)


def criterion_standings(records: Iterable[RunRecord], dataset: str, *, header: RunHeader | None = None) -> Standings:
    """The criteria on the same supernets (the blocks); controls are left out.

    Ranked are those that chose from the most supernets, and of them those that chose from the same ones.
    """
    table: dict[str, dict[SearchKey, RunRecord]] = {}
    for record in judged(records, dataset):
        if record.control is None:
            table.setdefault(record.selector, {})[record.search] = record
    most = max((len(mine) for mine in table.values()), default=0)
    sets = Counter(frozenset(mine) for mine in table.values() if len(mine) == most)
    blocks = max(sets, key=lambda some: sets[some], default=frozenset[SearchKey]())  # the first, of equals
    reasons = {name: _reason(mine.keys(), blocks) for name, mine in table.items()}
    compared = [name for name, reason in reasons.items() if not reason]
    ranks: dict[str, float] = {}
    ranking: Ranking | None = None
    if len(compared) > 1:
        ranks = dict(zip(compared, _friedman(table, compared, blocks).ranks, strict=True))
        compared.sort(key=lambda name: ranks[name])
        ranking = _friedman(table, compared, blocks)
    else:
        reasons |= dict.fromkeys(compared, "nothing to rank it against")
    variants = _variants(table, header)
    return Standings(
        dataset=dataset,
        rows=tuple(
            Standing(
                name=name,
                accuracy=st.bootstrap(
                    [accuracy_of(record) for record in table[name].values()],
                    st.interquartile_mean,
                    st.generator("criteria", dataset, None, name),
                    strata=[record.searcher for record in table[name].values()],
                ),
                worst=min(accuracy_of(record) for record in table[name].values()),
                rank=ranks.get(name),
                reason=reasons[name],
                variants=variants[name],
            )
            for name in (*(compared if ranks else ()), *sorted(name for name in table if name not in ranks))
        ),
        ranking=ranking,
    )


def _reason(mine: Set[SearchKey], blocks: Set[SearchKey]) -> str:
    """Why a criterion with these supernets is not ranked; "" where it is."""
    if len(mine) == 1:
        return "one supernet"
    return "" if mine == blocks else f"{len(mine & blocks)} of {len(blocks)} supernets"


def _friedman(
    table: Mapping[str, Mapping[SearchKey, RunRecord]], names: Sequence[str], blocks: Iterable[SearchKey]
) -> Ranking:
    return st.friedman([[accuracy_of(table[name][block]) for name in names] for block in sorted(blocks)])


def _variants(names: Iterable[str], header: RunHeader | None) -> dict[str, tuple[str, ...]]:
    """For each criterion, the others that are settings of the same method."""
    told = header.options.get("selectors", {}) if header else {}
    method = {name: told.get(name, {}).get("method", name) for name in names}
    return {name: tuple(o for o in method if o != name and method[o] == method[name]) for name in method}
