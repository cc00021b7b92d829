"""The sentence over each figure, computed from the numbers that it shows. They describe; they do not test."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from dartboard.benchmark.space import OPERATIONS, Cell
from dartboard.results.aggregate import PASSED_THROUGH, Chosen
from dartboard.results.blame import Blame, splits
from dartboard.results.board import Board
from dartboard.results.judged import REFERENCE, undecided, uniform
from dartboard.results.records import EpochRecord, SearchKey
from dartboard.results.statistics import Estimate, Ranking
from dartboard.results.style import OPERATION_LABELS
from dartboard.results.wording import amount, count, estimated, listed


def heat_map(board: Board) -> str:
    """The best square of the criteria, and what magnitude has beside it."""
    squares = {key: m for key, m in board.middles.items() if key[1] not in board.controls}
    several = {key: middle for key, middle in squares.items() if middle.n > 1} or squares
    if not several:
        return "No criterion came to a cell."
    searcher, selector = max(several, key=lambda key: several[key].value)
    best = several[searcher, selector]
    seen = f", the best of {len(several)} squares, picked after the fact," if len(several) > 1 else ""
    sentence = f"{selector} with {searcher}{seen} has {_percent(best)} over {count(best.n, 'supernet')}"
    reference = board.middles.get((searcher, REFERENCE))
    if reference is not None and selector != REFERENCE:
        sentence += f"; {REFERENCE} has {_percent(reference)} on the same search method"
    return sentence + "."


def selections(board: Board) -> str:
    """On how many supernets another criterion found a better cell than magnitude, and by how much."""
    found = [split for split in splits(board.records, board.dataset) if split.selector == REFERENCE]
    others = [split for split in found if split.criteria > 1]
    if not others:
        return f"There is no supernet on which {REFERENCE} and another criterion both chose."
    gains = [split.selection for split in others]
    better = sum(gain > 0 for gain in gains)
    if not better and len(gains) == 1:
        return f"On the one supernet no other criterion chose a better cell than {REFERENCE}."
    if not better:
        return f"On none of {len(gains)} supernets did another criterion choose a better cell than {REFERENCE}."
    size = f"{max(gains):.2f} points better"
    if len(gains) > 1:
        size = f"in the median {statistics.median(gains):.2f} points better, {max(gains):.2f} at most"
    over = count(len(gains), "supernet")
    return f"On {better} of {over} some other criterion chose a better cell than {REFERENCE}: {size}."


def costs(board: Board) -> str:
    """The cheapest criterion near the best one."""
    known = [row for row in board.rows if (row.searcher, row.selector) in board.middles]  # the others are tied
    rows = [row for row in known if row.control is None and row.accuracy and row.selection_images]
    pooled: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        if row.selection_images is not None:
            worth = board.middles[row.searcher, row.selector].value
            pooled.setdefault(row.selector, []).append((worth, row.selection_images.mean))
    most = max(len(values) for values in pooled.values())
    means = {
        name: (statistics.fmean(worth for worth, _ in values), statistics.fmean(images for _, images in values))
        for name, values in pooled.items()
        if len(values) == most
    }
    top = max(means, key=lambda name: means[name][0])
    near = [name for name, (worth, _) in means.items() if worth >= means[top][0] - 1.0]
    cheap = min(near, key=lambda name: means[name][1])
    trained = [row.search_images.mean for row in rows if row.search_images and row.search_images.mean]
    share = f", {100 * means[cheap][1] / statistics.fmean(trained):.0f} % of what training took" if trained else ""
    worth, images = means[cheap]
    if cheap == top:
        return (
            f"{top} has the best cells, {worth:.2f} %, and no cheaper criterion comes within one point of it: "
            f"{amount(round(images))} images{share if images else ''}."
        )
    return (
        f"Of the criteria within one point of the best one ({top}, {means[top][0]:.2f} %), {cheap} is the cheapest: "
        f"{worth:.2f} % for {amount(round(images))} images{share if images else ''}."
    )


def distributions(board: Board) -> str:
    """How many cells of magnitude, and of the criterion with the fewest, are below the space's median."""
    below: dict[str, tuple[int, int]] = {}
    for name in board.selectors:
        mine = [r for r in board.records if r.selector == name and not undecided(r)]
        known = [record.percentile for record in mine if record.percentile is not None]
        if known and name not in board.controls:
            below[name] = sum(percentile < 50 for percentile in known), len(known)
    if not below:
        return "No criterion came to a cell whose place in the space is known."
    parts = []
    for name in dict.fromkeys([REFERENCE, min(below, key=lambda n: (below[n][0] / below[n][1], -below[n][1]))]):
        if name in below:
            bad, n = below[name]
            parts.append(f"{bad} of {count(n, 'cell')} of {name}")
    return f"Below the space's median cell are {listed(parts)}{' (the fewest)' if len(parts) > 1 else ''}."


