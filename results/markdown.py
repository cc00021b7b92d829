"""A report as Markdown, for a forge's pages: its figures are files beside it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from dartboard.results.document import Block, Document, Drawn, Entry, Items, Matrix, Plot, Section, Table, Text
from dartboard.results.wording import markdown_table


def markdown(document: Document, pictures: Mapping[str, Sequence[str]], files: Iterable[str]) -> str:
    """The report, with the file names of each figure's pages in `pictures` and of everything beside it at the end."""
    parts = [f"# {_escape(document.title)}", _escape(document.question)]
    parts += ["\n".join(f"- {_escape(sentence)}" for sentence in document.answer)]
    parts += [f"**{_escape(document.notice)}**"] if document.notice else []
    for section in document.sections:
        parts += _section(section, 2, pictures)
    parts += ["\n".join(f"- [{name}]({name})" for name in files)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _section(section: Section, level: int, pictures: Mapping[str, Sequence[str]]) -> list[str]:
    if section.only == "page":
        return []
    parts = [f"{'#' * level} {_escape(section.title)}"]
    for block in section.blocks:
        parts += _section(block, level + 1, pictures) if isinstance(block, Section) else _block(block, pictures)
    return parts


def _block(block: Block, pictures: Mapping[str, Sequence[str]]) -> list[str]:
    match block:
        case Text():
            return [_escape(block.text)]
        case Items():
            return ["\n".join(f"- {_escape(item)}" for item in block.items)]
        case Table():
            return [
                markdown_table([_cell(name) for name in block.head], [[_cell(x) for x in row] for row in block.rows])
            ]
        case Plot():
            return _plot(block, pictures.get(block.name, ()))
        case Matrix():
            shown = pictures.get(block.plot.name, ())
            return _plot(block.plot, shown) + ([] if shown else [_matrix(block)])
        case Section():
            return _section(block, 3, pictures)


def _plot(plot: Plot, pictures: Sequence[str]) -> list[str]:
    links = [f"![{_escape(plot.alt)}]({name})" for name in pictures]
    return [f"**{_escape(plot.takeaway)}**", _escape(plot.how), *links, _escape(source(plot))]


def source(plot: Plot) -> str:
    """Where a figure's numbers are, and the command that makes it."""
    numbers = " and ".join(f"[{name}]({name})" for name in plot.tables)
    return f"Numbers: {numbers}. Made by `dartboard report DIR --only {plot.name}`."


def _matrix(matrix: Matrix) -> str:
    rows = [[_cell(row.label), *(_cell("; ".join(square.lines)) for square in row.squares)] for row in matrix.rows]
    return markdown_table([_cell(name) for name in (matrix.corner, *matrix.columns)], rows)


def _cell(entry: Entry) -> str:
    text = f"`{entry.cell}`" if isinstance(entry, Drawn) else entry
    return _escape(text).replace("|", "\\|")


def _escape(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().replace("<", "&lt;")
