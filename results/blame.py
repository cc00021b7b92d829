"""Was it the supernet or the selection? What records say of it, as pure functions: no files, no figures.

For each trained supernet, the regret of the cell that a criterion chose is split in two:

    regret = (the space's best - the best that any criterion extracts) + (the best extracted - this criterion's choice)
             the supernet's part                                        the selection's part

Only criteria extract. Controls do not: a blind one sees no supernet, and one that reads the table needs none. The best
extracted is picked after the fact from N criteria, so that the supernet's part depends on N: more criteria can only
lower it, and the best of N random cells would be better than N / (N + 1) of the space, too (`Split.tries`).

Means are used where parts have to add up, interquartile means elsewhere, each with an interval over supernets;
resampling keeps the number of supernets of each search method, where all have several. One supernet has no interval
and no rank. The split is the project's own; for the statistics see `dartboard.results.statistics`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from dartboard.results import statistics as st
from dartboard.results.aggregate import collapsed
from dartboard.results.records import EpochRecord, RunHeader, RunRecord, SearchKey
from dartboard.results.statistics import Estimate, PairedTest, Ranking

REFERENCE: Final = "magnitude"
"""DARTS's own rule, the largest mixing weight on each edge: the others are set against it."""

BLIND: Final = ("prior", "random")
"""The controls that a criterion has to beat to have shown anything."""

