"""What a report consists of, before it is Markdown or a web page.

Texts know three marks: `code`, **strong** and [a link](file). Everything else in them is plain, whatever a user named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from dartboard.benchmark.space import Cell

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Items:
    """A list of sentences."""

    items: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A cell in a table: its picture on a web page, its notation in Markdown."""

    cell: Cell


Entry = str | Drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table; on a web page its heads sort it."""

    head: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]
    title: str = ""  # what it shows, for those who hear the page


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A figure with the sentence that it shows, its data, and its name on the command line."""

    name: str  # of its files, without page and ending
    takeaway: str
    how: str  # how to read it
    alt: str
    tables: tuple[str, ...]  # the CSV files that hold its data
    draw: Callable[[int], list[Figure]]  # pages of at most so many panels in a row


@dataclass(frozen=True, slots=True, kw_only=True)
class Square:
    """A square of a matrix."""

    lines: tuple[str, ...] = ()  # none: blank
    shade: float | None = None  # from 0, pale, to 1, dark
    tone: Literal["good", "bad"] = "good"  # of the dark
    hatched: bool = False
    about: str = ""  # said where a pointer rests on it


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of a matrix."""

    label: str
    squares: tuple[Square, ...]
    ruled: bool = False  # a rule above it


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """Rows by columns of shaded squares: a table on a web page; in Markdown the figure, or a table."""

    plot: Plot
    corner: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A heading and what is under it."""

    title: str
    blocks: tuple[Block, ...]
    folded: bool = False  # closed at first on a web page
    only: Literal["page", "markdown"] | None = None  # for one of both alone


Block = Text | Items | Table | Plot | Matrix | Section


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A report."""

    title: str
    question: str
    answer: tuple[str, ...]
    notice: str  # what must be known before a number is read
    sections: tuple[Section, ...]


def plots(blocks: tuple[Block, ...], *, but: Literal["page", "markdown"]) -> Iterator[Plot]:
    """Every figure under `blocks`, in order, but for those of one form of the report alone."""
    for block in blocks:
        if isinstance(block, Plot):
            yield block
        elif isinstance(block, Matrix):
            yield block.plot
        elif isinstance(block, Section) and block.only != but:
            yield from plots(block.blocks, but=but)
