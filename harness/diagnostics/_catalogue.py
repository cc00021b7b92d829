"""The diagnostics by name. To add one: write its file (a `measure`, and a `Config` for options) and its line here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final, Literal

from dartboard.benchmark.errors import InputError, unknown

Subject = Literal["mixture", "epoch", "supernet"]
"""What is measured. `mixture`: the mixing weights of each epoch; no image is looked at, so that it can be made up for
at any time. `epoch`: the supernet as each epoch left it. `supernet`: the trained supernet, once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    """One diagnostic by the name that users write."""

    name: str
    subject: Subject
    cost: str  # of one measurement, in words
    summary: str  # one line

    @property
    def cheap(self) -> bool:
        """Whether `cheap` means it, too."""
        return self.subject != "supernet"

    def load(self) -> Any:
        """Its module: with options `Config` and `measure(subject, config)`, without any `measure(subject)` alone."""
        return import_module(f"dartboard.harness.diagnostics.{self.name.replace('-', '_')}")


DIAGNOSTICS: Final[tuple[Diagnostic, ...]] = (
    Diagnostic(
        name="mixture",
        subject="mixture",
        cost="no image",
        summary="mixing weights, logits and entropy of each edge",
    ),
    Diagnostic(
        name="argmax-cell",
        subject="mixture",
        cost="no image",
        summary="the cell of the largest weights: truth, depth, width",
    ),
    Diagnostic(
        name="operations",
        subject="mixture",
        cost="no image",
        summary="the share of `none`, skip, convolutions and pooling",
    ),
    Diagnostic(
        name="growth",
        subject="mixture",
        cost="no image",
        summary="edges that turned on or off, preference for width",
    ),
    Diagnostic(
        name="cell-agreement",
        subject="epoch",
        cost="2 batches, gradients",
        summary="how far the network's cells agree on the gradient",
    ),
    Diagnostic(
        name="operation-cost",
        subject="epoch",
        cost="2 batches, gradients",
        summary="each operation's cost, training against held-out",
    ),
    Diagnostic(
        name="alpha-hessian",
        subject="supernet",
        cost="256 images, 31 backward",
        summary="spectrum of the validation Hessian in the logits",
    ),
    Diagnostic(
        name="landscape",
        subject="supernet",
        cost="256 images x 49",
        summary="rise of the loss along random directions of logits",
    ),
    Diagnostic(
        name="discretisation-gap",
        subject="supernet",
        cost="5 epochs, 5 passes",
        summary="what the argmax cell loses against the mixture",
    ),
    Diagnostic(
        name="rank-correlation",
        subject="supernet",
        cost="256 images x 200",
        summary="do inherited weights rank cells as the table does",
    ),
)


def choose(asked: str | Sequence[str]) -> tuple[Diagnostic, ...]:
    """The diagnostics that `asked` means, in the catalogue's order: `cheap`, `all`, `none`, names, or several.

    Args:
        asked: words between commas, or a list of words.

    Raises:
        InputError: with the nearest word, when one is unknown, or there is none, or `none` stands with others.
    """
    words = [word.strip() for word in asked.split(",")] if isinstance(asked, str) else list(asked)
    names = [diagnostic.name for diagnostic in DIAGNOSTICS]
    for word in words:
        if not isinstance(word, str) or word not in (*names, "cheap", "all", "none"):
            raise unknown("diagnostic", str(word), ("cheap", "all", "none", *names))
    if not words or ("none" in words and len(words) > 1):
        raise InputError(f"diagnostics are `cheap`, `all`, `none` or names; got {asked!r}")
    return tuple(d for d in DIAGNOSTICS if d.name in words or "all" in words or ("cheap" in words and d.cheap))
