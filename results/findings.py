"""A report's first sentences, written from the numbers: was it the supernet or the selection?

The first three answer that: whose the regret is, whether collapsed supernets were rescued, and whether anything was
extracted that a constant would not have known. Each says over how many supernets it speaks, has its interval, and calls
a choice made after the fact by its name. A verdict takes a whole interval on one side; without, it is left open.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dartboard.results.aggregate import (
    COLLAPSED_SKIPS,
    PASSED_THROUGH,
    Trajectory,
    best_in_table,
    main_metric,
    trajectory,
)
from dartboard.results.blame import Extraction, blame, extractions
from dartboard.results.contrasts import Contrast, contrasts
from dartboard.results.judged import BLIND, REFERENCE, by_supernet, judged, undecided, uniform
from dartboard.results.records import RunRecord
from dartboard.results.rescues import rescues
from dartboard.results.rundata import RunData
from dartboard.results.standings import Standings, criterion_standings
from dartboard.results.statistics import Estimate
from dartboard.results.wording import count, listed, metric_words

FEW: Final = 5
"""With fewer supernets than so many, a finding says that it is an observation of single cases."""

SIGNIFICANT: Final = 0.05


def findings(run: RunData, dataset: str) -> list[str]:
    """Some sentences about one data set's runs: three that answer the question, then others."""
    records = run.as_run(dataset)
    done = [record for record in records if record.ok]
    if not done:
        return [f"No run came to a cell: {_all(len(records))} failed, the first with: {records[0].error}."]
    known = judged(records, dataset)
    if not known:
        return _undecided(done) or ["The table has no accuracy for these cells, so nothing can be said about them."]
    standings = criterion_standings(records, dataset, header=run.header)
    found = extractions(records, dataset, each=False)
    sentences = [
        _whose(records, dataset),
        _rescued(records, dataset),
        _known_before(records, dataset, found[0] if found else None, standings),
        *_against_magnitude(records, dataset, standings),
        *_passed_through(run, dataset),
        *_against_random(records, dataset),
        *_not_ranked(standings, known),
        *_undecided(done),
    ]
    failed = len(records) - len(done)
    if failed:
        sentences.append(
            f"{count(failed, 'run')} of {len(records)} failed and {'is' if failed == 1 else 'are'} left out."
        )
    supernets = len({record.search for record in known})
    if supernets < FEW:
        cases = "one supernet: a single case" if supernets == 1 else f"{supernets} supernets: a few single cases"
        sentences.append(f"All this is from {cases}, which shows what can happen and not how often it does.")
    return sentences


def _whose(records: Sequence[RunRecord], dataset: str) -> str:
    """Whose the reference's regret is; and what a constant saves of it, which is no knowledge of a supernet's."""
    best = best_in_table(records, dataset, main_metric(records, dataset))
    metric = metric_words(judged(records, dataset)[0].metric or "//")
    ours = next((entry for entry in blame(records, dataset, each=False) if entry.selector == REFERENCE), None)
    if ours is None:
        if any(record.selector == REFERENCE for record in judged(records, dataset)):
            return (
                f"Supernet or selection cannot be told: from no supernet did {REFERENCE} and another criterion choose."
            )
        return f"{REFERENCE} came to no cell of its own here, so the criteria have nothing to be set against."
    over = f"on {count(ours.n, 'supernet')}"
    table = f"the table's best cell ({best:.2f} % {metric})"
    if ours.share is None:
        return f"Nothing was lost: {REFERENCE} chose {table} {over}."
    lost = f"{REFERENCE} loses {_points(ours.regret)} to {table} {over}"
    if not ours.divisible:
        return f"Supernet or selection cannot be told, for {REFERENCE} is the only criterion: {lost}."
    if ours.n == 1:
        verdict = "One supernet cannot tell"
    elif ours.share.above(0.5):
        verdict = "The selection"
    elif ours.share.below(0.5):
        verdict = "The supernet, as far as these criteria can tell"
    else:
        verdict = "Not clearly either"
    if 1 < ours.n < FEW:
        verdict = f"As far as {ours.n} supernets show, {verdict[0].lower()}{verdict[1:]}"
    prior = next((c.mean for c in contrasts(records, dataset, each=False) if c.selector == "prior" and c.control), None)
    blind = ""
    if prior is not None and prior.n == ours.n and prior.value > 0:
        blind = f" The constant prior, which looks at no supernet, is {_off(prior)} {REFERENCE}, too."
    return (
        f"Supernet or selection? {verdict}: {lost}; {_percent(ours.share)} of it is the "
        "selection's, for some criterion, picked after the fact for each supernet, found so much better a cell in it, "
        f"and {_points(ours.supernet)} are beyond all {_from_to([split.criteria for split in ours.splits])} criteria"
        f"{_mean_of(ours.regret)}.{blind}"
    )