GOOD_PERCENTILE: Final = 75.0
"""A cell counts as good when it is better than so many percent of the others: 92.2 % on CIFAR-10, 67.9 and 40.2 % on
CIFAR-100 and ImageNet16-120 (upper quartiles of the official table at 200 epochs)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """The regret of one choice, and who is to blame for it; in points."""

    search: SearchKey
    selector: str
    metric: str
    accuracy: float  # percent, of the choice
    regret: float  # supernet + selection
    supernet: float  # the space's best less the best that any criterion extracted
    selection: float  # the best extracted less this choice
    best: tuple[str, ...]  # the criteria that extracted the best: picked after the fact
    best_accuracy: float  # percent
    best_percentile: float | None  # of the best extracted
    criteria: int  # that chose from this supernet
    tries: int  # distinct cells among their choices

    @property
    def chance_percentile(self) -> float:
        """The percentile that the best of as many random cells would have on average."""
        return 100 * self.tries / (self.tries + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Blame:
    """The splits of one criterion over supernets: means, so that the two parts add up to the regret."""

    dataset: str
    searcher: str | None  # None: of all search methods
    selector: str
    splits: tuple[Split, ...]
    regret: Estimate
    supernet: Estimate
    selection: Estimate
    share: Estimate | None  # of selection in the regret: sum over sum, 0 to 1; None where there is no regret

    @property
    def n(self) -> int:
        """How many supernets."""
        return len(self.splits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraction:
    """What all criteria together got out of supernets: the best of them for each, picked after the fact."""

    dataset: str
    searcher: str | None  # None: of all search methods
    accuracy: Estimate  # percent: interquartile mean over supernets
    regret: Estimate  # points: mean over supernets, the supernet's part in every blame
    by_selector: Mapping[str, int]  # on how many supernets each criterion was best, shared bests counted for each
    tries: tuple[int, int]  # fewest and most distinct cells chosen from a supernet
    over_prior: Estimate | None  # points above the constant prior, a mean; None where `prior` was not run
    luck: float | None  # probability that the best of as many random cells would be as good on average (see `_luck`)

    @property
    def n(self) -> int:
        """How many supernets."""
        return self.regret.n


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """A selector against a reference on the same supernets."""

    dataset: str
    searcher: str | None  # None: of all search methods
    selector: str
    control: str | None  # the selector's
    reference: str
    mean: Estimate  # points: accuracy less the reference's
    middle: Estimate  # points: the interquartile mean of the same differences
    improvement: Estimate  # probability of a better cell on a supernet; equal ones count half
    better: int
    equal: int
    worse: int
    permutation: PairedTest
    wilcoxon: PairedTest
    corrected_p: float  # the permutation test's, by Holm's method over all criteria against this reference

    @property
    def n(self) -> int:
        """How many supernets."""
        return self.mean.n


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


# The splits.


def splits(records: Iterable[RunRecord], dataset: str) -> list[Split]:
    """Every choice of a criterion on one data set, supernet by supernet."""
    found = []
    for search, chosen in _by_supernet(judged(records, dataset)).items():
        criteria = [record for record in chosen if record.control is None]
        if not criteria:
            continue
        least = min(_regret(record) for record in criteria)
        best = [record for record in criteria if _regret(record) == least]
        found += [
            Split(
                search=search,
                selector=record.selector,
                metric=record.metric or "",
                accuracy=_accuracy(record),
                regret=_regret(record),
                supernet=least,
                selection=_regret(record) - least,
                best=tuple(other.selector for other in best),
                best_accuracy=_accuracy(best[0]),
                best_percentile=best[0].percentile,
                criteria=len(criteria),
                tries=len({other.cell for other in criteria}),
            )
            for record in criteria
        ]
    return found


def blame(records: Sequence[RunRecord], dataset: str, *, each: bool = True) -> list[Blame]:
    """Every criterion on all supernets, then with `each` search method where there are several."""
    everything = splits(records, dataset)
    found = []
    for searcher in _groupings((split.search.searcher for split in everything), each):
        mine = [split for split in everything if searcher in (None, split.search.searcher)]
        found += [
            _blame(dataset, searcher, selector, [split for split in mine if split.selector == selector])
            for selector in dict.fromkeys(split.selector for split in mine)
        ]
    return found


def _blame(dataset: str, searcher: str | None, selector: str, rows: Sequence[Split]) -> Blame:
    strata = [split.search.searcher for split in rows]
    role = ("blame", dataset, searcher)

    def estimate(values: Sequence[float]) -> Estimate:
        # The same draws for all three and for all criteria, so that the parts of each resample add up, too.
        return st.bootstrap(values, st.mean, st.generator(*role), strata=strata)

    share = None
    if any(split.regret > 0 for split in rows):
        both = [[split.selection for split in rows], [split.regret for split in rows]]
        share = st.bootstrap(both, st.ratio, st.generator(*role), strata=strata)
    return Blame(
        dataset=dataset,
        searcher=searcher,
        selector=selector,
        splits=tuple(rows),
        regret=estimate([split.regret for split in rows]),
        supernet=estimate([split.supernet for split in rows]),
        selection=estimate([split.selection for split in rows]),
        share=share,
    )


def extractions(records: Sequence[RunRecord], dataset: str, *, each: bool = True) -> list[Extraction]:
    """What all criteria got out of all supernets, then out of those of `each` search method where there are several."""
    first = {split.search: split for split in reversed(splits(records, dataset))}
    priors = {r.search: _accuracy(r) for r in judged(records, dataset) if r.selector == "prior" and r.control}
    found = []
    for searcher in _groupings((search.searcher for search in reversed(first)), each):
        rows = [split for search, split in reversed(first.items()) if searcher in (None, search.searcher)]
        strata = [split.search.searcher for split in rows]
        known = [split for split in rows if split.search in priors]
        role = ("extraction", dataset, searcher)
        names = [name for split in rows for name in split.best]
        found.append(
            Extraction(
                dataset=dataset,
                searcher=searcher,
                accuracy=st.bootstrap(
                    [split.best_accuracy for split in rows], st.interquartile_mean, st.generator(*role), strata=strata
                ),
                regret=st.bootstrap([split.supernet for split in rows], st.mean, st.generator(*role), strata=strata),
                by_selector={name: names.count(name) for name in dict.fromkeys(names)},
                tries=(min(split.tries for split in rows), max(split.tries for split in rows)),
                over_prior=st.bootstrap(
                    [split.best_accuracy - priors[split.search] for split in known],
                    st.mean,
                    st.generator(*role),
                    strata=[split.search.searcher for split in known],
                )
                if known
                else None,
                luck=_luck(rows),
            )
        )
    return found


def _luck(rows: Sequence[Split]) -> float | None:
    """The chance that random cells had done as well: of the best of N uniform percentiles p, (p / 100)ᴺ is uniform."""
    known = [(split.best_percentile, split.tries) for split in rows if split.best_percentile is not None]
    return st.chance_test([100 * (best / 100) ** tries for best, tries in known]) if known else None


# Rescues.


def rescues(
    records: Sequence[RunRecord],
    dataset: str,
    *,
    reference: str = REFERENCE,
    good: float = GOOD_PERCENTILE,
    each: bool = True,
) -> list[Rescue]:
    """Any criterion, then every one, on all supernets, then with `each` search method where there are several.

    A supernet is rescued when its cell by the reference had collapsed (`aggregate.collapsed`), and the criterion's has
    not and is at least at the percentile `good`.
    """
    chosen = _by_supernet(record for record in judged(records, dataset) if record.control is None)
    chosen = {search: rows for search, rows in chosen.items() if any(row.selector == reference for row in rows)}
    found = []
    for searcher in _groupings((search.searcher for search in chosen), each):
        mine = {search: rows for search, rows in chosen.items() if searcher in (None, search.searcher)}
        others = dict.fromkeys(row.selector for rows in mine.values() for row in rows if row.selector != reference)
        if others:
            found += [_rescue(dataset, searcher, name, reference, good, mine) for name in [None, *others]]
    return found


def _rescue(
    dataset: str,
    searcher: str | None,
    selector: str | None,
    reference: str,
    good: float,
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
            if any(_good(row, good) for row in after):
                saved.append(search)
        elif _good(before, good) and all(_collapsed(row) for row in after):
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


def _good(record: RunRecord, good: float) -> bool:
    return not _collapsed(record) and record.percentile is not None and record.percentile >= good


# Paired comparisons.


def contrasts(
    records: Sequence[RunRecord], dataset: str, reference: str = REFERENCE, *, each: bool = True
) -> list[Contrast]:
    """Every other selector but those that read the table against `reference`, where both came to a cell.

    On all supernets, then with `each` search method where there are several. Holm's correction is over the criteria of
    one such family; a control's p is left as it is.
    """
    rows = judged(records, dataset)
    theirs = {record.search: record for record in rows if record.selector == reference}
    pairs = [
        (record, theirs[record.search])
        for record in rows
        if record.selector != reference and record.control != "truth" and record.search in theirs
    ]
    found = []
    for searcher in _groupings((record.searcher for record, _ in pairs), each):
        mine = [pair for pair in pairs if searcher in (None, pair[0].searcher)]
        family = [
            _contrast(dataset, searcher, selector, reference, [pair for pair in mine if pair[0].selector == selector])
            for selector in dict.fromkeys(record.selector for record, _ in mine)
        ]
        criteria = [entry for entry in family if entry.control is None]
        corrected = dict(
            zip(
                (entry.selector for entry in criteria),
                st.holm([entry.permutation.p for entry in criteria]),
                strict=True,
            )
        )
        found += [replace(e, corrected_p=corrected.get(e.selector, e.permutation.p)) for e in family]
    return found


def _contrast(
    dataset: str,
    searcher: str | None,
    selector: str,
    reference: str,
    pairs: Sequence[tuple[RunRecord, RunRecord]],
) -> Contrast:
    differences = [_accuracy(ours) - _accuracy(theirs) for ours, theirs in pairs]
    strata = [ours.searcher for ours, _ in pairs]
    role = ("contrast", dataset, searcher, selector, reference)
    permutation = st.permutation_test(differences, st.generator(*role, "signs"))
    return Contrast(
        dataset=dataset,
        searcher=searcher,
        selector=selector,
        control=pairs[0][0].control,
        reference=reference,
        mean=st.bootstrap(differences, st.mean, st.generator(*role), strata=strata),
        middle=st.bootstrap(differences, st.interquartile_mean, st.generator(*role), strata=strata),
        improvement=st.paired_improvement(differences),
        better=sum(difference > 0 for difference in differences),
        equal=sum(difference == 0 for difference in differences),
        worse=sum(difference < 0 for difference in differences),
        permutation=permutation,
        wilcoxon=st.wilcoxon(differences, st.generator(*role, "ranks")),
        corrected_p=permutation.p,
    )


# Rankings.


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
    most = max((len(blocks) for blocks in table.values()), default=0)
    blocks = next((list(blocks) for blocks in table.values() if len(blocks) == most), [])
    reasons = {
        name: "one supernet"
        if len(mine) == 1
        else ""
        if set(mine) == set(blocks)
        else f"{len(mine)} of {most} supernets"
        for name, mine in table.items()
    }
    compared = [name for name, reason in reasons.items() if not reason]
    ranks: dict[str, float] = {}
    if len(compared) > 1:
        values = [[_accuracy(table[name][block]) for name in compared] for block in blocks]
        ranks = dict(zip(compared, st.friedman(values).ranks, strict=True))
        compared.sort(key=lambda name: ranks[name])
        ranking: Ranking | None = st.friedman([[_accuracy(table[n][block]) for n in compared] for block in blocks])
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
                    [_accuracy(record) for record in table[name].values()],
                    st.interquartile_mean,
                    st.generator(*role, name),
                    strata=[record.searcher for record in table[name].values()],
                ),
                worst=min(_accuracy(record) for record in table[name].values()),
                rank=ranks.get(name),
                reason=reasons[name],
                variants=variants[name],
            )
            for name in ([*compared, *others] if ranks else others)
        ),
        ranking=ranking,
    )


# Shared.


def judged(records: Iterable[RunRecord], dataset: str) -> list[RunRecord]:
    """The records of one data set that came to a cell with a known regret, by the metric of the first of them.

    A criterion that was undecided is left out: its cell is that of the tie-break, not its own.
    """
    known = [r for r in records if r.dataset == dataset and r.ok and r.accuracy is not None and r.regret is not None]
    return [record for record in known if record.metric == known[0].metric and not undecided(record)]


def undecided(record: RunRecord) -> bool:
    """Whether a criterion's best score is shared on every edge, as magnitude's under a uniform mixture."""
    if record.control is not None or not record.scores:
        return False
    best = [sorted((score for score in row if score is not None), reverse=True)[:2] for row in record.scores]
    return all(len(two) == 2 and two[0] == two[1] for two in best)


def uniform(epochs: Sequence[EpochRecord]) -> bool:
    """Whether a search ended with equal mixing weights on every edge, so that its argmax cell is the tie-break's."""
    return bool(epochs) and all(len(set(row)) == 1 for row in epochs[-1].mixture)


def _by_supernet(records: Iterable[RunRecord]) -> dict[SearchKey, list[RunRecord]]:
    found: dict[SearchKey, list[RunRecord]] = {}
    for record in records:
        found.setdefault(record.search, []).append(record)
    return found


def _groupings(searchers: Iterable[str], each: bool) -> list[str | None]:
    """All together (None), then `each` by itself where there are several; nothing where there is none."""
    names = list(dict.fromkeys(searchers))
    return [None, *(names if each and len(names) > 1 else [])] if names else []


def _accuracy(record: RunRecord) -> float:
    assert record.accuracy is not None
    return record.accuracy


def _regret(record: RunRecord) -> float:
    assert record.regret is not None
    return record.regret
