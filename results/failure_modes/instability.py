"""Another epoch, or another seed, and another result."""

from __future__ import annotations

from statistics import stdev

import numpy as np

from dartboard.results.aggregate import trajectory
from dartboard.results.failure_modes.case import NO_MIXTURE, Case, Found, decided, no_epochs, told, untold
from dartboard.results.failure_modes.thresholds import Thresholds
from dartboard.results.judged import uniform
from dartboard.results.records import SearchKey
from dartboard.results.wording import count


def lost_cell(case: Case, limits: Thresholds) -> Found:
    """The right cell was passed through and lost. Magnitude: by how many points of true accuracy.

    The best argmax cell of any epoch is at least `lost` (1 point) above the last epoch's. Source: [OWN]; that rankings
    change between adjacent epochs is reported for weight sharing (Zhang et al. 2020, quoted).
    """
    path = trajectory(SearchKey(case.searcher, case.dataset, case.seed or 0), case.epochs, case.metric)
    if path.lost is None:
        return no_epochs()
    if uniform(case.epochs):
        return untold(*NO_MIXTURE)
    best, falls = int(np.argmax(path.accuracies)), -np.diff(path.accuracies)
    evidence = f"{path.accuracies[best]:.2f} % after epoch {path.epochs[best]}, {path.accuracies[-1]:.2f} % at the end"
    if len(falls) and falls.max() > 0:
        at = int(falls.argmax())
        evidence += f"; steepest fall {falls[at]:.2f} points, from epoch {path.epochs[at]} to {path.epochs[at + 1]}"
    return told(path.lost >= limits.lost, path.lost, evidence)


def seed_instability(case: Case, limits: Thresholds) -> Found:
    """Another seed, another result. Magnitude: the standard deviation of true accuracy over seeds (n - 1), in points.

    It is at least `spread` (1 point). Source: [OWN]; in the official table the accuracies of cells with four
    convolutions have a standard deviation of 1.15 points, with five of 0.87 and with six of 0.60, so that a method that
    just avoids collapse stays about there.
    """
    done = decided(case)
    accuracies = [record.accuracy for record in done if record.accuracy is not None]
    if len(accuracies) < 2:
        return untold(f"{count(len(accuracies), 'seed')} came to a cell", "two seeds or more")
    evidence = (
        f"{min(accuracies):.2f} to {max(accuracies):.2f} % over {len(accuracies)} seeds, standard deviation "
        f"{stdev(accuracies):.2f} points, {count(len({record.cell for record in done}), 'distinct cell')}"
    )
    return told(stdev(accuracies) >= limits.spread, stdev(accuracies), evidence)