def _rescued(records: Sequence[RunRecord], dataset: str) -> str:
    """Whether supernets that had collapsed under the reference were saved by another criterion."""
    every = rescues(records, dataset, each=False)
    if not every:
        return f"There is no supernet on which {REFERENCE} and another criterion both chose, and none to be rescued."
    anyone, *each = every
    chosen = by_supernet(record for record in judged(records, dataset) if record.control is None)
    known = [{row.selector for row in rows} for rows in chosen.values()]
    mine = [selectors for selectors in known if REFERENCE in selectors]
    several = sum(len(selectors) > 1 for selectors in mine)
    collapse = (
        f"{REFERENCE}'s cell had collapsed (at least {COLLAPSED_SKIPS} skips, or no convolution) on "
        f"{len(anyone.collapsed)} of {count(several, 'supernet')}"
        f"{' from which another criterion chose, too' if several < len(mine) else ''}"
    )
    worse = [f"{entry.selector} on {len(entry.broken)}" for entry in each if entry.broken]
    broken = f" Where {REFERENCE}'s cell was good, others collapsed: {listed(worse)}." if worse else ""
    if anyone.rate is None:
        return f"{collapse}, so that there was nothing to rescue.{broken}"
    saved = sorted((entry for entry in each if entry.rescued), key=lambda entry: -len(entry.rescued))
    if not saved:
        return f"{collapse}, and no other criterion chose a good cell from any of them.{broken}"
    by = listed(f"{entry.selector} {len(entry.rescued)} of {len(entry.collapsed)}" for entry in saved[:3])
    n = len(anyone.collapsed)
    of_these = "each of these" if len(anyone.rescued) == n else f"{len(anyone.rescued)} of these {n}"
    return (
        f"{collapse}; another criterion, picked after the fact, chose a good cell from {of_these}, "
        f"{_percent(anyone.rate)}: {by}.{broken}"
    )


def _known_before(records: Sequence[RunRecord], dataset: str, found: Extraction | None, standings: Standings) -> str:
    """Whether what was extracted is more than a constant would have known.

    The best of N criteria, picked after the fact, is above any constant for large N: only a single one can show it.
    """
    if found is None:
        return "Whether the supernets know more than a constant cannot be told: no criterion came to a cell of its own."
    if found.over_prior is None:
        return (
            "Whether the supernets know more than that convolutions beat skips cannot be told: the constant control "
            "prior was not run."
        )
    every = [c for c in contrasts(records, dataset, "prior", each=False) if c.control is None]
    sure = [c.selector for c in every if c.mean.above(0) and c.corrected_p <= SIGNIFICANT]
    gain, low, high = found.over_prior, *found.tries
    if sure:
        verdict = f"The supernets know more than a constant, as {listed(sure)} {'shows' if len(sure) == 1 else 'show'}"
    else:
        verdict = "That the supernets know more than a constant is not shown"
    tries = f"{_from_to((low, high))} distinct {'cell' if high == 1 else 'cells'}"
    sentence = (
        f"{verdict}: the best cell that any criterion chose, picked after the fact for each supernet out of {tries}, "
        f"is {_off(gain)} the constant prior's{_mean_of(gain)}"
    )
    top = next((c for row in standings.ranked[:1] for c in every if c.selector == row.name), None)
    if top is not None:
        equals = sum(row.rank == standings.ranked[0].rank for row in standings.ranked)
        place = "the best ranked criterion" if equals == 1 else f"one of {equals} that rank best"
        sentence += f"; {top.selector}, {place}, is {_off(top.mean)} it"
    if found.luck is not None:
        sentence += f"; the best of as many random cells would be as good with a probability p {_is(found.luck)}"
    return sentence + "."


def _against_magnitude(records: Sequence[RunRecord], dataset: str, standings: Standings) -> list[str]:
    """The best and the last criterion by rank, on the same supernets as the reference."""
    against = {c.selector: c for c in contrasts(records, dataset, each=False) if c.control is None}
    ranked = [row for row in standings.ranked if row.name in against]
    if not ranked:
        return []
    top, last = ranked[0], ranked[-1]
    settings = f" and one of {len(top.variants) + 1} settings of its method" if top.variants else ""
    seen_afterwards = f", the best of {len(ranked)} other criteria by rank, picked after the fact{settings},"
    sentence = (
        f"From the same supernets {top.name}{seen_afterwards if len(ranked) > 1 else ''} got {_gain(against[top.name])}"
    )
    if len(ranked) > 1:
        sentence += f"; the last of them, {last.name}, got {_gain(against[last.name])}"
    return [sentence + "."]


