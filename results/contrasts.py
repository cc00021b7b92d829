"""Selectors against a reference on the same supernets: paired differences, with their tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dartboard.results import statistics as st
from dartboard.results.judged import REFERENCE, accuracy_of, groupings, judged
from dartboard.results.records import RunRecord
from dartboard.results.statistics import Estimate, PairedTest


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
    for searcher in groupings((record.searcher for record, _ in pairs), each):
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
    differences = [accuracy_of(ours) - accuracy_of(theirs) for ours, theirs in pairs]
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