def trajectories(board: Board) -> str:
    """How many searches end collapsed and since when, and how many lost a better cell."""
    collapses = board.collapses
    starts = [start for start in collapses.values() if start is not None]
    losses = [loss for run in board.trajectories if (loss := run.lost) is not None]
    if not losses:
        return "No epochs are recorded."
    lost = sum(loss >= PASSED_THROUGH for loss in losses)
    first = f" (from epoch {min(starts)} at the earliest)" if starts else ""
    most = f", by up to {max(losses):.2f} points" if lost else ""
    return (
        f"The argmax cell ends collapsed on {len(starts)} of {count(len(collapses), 'supernet')}{first}; on {lost} of "
        f"{len(losses)} the search had passed through a cell at least {PASSED_THROUGH:g} point better than its last "
        f"one{most}."
    )


def mixtures(searches: Sequence[Sequence[EpochRecord]]) -> str:
    """Which operations have the largest weights in the end."""
    told = [epochs for epochs in searches if not uniform(epochs)]
    n = len(told)
    if not n:
        return "The mixing weights are equal on every edge in the end."
    edges = [0.0] * len(OPERATIONS)
    for epochs in told:
        for operation in Cell.parse(epochs[-1].cell).operations:
            edges[operation] += 1 / n
    ordered = sorted(range(len(edges)), key=lambda operation: -edges[operation])
    parts = [f"{OPERATION_LABELS[o]} on {edges[o]:.3g}" for o in ordered if edges[o]]
    over = "" if n == 1 else f", on average over {count(n, 'supernet')}"
    return f"Of the six edges the last epoch's largest weight is that of {listed(parts)}{over}."


def landscapes(found: Mapping[SearchKey, Mapping[str, Any]]) -> str:
    """How much the loss rises."""
    rises = [values["rise"] for values in found.values() if values.get("rise") is not None]
    if not rises:
        return "No rise of the loss is known."
    radius = max(max(values["radii"]) for values in found.values())
    over = count(len(rises), "supernet")
    return (
        f"At a distance of {radius:.3g} the validation loss is {statistics.median(rises):+.3f} nats off its value at "
        f"the trained architecture (median over {over}; {min(rises):+.3f} to {max(rises):+.3f})."
    )


def rank_scatters(found: Mapping[SearchKey, Mapping[str, Any]]) -> str:
    """How well inherited weights rank cells."""
    taus = [v["by_accuracy"]["kendall"] for v in found.values() if v["by_accuracy"].get("kendall") is not None]
    if not taus:
        return "No rank correlation is known."
    spread = f", {min(taus):.2f} to {max(taus):.2f}" if len(taus) > 1 else ""
    return (
        f"Inherited weights rank the sampled cells with Kendall's τ = {statistics.median(taus):.2f} (1 is the "
        f"table's own order, 0 is chance; median over {count(len(taus), 'supernet')}{spread})."
    )


def most_chosen(first: Chosen) -> str:
    """How often criteria chose the `first` of all chosen cells."""
    if not first.by_criteria:
        return "No criterion chose a cell of its own."
    worth = "" if first.accuracy is None else f": {first.accuracy:.2f} %"
    return f"The cell that criteria chose most often they chose {count(first.by_criteria, 'time')}{worth}."


def critical_differences(ranking: Ranking, names: Sequence[str]) -> str:
    """Whether the ranks differ at all, and which the best one is not told apart from."""
    over = count(ranking.n, "supernet")
    if ranking.p >= ranking.alpha:
        return (
            f"Friedman's test does not tell the {ranking.k} apart on {over} (p = {ranking.p:.2g}): no order is claimed."
        )
    near = next((clique for clique in ranking.cliques if 0 in clique), (0,))
    beaten = [names[place] for place in range(ranking.k) if place not in near]
    told = f"it is told apart from {listed(beaten)}" if beaten else "it is told apart from none of the others"
    return (
        f"{names[0]} ranks first on average ({ranking.ranks[0]:.2f} of {ranking.k}) over {over}; "
        f"{told} (Friedman's p = {ranking.p:.2g}, Nemenyi's critical difference {ranking.critical_difference:.2f})."
    )


def blames(entries: Sequence[Blame]) -> str:
    """Magnitude's regret in its two parts."""
    if not entries:
        return "No criterion came to a cell."
    entry = next((e for e in entries if e.selector == REFERENCE), entries[0])
    if not entry.divisible:
        return f"{entry.selector} is the only criterion, so that its regret of {estimated(entry.regret)} has no parts."
    share = f" ({100 * entry.share.value:.0f} % of it)" if entry.share is not None else ""
    return (
        f"Of {entry.selector}'s mean regret of {estimated(entry.regret)} points, {entry.selection.value:.2f} are the "
        f"selection's{share}, and {entry.supernet.value:.2f} no criterion got out of the supernet."
    )


def _percent(middle: Estimate) -> str:
    return estimated(middle).replace(" [", " % [") if middle.known else f"{estimated(middle)} %"
