"""`dartboard truth` written down: truth.md with figures (PNG) and the tables behind it (CSV).

The same table gives the same bytes of Markdown and CSV.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from dartboard.benchmark import strength as st
from dartboard.benchmark.errors import InputError
from dartboard.benchmark.space import EDGES, OPERATIONS, SPACE_SIZE, Cell, E, O
from dartboard.results.csv_files import csv_text
from dartboard.results.style import EDGE_LABELS
from dartboard.results.truth import PERCENTILES, STRENGTHS, Choice, Spread, Truth, sentences
from dartboard.results.wording import markdown_table, metric_words

LISTED: Final = 20
"""At most so many choices of a kind are listed in truth.md."""


def write_truth(found: Truth, out: Path) -> list[str]:
    """Write truth.md, its figures and its tables to `out`, over earlier ones; return the files' names.

    Raises:
        InputError: when `out` cannot be written to.
    """
    from dartboard.results.panels import save
    from dartboard.results.truth_figures import truth_figures

    figures = truth_figures(found)
    files = truth_tables(found)
    text = render_truth(found, list(figures))
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, figure in figures.items():
            save(figure, out / name)
        for name, content in {**files, "truth.md": text}.items():
            (out / name).write_text(content, encoding="utf-8", newline="")
    except OSError as error:
        raise InputError(f"cannot write to {str(out)!r}: {error.strerror}; give another --out") from None
    return ["truth.md", *figures, *files]


def truth_tables(found: Truth) -> dict[str, str]:
    """The tables behind truth.md as CSV, by file name; rounded to six decimals."""
    strengths = (
        {"source": source, "target": target, "operation": OPERATIONS[o]}
        | {name: _rounded(strength[e, o]) for name, strength in found.strengths.items()}
        for e, (target, source) in enumerate(EDGES)
        for o in range(O)
    )
    return {
        "strength.csv": csv_text(strengths),
        "variance.csv": csv_text(
            {
                "space": space,
                "edges": " ".join(f"{EDGES[e][1]}-{EDGES[e][0]}" for e in edges),
                "order": len(edges),
                "variance": _rounded(variance),
                "share": _rounded(variance / (sum(variances.values()) or 1)),
            }
            for space, variances in found.variances.items()
            for edges, variance in variances.items()
        ),
        "choices.csv": csv_text(
            {"rule": choice.rule, "cell": str(choice.cell), "accuracy": _rounded(choice.accuracy)}
            | {"regret": _rounded(choice.regret), "rank": choice.rank, "orders": choice.orders}
            for choice in (*found.edgewise, *found.sequential, *found.optima)
        ),
        "shares.csv": csv_text(
            {"rule": entry.rule, "cell": str(entry.cell), "accuracy": _rounded(entry.accuracy), "game": game}
            | {f"share_{source}_{target}": _rounded(x) for (target, source), x in zip(EDGES, share, strict=True)}
            for entry in found.shares
            for game, share in entry.games.items()
        ),
        "distribution.csv": csv_text(
            {"grouping": grouping, "group": spread.label, "cells": spread.cells, "mean": _rounded(spread.mean)}
            | {"std": _rounded(spread.std), "low": _rounded(spread.low)}
            | {f"p{percent}": _rounded(value) for percent, value in spread.percentiles.items()}
            | {"high": _rounded(spread.high)}
            for grouping, spreads in found.spreads.items()
            for spread in spreads
        ),
    }


def render_truth(found: Truth, figures: Sequence[str]) -> str:
    """truth.md, which shows the figures of these names in their order."""
    strength, variance, distribution, groups = (f"![{name.removesuffix('.png')}]({name})" for name in figures)
    official = "" if found.table.official else " **It is not the official NAS-Bench-201 table.**"
    sections = [
        f"# True operation strength: {metric_words(str(found.metric))}",
        f"From all {SPACE_SIZE:,} cells of the table `{found.table.name}`: {found.table.title}.{official}",
        "## The answer",
        "\n".join(f"- {sentence}" for sentence in sentences(found)),
        "## How strong is an operation on an edge?",
        strength,
        "Each square is over the 3,125 cells with that operation on that edge: their mean; the best of them; the mean "
        "of what the operation adds when a cell's edges are put into an empty cell one by one in random order; and the "
        "mean of its share in their regret, where the edges not yet chosen are the best there are. Numbers: "
        "strength.csv.",
        _agreement_table(found),
        "## How much do edges depend on each other?",
        variance,
        "The share of the variance in accuracy that is due to one edge alone (the diagonal) and to the interaction of "
        "two. Numbers: variance.csv.",
        _variance_table(found),
        "## What does greed come to?",
        _choices_table(
            found.edgewise, {f"edge by edge, {name}": f"edge by edge, by {words}" for name, words in STRENGTHS.items()}
        ),
        "Edge after edge, each by the mean over the cells that agree with the edges before it; all 720 orders:",
        _choices_table(found.sequential[:LISTED], {}),
        f"The {len(found.optima)} cells that no other operation on a single edge would improve:",
        _choices_table(found.optima[:LISTED], {}),
        f"At most {LISTED} of each are shown; choices.csv has all.",
        "## What is a cell's accuracy made of?",
        "Each edge's share, by three games (docs/truth.md): *random* adds up to the accuracy less the space's mean, "
        "*best* to the negative regret, *none* to the accuracy less the empty cell's. In points. Numbers: shares.csv.",
        _shares_table(found),
        "## How are the accuracies distributed?",
        distribution,
        _percentile_table(found.spreads["space"]),
        groups,
        "A box holds the middle half of the cells, its line is the median, its whiskers go from the 5th to the 95th "
        "percentile, and the diamond is the mean. On a path: the most on any path from input to output that holds no "
        "none. Numbers: distribution.csv.",
        _group_table(found),
        "## Files",
        "\n".join(f"- [{name}]({name})" for name in (*figures, *truth_tables(found))),
    ]
    return "\n\n".join(sections) + "\n"


def _agreement_table(found: Truth) -> str:
    head = ("Spearman's rank correlation of", *EDGE_LABELS, "mean")
    rows = [
        (f"{one} and {other}", *(f"{r:.2f}" for r in values), f"{values.mean():.2f}")
        for (one, other), values in found.agreement.items()
    ]
    return markdown_table(head, rows)


def _variance_table(found: Truth) -> str:
    head = (
        "share of the variance (%)",
        *(f"{n} edges" if n > 1 else "one edge" for n in range(1, E + 1)),
        "std (points)",
    )
    rows = [
        (space, *(f"{100 * x:.1f}" for x in st.shares_by_order(shares)), f"{np.sqrt(sum(shares.values())):.2f}")
        for space, shares in found.variances.items()
    ]
    return markdown_table(head, rows)


def _choices_table(choices: Sequence[Choice], words: Mapping[str, str]) -> str:
    ordered = any(choice.orders for choice in choices)
    head = (*(["rule"] if words else []), *(["orders"] if ordered else []), "cell", "accuracy (%)", "regret", "rank")
    rows = [
        (
            *([words[choice.rule]] if words else []),
            *([str(choice.orders)] if ordered else []),
            _cell(choice.cell),
            *(f"{choice.accuracy:.2f}", f"{choice.regret:.2f}", f"{choice.rank:,}"),
        )
        for choice in choices
    ]
    return markdown_table(head, rows)


def _shares_table(found: Truth) -> str:
    rows = [
        (
            *((f"{entry.rule} {_cell(entry.cell)}", f"{entry.accuracy:.2f}") if not n else ("", "")),
            game,
            *(f"{x:+.2f}" for x in share),
        )
        for entry in found.shares
        for n, (game, share) in enumerate(entry.games.items())
    ]
    return markdown_table(("cell", "accuracy (%)", "game", *EDGE_LABELS), rows)


def _percentile_table(spreads: Sequence[Spread]) -> str:
    head = ("percentile", "cells", "mean", "lowest", *map(str, PERCENTILES), "highest")
    rows = [
        (
            *(spread.label, f"{spread.cells:,}"),
            *(f"{x:.2f}" for x in (spread.mean, spread.low, *spread.percentiles.values(), spread.high)),
        )
        for spread in spreads
    ]
    return markdown_table(head, rows)


def _group_table(found: Truth) -> str:
    rows = [
        (
            *(grouping if not n else "", spread.label, f"{spread.cells:,}"),
            *(f"{x:.2f}" for x in (spread.mean, spread.std, spread.low, spread.percentiles[50], spread.high)),
        )
        for grouping, spreads in found.spreads.items()
        if grouping != "space"
        for n, spread in enumerate(spreads)
    ]
    return markdown_table(("by", "", "cells", "mean", "std", "lowest", "median", "highest"), rows)


def _cell(cell: Cell) -> str:
    return "`" + str(cell).replace("|", "\\|") + "`"


def _rounded(value: float) -> float:
    return round(float(value), 6)
