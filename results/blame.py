"""Was it the supernet or the selection? What records say of it, as pure functions: no files, no figures.

For each trained supernet, the regret of the cell that a criterion chose is split in two:

    regret = (the space's best - the best that any criterion extracts) + (the best extracted - this criterion's choice)
             the supernet's part                                        the selection's part

Only criteria extract. Controls do not: a blind one sees no supernet, and one that reads the table needs none. The best
extracted is picked after the fact from N criteria, so that the supernet's part depends on N: more criteria can only
lower it, and the best of N random cells would be better than N / (N + 1) of the space, too (`Extraction.luck`).

Means are used where parts have to add up, interquartile means elsewhere, each with an interval over supernets;
resampling keeps the number of supernets of each search method, where all have several. One supernet has no interval.
The split is the project's own; for the statistics see `dartboard.results.statistics`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dartboard.results import statistics as st
from dartboard.results.judged import accuracy_of, by_supernet, groupings, judged, regret_of
from dartboard.results.records import RunRecord, SearchKey
from dartboard.results.statistics import Estimate


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

    @property
    def divisible(self) -> bool:
        """Whether several criteria chose from each supernet: one alone has all that was extracted, by definition."""
        return all(split.criteria > 1 for split in self.splits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraction:
    """What all criteria together got out of supernets: the best of them for each, picked after the fact."""

    dataset: str
    searcher: str | None  # None: of all search methods
    accuracy: Estimate  # percent: interquartile mean over supernets
    regret: Estimate  # points: mean over supernets, the supernet's part in every blame
    tries: tuple[int, int]  # fewest and most distinct cells chosen from a supernet
    over_prior: Estimate | None  # points above the constant prior, a mean; None where `prior` was not run
    luck: float | None  # probability that the best of as many random cells would be as good on average (see `_luck`)

    @property
    def n(self) -> int:
        """How many supernets."""
        return self.regret.n


def splits(records: Iterable[RunRecord], dataset: str) -> list[Split]:
    """Every choice of a criterion on one data set, supernet by supernet."""
    found = []
    for search, chosen in by_supernet(judged(records, dataset)).items():
        criteria = [record for record in chosen if record.control is None]
        if not criteria:
            continue
        least = min(regret_of(record) for record in criteria)
        best = [record for record in criteria if regret_of(record) == least]
        found += [
            Split(
                search=search,
                selector=record.selector,
                metric=record.metric or "",
                accuracy=accuracy_of(record),
                regret=regret_of(record),
                supernet=least,
                selection=regret_of(record) - least,
                best=tuple(other.selector for other in best),
                best_accuracy=accuracy_of(best[0]),
                best_percentile=best[0].percentile,
                criteria=len(criteria),
                tries=len({other.cell for other in criteria}),
            )
            for record in criteria
        ]
    return found


def blame(records: Sequence[RunRecord], dataset: str, *, each: bool = True) -> list[Blame]:
    """Every criterion on all supernets, then with `each` search method where there are several.

    Supernets from which one criterion alone chose are left out, but where there are no others.
    """
    everything = splits(records, dataset)
    everything = [split for split in everything if split.criteria > 1] or everything
    found = []
    for searcher in groupings((split.search.searcher for split in everything), each):
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
    priors = {r.search: accuracy_of(r) for r in judged(records, dataset) if r.selector == "prior" and r.control}
    found = []
    for searcher in groupings((search.searcher for search in reversed(first)), each):
        rows = [split for search, split in reversed(first.items()) if searcher in (None, search.searcher)]
        strata = [split.search.searcher for split in rows]
        known = [split for split in rows if split.search in priors]
        role = ("extraction", dataset, searcher)
        found.append(
            Extraction(
                dataset=dataset,
                searcher=searcher,
                accuracy=st.bootstrap(
                    [split.best_accuracy for split in rows], st.interquartile_mean, st.generator(*role), strata=strata
                ),
                regret=st.bootstrap([split.supernet for split in rows], st.mean, st.generator(*role), strata=strata),
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