def _gain(entry: Contrast) -> str:
    """By how much a selector is off the reference, on how many supernets, and how sure that is."""
    test = entry.permutation
    if entry.n == 1:
        return f"a cell {_off(entry.mean)} {entry.reference}'s (one supernet)"
    if test.smallest_p > SIGNIFICANT:
        sure = f"p {_is(test.p)}, and no lower than {test.smallest_p:.2g} is possible"
    else:
        sure = f"p {_is(test.p)}, p {_is(entry.corrected_p)} corrected for all criteria"
    return (
        f"a cell {_off(entry.mean)} {entry.reference}'s (better on {entry.better}, equal on {entry.equal}, worse on "
        f"{entry.worse} of {entry.n}; {sure})"
    )


def _passed_through(run: RunData, dataset: str) -> list[str]:
    """On how many supernets a better argmax cell was there before."""
    records = [record for _, record in run.of(dataset)]
    metric = main_metric(records, dataset)
    searches = [s for s in run.searches if s.dataset == dataset and not uniform(run.epochs.get(s, ()))]
    paths: list[Trajectory] = [trajectory(search, run.epochs.get(search, ()), metric) for search in searches]
    losses = [loss for path in paths if (loss := path.lost) is not None]
    if not losses:
        return []
    lost = sum(loss >= PASSED_THROUGH for loss in losses)
    sentence = (
        f"On {lost} of {count(len(losses), 'supernet')} the search had passed through an argmax cell at least "
        f"{PASSED_THROUGH:g} point better than its last one"
    )
    return [sentence + (f" (by up to {max(losses):.2f} points)." if lost else ".")]


def _against_random(records: Sequence[RunRecord], dataset: str) -> list[str]:
    """Of how many criteria the interval is above each blind control, of those that chose from its supernets."""
    parts = []
    for control in BLIND:
        rows = [c for c in contrasts(records, dataset, control, each=False) if c.control is None and c.n > 1]
        if rows:
            better = [entry.selector for entry in rows if entry.mean.above(0)]
            who = f" ({listed(better)})" if 0 < len(better) <= 3 else ""
            parts.append(f"{control} for {len(better)} of {count(len(rows), 'criterion', 'criteria')}{who}")
    if not parts:
        return []
    told = f"lies above zero over the control {listed(parts)}"
    return [f"The interval of the mean gain, not corrected for the number of criteria, {told}."]


def _not_ranked(standings: Standings, known: Sequence[RunRecord]) -> list[str]:
    """What is shown and not ranked, with the reason."""
    rows = [f"{row.name} ({row.reason})" for row in standings.rows if row.rank is None and row.reason]
    sentences = [f"Not ranked: {listed(rows)}."] if rows and standings.ranked else []
    seeds: dict[str, set[int]] = {}
    for record in known:
        seeds.setdefault(record.searcher, set()).add(record.seed)
    single = [name for name, mine in seeds.items() if len(mine) == 1]
    if single and len(seeds) > 1:
        sentences.append(f"Of {listed(single)} there is one seed only, which ranks nothing.")
    return sentences


def _undecided(done: Sequence[RunRecord]) -> list[str]:
    """The choices that were none."""
    rows = [f"{record.selector} with {record.searcher}" for record in done if undecided(record)]
    if not rows:
        return []
    each = [f"{name} ({count(rows.count(name), 'supernet')})" for name in dict.fromkeys(rows)]
    return [f"Left out, for the best scores are equal on every edge and tell nothing: {listed(each)}."]


# Words.


def _from_to(numbers: Sequence[int]) -> str:
    """`3`, or `2 to 3`."""
    low, high = min(numbers), max(numbers)
    return f"{low} to {high}" if low < high else str(high)


def _all(n: int) -> str:
    return "the only one" if n == 1 else f"all {n}"


def _range(estimate: Estimate, scale: float = 1.0, digits: int = 2, sign: str = "") -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    low, high = (f"{scale * bound:{sign}.{digits}f}" for bound in (estimate.low, estimate.high))
    return f" ({low} to {high})"


def _points(estimate: Estimate) -> str:
    return f"{estimate.value:.2f} points{_range(estimate)}"


def _off(estimate: Estimate) -> str:
    """`0.48 points (-0.71 to -0.24) below`."""
    if estimate.value == 0:
        return f"as good{_range(estimate, sign='+')} as"
    side = "above" if estimate.value > 0 else "below"
    return f"{abs(estimate.value):.2f} points{_range(estimate, sign='+')} {side}"


def _percent(estimate: Estimate) -> str:
    return f"{100 * estimate.value:.0f} %{_range(estimate, scale=100, digits=0)}"


def _is(p: float) -> str:
    return f"= {p:.2g}" if p >= 1e-4 else "< 0.0001"


def _mean_of(estimate: Estimate) -> str:
    """What the numbers before it are."""
    return ", one supernet" if estimate.n == 1 else f", means over {estimate.n} supernets with 95 % intervals"
