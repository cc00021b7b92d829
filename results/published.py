"""The published NAS-Bench-201 numbers, with where each was read and how sure that is.

The numbers are facts of the literature in `published.csv` beside this file, one a line. Few of them were read in the
paper itself: the mark in the column `evidence` says where, and one that is from memory is never shown without it.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

EVIDENCE: Final[Mapping[str, str]] = {
    "[paper]": "read in the paper's own text",
    "[issue]": "an issue thread of the method's repository",
    "[V-log]": "recomputed from logs or data files in a public repository",
    "[V-text]": "read in a third party's text or table",
    "[2nd]": "a later paper or site that quotes the number",
    "authors' README": "read in the authors' README",
    "no mark": "in our notes without a mark",
    "[mem]": "from memory, unverified",
    "[MEM]": "from memory, unverified",
}
"""What each mark of the column `evidence` means."""

FROM_MEMORY: Final = ("[mem]", "[MEM]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Under what conditions a number came about; None where that is not known.

    Two numbers are comparable where all of these are known and the same.
    """

    searched_on: str | None = None  # the data set of the search: "cifar10", ...
    train_images: int | None = None  # of the search, both halves together
    image_size: int | None = None  # pixels a side
    epochs: int | None = None  # of the search
    recipe: str | None = None  # of training: a key of `published_comparison.RECIPES`, and what departs from it
    batch_norm: str | None = None  # of the search cells: "running" statistics are kept, or the "batch"'s taken
    none_allowed: bool | None = None  # whether an edge may be `none`
    halves: str | None = None  # how the images are split: "contiguous", "random", "all images", ...
    channels: int | None = None  # C of the supernet
    cells_per_stage: int | None = None  # N of the supernet


WHOLE: Final[Mapping[str, tuple[int, int]]] = {
    "cifar10": (50_000, 32),
    "cifar100": (50_000, 32),
    "imagenet16-120": (151_700, 16),
}
"""Images and pixels a side of the training sets, all of which the published searches split."""

QUERY_SEARCHES: Final = ("random-search", "regularised-evolution", "svge-bo")
"""Searches that train single cells: their budget is a number of cells, and nothing in a `Setting` describes them."""

OWN_SELECTOR: Final[Mapping[str, str]] = {
    "spos": "one-shot-best",
    "rsps": "one-shot-best",
    **dict.fromkeys(QUERY_SEARCHES, "queries"),
}
"""The selector by which a method itself chooses, where that is not `magnitude`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One published number: the mean true accuracy of the cells that a method chose."""

    method: str  # our name for it, in the catalogue or not
    selector: str | None  # None: the method's own
    variant: str  # what tells this row from others of the method; "" where nothing has to
    dataset: str  # that the cells were looked up on: "cifar10", "cifar100", "imagenet16-120"
    split: str  # "valid" or "test"
    mean: float  # percent
    std: float | None  # as printed; None where none is
    n: int | None  # runs; None where not known
    setting: Setting
    source: str
    table: str  # its number in the source; "" where there is none, or it is not known
    arxiv: str  # id of the source; "" where it has none or we do not know it
    evidence: str  # a key of `EVIDENCE`
    note: str

    @property
    def from_memory(self) -> bool:
        """Whether the number is unverified: never to be shown without saying so."""
        return self.evidence in FROM_MEMORY

    @property
    def metric(self) -> str:
        """The metric of our tables that it is: CIFAR-10's validation accuracy is that of `cifar10-valid`."""
        dataset = "cifar10-valid" if (self.dataset, self.split) == ("cifar10", "valid") else self.dataset
        return f"{dataset}/{self.split}/200"

    @property
    def cited(self) -> str:
        """Source, table and mark in a line."""
        arxiv = f"arXiv:{self.arxiv}" if self.arxiv else ""
        return f"{', '.join(part for part in (self.source, self.table, arxiv) if part)} ({self.evidence})"


@cache
def read_published() -> tuple[Published, ...]:
    """All published numbers, in the file's order.

    Raises:
        ValueError: when the file that ships with the package is not what it should be.
    """
    with Path(__file__).with_name("published.csv").open(encoding="utf-8", newline="") as file:
        return tuple(_published(row) for row in csv.DictReader(file, strict=True))


def _published(row: Mapping[str, str]) -> Published:
    if row["evidence"] not in EVIDENCE:
        raise ValueError(f"no mark of evidence: {row['evidence']!r}")
    searched_on = row["searched_on"] or None
    images, size = WHOLE[searched_on] if searched_on else (None, None)
    return Published(
        **{name: row[name] for name in ("method", "variant", "dataset", "split", "source", "table", "arxiv")},
        selector=row["selector"] or None,
        mean=float(row["mean"]),
        std=float(row["std"]) if row["std"] else None,
        n=_whole(row["n"]),
        setting=Setting(
            searched_on=searched_on,
            train_images=images,
            image_size=size,
            epochs=_whole(row["epochs"]),
            recipe=row["recipe"] or None,
            batch_norm=row["batch_norm"] or None,
            none_allowed={"yes": True, "no": False, "": None}[row["none_allowed"]],
            halves=row["halves"] or None,
            channels=_whole(row["channels"]),
            cells_per_stage=_whole(row["cells_per_stage"]),
        ),
        evidence=row["evidence"],
        note=row["note"],
    )


def _whole(text: str) -> int | None:
    return int(text) if text else None


def published_of(method: str, selector: str | None = None) -> tuple[Published, ...]:
    """The published numbers of a method by our name, as chosen by `selector` (None: the method's own)."""
    own = OWN_SELECTOR.get(method, "magnitude")
    wanted = None if selector in (None, own) else selector
    return tuple(row for row in read_published() if (row.method, row.selector) == (method, wanted))
