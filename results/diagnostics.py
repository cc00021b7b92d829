"""What was measured of a supernet, besides what the search itself needs: records, and how they are written and read.

`searches/<key>/diagnostics.jsonl` holds one `DiagnosticRecord` a line, appended durably. Cheap diagnostics have one for
each epoch (of epoch k: of the supernet as epoch k left it); dear ones have one of the trained supernet, whose `epoch`
is None, and more where their option `every` asks for them. What each is, with its formula and source, stands in
docs/diagnostics.md and in its file in harness/diagnostics/. The names, and the keys of `values`; E = 6 edges, O = 5
operations, `null` where a number is not finite or does not exist; p (E, O) are the mixing weights, averaged over the
network's cells where each has its own; accuracies are in percent, losses and entropies in nats:

    mixture           of each epoch; no images
        mixture (E, O) p · logits (E, O) ln p less its mean over the edge's operations, null on an edge where a p is 0 ·
        entropy (E,) nats · relative_entropy (E,) 0 to 1, entropy/ln O · mean_relative_entropy ()
    argmax-cell       of each epoch; no images; accuracies are the table's, by `metric`
        metric str · allowed, no_none: each {cell str, accuracy, regret points, depth, conv_depth, width, connected,
        counts {operation: edges}} - `allowed`: the largest p of each edge; `no_none`: the largest but `none`'s
    operations        of each epoch; no images
        share {operation: mean p over the edges, 0 to 1} · edges {operation: edges that it is the argmax of} ·
        none (E,) p of `none` on each edge
    growth            of each epoch; no images
        on (E,) whether the argmax is not `none` · turned_on, turned_off: [edge, ...] since the epoch before ·
        first_on (E,) epoch | null · recovered (E,) times turned on so far, after having been off · flips (E,) changes
        so far · input_weight, inner_weight mean 1 - p_none over the three edges from the cell's input and the three
        others · width_preference their difference, above 0 where edges from the input are kept · expected_depth,
        expected_conv_depth, expected_width edges (width: as of `space.width`), of a cell whose operations are drawn
        from p
    cell-agreement    of each epoch; one batch of each half, with gradients
        train, valid: each {agreement Λ, -1 to 1 · norms (cells,) · cosines (cells,) to the
        mean direction of all cells · argmin (cells, E) the operation that each cell's gradient asks for}
    operation-cost    of each epoch; one batch of each half, with gradients
        train, valid: each {cost (E, O) ∂L/∂p, summed over the cells · edge_cost (E,) Σ_o p·cost · by_cell (cells, E)
        the same of each cell · none_gradient (E,) ∂L/∂(logit of none) · loss, entropy, excess = loss - entropy (means
        over the batch) · right, wrong: {images, loss, entropy} of the images classified so ·
        identity_error largest violation of the cost identities, relative, null with partial channels} ·
        edge_cost_gap (E,) valid less train
    alpha-hessian     of the trained supernet; validation images with second derivatives
        eigenvalues (E·O,) descending, of the Hessian of the validation loss in the logits · dominant the largest ·
        trace · negative how many are below -1e-6 of the largest size · null_error ‖H n‖/‖H‖ of the directions n that
        no softmax feels
    landscape         of the trained supernet; validation images
        radii (R,) lengths in logit space, from -max to max · loss (directions, R) · accuracy (directions, R) ·
        loss_here, accuracy_here · rise mean loss at the largest radius less loss_here · worst_rise the largest ·
        accuracy_drop mean, points · curvature (directions,) dᵀHd by the smallest radius
    discretisation-gap    of the trained supernet; the validation half, and 5 epochs of training a copy
        cell str, the argmax · tied edges whose largest p is shared, so that the first operation is taken ·
        accuracy_mixture, loss_mixture · accuracy_cell, loss_cell the same weights under the
        one-hot mixture · accuracy_re_estimated, loss_re_estimated the cell after its batch-norm statistics were taken
        anew · accuracy_tuned_1, loss_tuned_1, accuracy_tuned_5, loss_tuned_5 after so many epochs of tuning · gap,
        gap_re_estimated, gap_tuned_1, gap_tuned_5 points: accuracy_mixture less the accuracy of that name
    rank-correlation  of the trained supernet; a sample of cells on validation images
        metric str · cells how many · numbers (cells,) · inherited_accuracy, inherited_loss (cells,) · true_accuracy
        (cells,) · by_accuracy, by_loss: each {spearman, kendall (τ-b), sparse_kendall, upper_spearman (the truly better
        half only), best_true the true accuracy of the cell ranked first, regret points, within the sample}

A diagnostic that failed has an `error` and no values. No torch here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from dartboard.results.json_lines import append_line, keep_lines, read_latest, read_lines, to_json


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagnosticRecord:
    """One diagnostic of one supernet at one time."""

    name: str
    epoch: int | None  # from 1: as that epoch left the supernet; None: of the trained supernet
    values: Mapping[str, Any] = field(default_factory=dict)  # JSON values, by the keys above; {} where it failed
    images: int = 0  # pushed forward, gradient passes included
    gradient_images: int = 0  # images of which a gradient was taken
    diagnostic_seconds: float = 0.0  # a measurement
    error: str | None = None  # one line; None where it was measured


def diagnostics_path(search: Path) -> Path:
    """The file of a search folder's diagnostics."""
    return search / "diagnostics.jsonl"


