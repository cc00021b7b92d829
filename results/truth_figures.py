"""The figures of `dartboard truth`. They compute nothing but the places of their marks."""

from __future__ import annotations

from typing import Final

import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from dartboard.benchmark.space import CONV3X3, NONE, POOL, SKIP, E, O, operation_counts
from dartboard.benchmark.strength import pair_shares
from dartboard.results.panels import heat, regret_axis
from dartboard.results.style import EDGE_LABELS, FAINT, INK, OPERATION_COLOURS, OPERATION_LABELS, styled
from dartboard.results.truth import PERCENTILES, SPACES, STRENGTHS, Spread, Truth
from dartboard.results.wording import metric_words

COLOURS: Final = {
    "skips": OPERATION_COLOURS[SKIP],
    "convolutions": OPERATION_COLOURS[CONV3X3],
    "pools": OPERATION_COLOURS[POOL],
    "nones": OPERATION_COLOURS[NONE],
}


def truth_figures(found: Truth) -> dict[str, Figure]:
    """All four, by file name, in the order in which truth.md shows them."""
    return {
        "strength.png": strengths(found),
        "variance.png": variances(found),
        "distribution.png": distribution(found),
        "groups.png": groups(found),
    }


@styled
def strengths(found: Truth) -> Figure:
    """A heat map for each strength: edges by operations."""
    figure = Figure(figsize=(11.0, 7.2), layout="constrained")
    figure.suptitle(f"Strength of an operation on an edge: {metric_words(str(found.metric))}", fontsize=10)
    panels = figure.subplots(2, 2)
    for axes, (name, words) in zip(panels.flat, STRENGTHS.items(), strict=True):
        values = found.strengths[name]
        texts = np.array([[f"{value:.2f}" for value in row] for row in values])
        norm = PowerNorm(0.5 if name == "shapley_none" else 1.0, values.min(), values.max())
        heat(axes, values, texts, norm=norm, label="points" if name.startswith("shapley") else "%")
        axes.set_title(words)
        axes.set_xticks(np.arange(O) + 0.5, list(OPERATION_LABELS.values()))
        axes.set_yticks(np.arange(E) + 0.5, EDGE_LABELS)
    return figure


@styled
def variances(found: Truth) -> Figure:
    """The shares of single edges and of pairs in the variance, for each space."""
    figure = Figure(figsize=(11.0, 4.2), layout="constrained")
    figure.suptitle(f"One edge (diagonal), two edges together: {metric_words(str(found.metric))}", fontsize=10)
    panels = figure.subplots(1, 2)
    matrices = {space: 100 * pair_shares(shares) for space, shares in found.variances.items()}
    norm = PowerNorm(0.7, 0.0, max(matrix.max() for matrix in matrices.values()) or 1.0)
    for axes, (space, matrix) in zip(panels, matrices.items(), strict=True):
        values = np.where(np.tri(E, dtype=bool), matrix, np.nan)
        texts = np.array([[f"{value:.1f}" for value in row] for row in matrix])
        heat(axes, values, texts, norm=norm, label="share of the variance (%)")
        axes.set_title(space)
        axes.tick_params(top=False, labeltop=False, labelbottom=True)
        axes.set_xticks(np.arange(E) + 0.5, [label.removeprefix("edge ") for label in EDGE_LABELS])
        axes.set_yticks(np.arange(E) + 0.5, EDGE_LABELS)
    return figure


@styled
def distribution(found: Truth) -> Figure:
    """How many of the cells are how near to the best one."""
    figure = Figure(figsize=(8.0, 4.2), layout="constrained")
    axes = figure.subplots()
    best = found.accuracies.max()
    bare = operation_counts(np.arange(len(found.accuracies)))[:, NONE] == 0
    lines = {SPACES[0]: ("-", found.accuracies), SPACES[1]: ((0, (5, 1.5)), found.accuracies[bare])}
    axes.axhline(50, color=FAINT, linewidth=1.0)
    for (space, (line, accuracies)), spread in zip(lines.items(), found.spreads["space"], strict=True):
        regrets = np.sort(best - accuracies)
        shares = 100 * np.arange(1, len(regrets) + 1) / len(regrets)
        label = f"{space}: {spread.cells:,}, median {spread.percentiles[50]:.2f} %"
        axes.step(regrets, shares, where="post", color=INK, linestyle=line, label=label)
    regret_axis(axes, "x", best, linear=0.1)
    axes.set(ylabel="share of the cells (%)", ylim=(-2, 102), title=metric_words(str(found.metric)))
    axes.set_xlabel(f"at most so many points below the best cell ({best:.2f} %)")
    axes.legend(loc="upper left")
    return figure


@styled
def groups(found: Truth) -> Figure:
    """The accuracies by what is in a cell: a box for each number of it."""
    figure = Figure(figsize=(11.0, 6.4), layout="constrained")
    figure.suptitle(metric_words(str(found.metric)), fontsize=10)
    best = float(found.accuracies.max())
    panels = figure.subplots(2, 3, sharey=True)
    spreads = {name: some for name, some in found.spreads.items() if name != "space"}
    for axes, (name, some) in zip(panels.flat, spreads.items(), strict=True):
        colour = COLOURS.get(name, FAINT)
        axes.bxp(
            [_box(spread, best) for spread in some],
            positions=range(len(some)),
            widths=0.62,
            showfliers=False,
            showmeans=True,
            patch_artist=True,
            boxprops={"facecolor": colour, "edgecolor": INK, "linewidth": 0.8, "alpha": 0.85},
            medianprops={"color": INK, "linewidth": 1.6},
            whiskerprops={"color": INK, "linewidth": 0.8},
            capprops={"color": INK, "linewidth": 0.8},
            meanprops={"marker": "D", "markersize": 4, "markerfacecolor": "white", "markeredgecolor": INK},
        )
        axes.set_xticks(range(len(some)), [spread.label for spread in some])
        axes.set_title(f"by the number of {name}")
    regret_axis(panels[0, 0], "y", best, linear=0.5)
    panels[0, 0].invert_yaxis()
    for axes in panels[:, 0]:
        axes.set_ylabel(f"points below the best cell ({best:.2f} %)")
    return figure


def _box(spread: Spread, best: float) -> dict[str, float]:
    """A box of regrets: what is high in accuracy is low in regret."""
    below = {percent: best - spread.percentiles[percent] for percent in PERCENTILES}
    return {
        "med": below[50],
        "q1": below[75],
        "q3": below[25],
        "whislo": below[95],
        "whishi": below[5],
        "mean": best - spread.mean,
    }
