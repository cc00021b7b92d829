"""Who ranks where: criteria on the same supernets, or search methods under the same selector."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from dartboard.results import statistics as st
from dartboard.results.judged import accuracy_of, judged
from dartboard.results.records import RunHeader, RunRecord
from dartboard.results.statistics import Estimate, Ranking


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One treatment among others: a criterion on the same supernets, or a search method under the same selector."""

    name: str
    accuracy: Estimate  # percent: interquartile mean over supernets
    worst: float  # percent
    rank: float | None  # mean rank over the blocks that all ranked ones have; None: not ranked, for the reason given
    reason: str  # "" where it is ranked
    variants: tuple[
        str, ...
    ]  # other settings of the same method in this run: the best of them is picked after the fact

    @property
    def n(self) -> int:
        """How many supernets."""
        return self.accuracy.n


@dataclass(frozen=True, slots=True, kw_only=True)
class Standings:
    """The treatments, ranked ones first by mean rank, then the others by name."""

    dataset: str
    rows: tuple[Standing, ...]
    ranking: Ranking | None  # of the ranked rows, in their order; None with fewer than two of them

    @property
    def ranked(self) -> tuple[Standing, ...]:
        """The rows that are ranked."""
        return tuple(row for row in self.rows if row.rank is not None)


def criterion_standings(
    records: Sequence[RunRecord], dataset: str, *, searcher: str | None = None, header: RunHeader | None = None
) -> Standings:
    """The criteria on the same supernets (the blocks), of one search method or of all; controls are left out."""
    rows = [r for r in judged(records, dataset) if r.control is None and searcher in (None, r.searcher)]
    table: dict[str, dict[object, RunRecord]] = {}
    for record in rows:
        table.setdefault(record.selector, {})[record.search] = record
    return _standings(dataset, table, _variants(table, header, "selectors"), ("criteria", dataset, searcher))


def searcher_standings(
    records: Sequence[RunRecord], dataset: str, selector: str, *, header: RunHeader | None = None
) -> Standings:
    """The search methods under one selector; a block is a seed, for all of which methods begin alike."""
    table: dict[str, dict[object, RunRecord]] = {}
    for record in judged(records, dataset):
        if record.selector == selector:
            table.setdefault(record.searcher, {})[record.seed] = record
    return _standings(dataset, table, _variants(table, header, "searchers"), ("searchers", dataset, selector))


def _variants(names: Iterable[str], header: RunHeader | None, part: str) -> dict[str, tuple[str, ...]]:
    """For each name, the others that are settings of the same method."""
    told = header.options.get(part, {}) if header else {}
    method = {name: told.get(name, {}).get("method", name) for name in names}
    return {name: tuple(o for o in method if o != name and method[o] == method[name]) for name in method}


def _standings(
    dataset: str,
    table: Mapping[str, Mapping[object, RunRecord]],
    variants: Mapping[str, tuple[str, ...]],
    role: tuple[object, ...],
) -> Standings:
    most = max((len(mine) for mine in table.values()), default=0)
    sets = Counter(frozenset(mine) for mine in table.values() if len(mine) == most)
    common = max(sets, key=lambda blocks: sets[blocks], default=frozenset[object]())  # the first, of equals
    blocks = next((list(mine) for mine in table.values() if common == set(mine)), [])
    reasons = {
        name: "one supernet"
        if len(mine) == 1
        else ""
        if common == set(mine)
        else f"{len(common & set(mine))} of {most} supernets"
        for name, mine in table.items()
    }
    compared = [name for name, reason in reasons.items() if not reason]
    ranks: dict[str, float] = {}
    if len(compared) > 1:
        values = [[accuracy_of(table[name][block]) for name in compared] for block in blocks]
        ranks = dict(zip(compared, st.friedman(values).ranks, strict=True))
        compared.sort(key=lambda name: ranks[name])
        ranking: Ranking | None = st.friedman([[accuracy_of(table[n][block]) for n in compared] for block in blocks])
    else:
        ranking = None
        reasons |= dict.fromkeys(compared, "nothing to rank it against")
    others = sorted(name for name in table if name not in ranks)
    return Standings(
        dataset=dataset,
        rows=tuple(
            Standing(
                name=name,
                accuracy=st.bootstrap(
                    [accuracy_of(record) for record in table[name].values()],
                    st.interquartile_mean,
                    st.generator(*role, name),
                    strata=[record.searcher for record in table[name].values()],
                ),
                worst=min(accuracy_of(record) for record in table[name].values()),
                rank=ranks.get(name),
                reason=reasons[name],
                variants=variants[name],
            )
            for name in ([*compared, *others] if ranks else others)
        ),
        ranking=ranking,
    )