def append_diagnostic(search: Path, record: DiagnosticRecord) -> None:
    """Add a diagnostic to a search's folder, durably."""
    append_line(diagnostics_path(search), to_json(record))


def read_diagnostics(search: Path) -> list[DiagnosticRecord]:
    """The diagnostics of a search's folder, in the file's order; of one name and epoch, the last line counts.

    Raises:
        InputError: with the file and line, when a line before the last is malformed.
    """
    rows = read_latest(diagnostics_path(search), DiagnosticRecord, lambda record: (record.name, record.epoch))
    return [record for _, record in rows]


def keep_diagnostics(search: Path, epochs: int) -> None:
    """Drop what was measured after epoch `epochs`, atomically: a checkpoint of that epoch goes on from there."""
    path = diagnostics_path(search)
    rows = read_lines(path, DiagnosticRecord)
    kept = {number for number, record in rows if record.epoch is None or record.epoch <= epochs}
    if len(kept) < len(rows):
        keep_lines(path, kept.__contains__)


def by_epoch(records: Iterable[DiagnosticRecord], name: str) -> dict[int, Mapping[str, Any]]:
    """The values of a cheap diagnostic by epoch, ascending; those that failed are left out."""
    found = {r.epoch: r.values for r in records if r.name == name and r.epoch is not None and r.error is None}
    return dict(sorted(found.items()))


def none_predictions(records: Iterable[DiagnosticRecord]) -> tuple[int, int]:
    """How often the cost of an edge foretold whether the logit of `none` rises on it in the next epoch.

    By S. Xie et al., AISTATS 2021, arXiv:2009.01272, it does where the held-out derivative in that logit is negative.

    Returns:
        The pairs of edge and epoch in which it went as foretold, and all of which both are known.
    """
    records = list(records)
    costs, mixtures = by_epoch(records, "operation-cost"), by_epoch(records, "mixture")
    right = known = 0
    for epoch in costs.keys() & mixtures.keys() & {later - 1 for later in mixtures}:
        now, then = (mixtures[k]["logits"] for k in (epoch, epoch + 1))
        for edge, derivative in enumerate(costs[epoch]["valid"]["none_gradient"]):
            before, after = now[edge][0], then[edge][0]
            if None not in (derivative, before, after) and derivative and before != after:
                known += 1
                right += (derivative < 0) == (after > before)
    return right, known


def of_trained(records: Iterable[DiagnosticRecord], name: str) -> Mapping[str, Any] | None:
    """The values of a dear diagnostic, or None where it was not measured, or failed."""
    return next((r.values for r in records if r.name == name and r.epoch is None and r.error is None), None)


class Cost(NamedTuple):
    """What a diagnostic cost, over all that was measured of it."""

    name: str
    measured: int  # records, the failed ones included
    failed: int
    images: int  # pushed forward, gradient passes included
    gradient_images: int  # images of which a gradient was taken
    seconds: float  # a measurement


def total_costs(records: Iterable[DiagnosticRecord]) -> list[Cost]:
    """One row for each diagnostic, in the order in which they first appear."""
    rows: dict[str, Cost] = {}
    for r in records:
        sofar = rows.get(r.name, Cost(r.name, 0, 0, 0, 0, 0.0))
        rows[r.name] = Cost(
            name=r.name,
            measured=sofar.measured + 1,
            failed=sofar.failed + (r.error is not None),
            images=sofar.images + r.images,
            gradient_images=sofar.gradient_images + r.gradient_images,
            seconds=sofar.seconds + r.diagnostic_seconds,
        )
    return list(rows.values())


def read_costs(folder: Path) -> list[Cost]:
    """What the diagnostics of all searches of a run folder cost."""
    searches = sorted(path.parent for path in (folder / "searches").glob("*/diagnostics.jsonl"))
    return total_costs(record for search in searches for record in read_diagnostics(search))
