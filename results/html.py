"""A report as one web page: no network, no script but its own, figures and tables inside it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from dartboard.benchmark.space import Cell
from dartboard.results.document import (
    Block,
    Document,
    Drawn,
    Entry,
    Items,
    Matrix,
    Plot,
    Section,
    Square,
    Table,
    Text,
    plots,
)
from dartboard.results.markdown import source
from dartboard.results.style import COLOURS, OPERATION_COLOURS, shade_colour
from dartboard.results.svg import arrow_heads, cell_symbol, cell_use, inline_svg

EMBEDDED: Final = 1_000_000
"""Tables of so many characters or more are not copied into the page: its links lead to the files beside it."""

NARROW: Final = 5
"""A matrix of so many columns or fewer has others beside it on a wide screen."""

SHORT: Final = 24
"""Entries of a table with so many characters or fewer stay on one line."""

LONG: Final = 120
"""Those of more have room of their own."""

WORDY: Final = 20
"""Heads of more characters do not stack their words: an unseen column would make a narrow screen's head tall."""

BREAKABLE: Final = 20
"""Names with more characters may break after a sign in them."""

_NUMBER: Final = re.compile(r"-|[+\-−]?[\d,]+(\.\d+)?( ± [\d.]+)?[kMG]?( \[.*\])?( %)?( / \d+)?")


def html(document: Document, tables: Mapping[str, str]) -> str:
    """The page of a report, with its CSV files inside."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(autoescape=True, trim_blocks=False, undefined=jinja2.StrictUndefined)
    kinds: dict[str, type] = {"text": Text, "items": Items, "table": Table, "plot": Plot, "matrix": Matrix}
    environment.tests |= {name: lambda block, kind=kind: isinstance(block, kind) for name, kind in kinds.items()}
    environment.tests["numeric"] = lambda entry: isinstance(entry, str) and _NUMBER.fullmatch(entry) is not None
    environment.tests["wordy"] = lambda head: len(head) > WORDY
    environment.tests["long"] = lambda entry: isinstance(entry, str) and len(entry) > LONG
    environment.tests["short"] = lambda entry: isinstance(entry, str) and len(entry) <= SHORT and ", " not in entry
    filters: dict[str, Callable[[Any], str]] = {
        "inline": lambda text: Markup(_inline(text)),
        "entry": lambda entry: Markup(_entry(entry)),
        "glance": _glance,
        "shade": lambda square: Markup(_shade(square)),
        "origin": lambda plot: Markup(_inline(source(plot))),
    }
    environment.filters |= filters
    drawn = {
        plot.name: [
            Markup(inline_svg(figure, f"{plot.name}-{page}", plot.alt)) for page, figure in enumerate(plot.draw(1), 1)
        ]
        for plot in _shown(document)
    }
    return environment.from_string(_file("page.html.j2")).render(
        document=document,
        drawn=drawn,
        style=Markup(_variables() + _file("page.css")),
        script=Markup(_file("page.js")),
        symbols=Markup(arrow_heads() + "".join(map(cell_symbol, _cells(document)))),
        csv={name: Markup(text.replace("</", "<\\/")) for name, text in tables.items() if len(text) < EMBEDDED},
    )


def _file(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _variables() -> str:
    """The colours of figures and cells, on paper and in the dark."""
    modes = []
    for dark in (False, True):
        known = {name: there if dark else name for name, there in COLOURS.items()}
        lines = "".join(f"--k{name[1:]}: {colour}; " for name, colour in known.items())
        operations = "".join(f".o{o} {{ --o: {known[colour]}; }}\n" for o, colour in OPERATION_COLOURS.items())
        modes.append(f":root {{ {lines}}}\n{operations}")
    return f"{modes[0]}@media screen and (prefers-color-scheme: dark) {{\n{modes[1]}}}\n"


def _shown(document: Document) -> Iterator[Plot]:
    """The figures that are drawn: a matrix is a table."""
    matrices = {block.plot.name for block in _blocks(document.sections) if isinstance(block, Matrix)}
    return (plot for plot in plots(document.sections, but="markdown") if plot.name not in matrices)


def _blocks(blocks: tuple[Block, ...]) -> Iterator[Block]:
    """Everything on the page, in order."""
    for block in blocks:
        if isinstance(block, Section):
            if block.only != "markdown":
                yield from _blocks(block.blocks)
        else:
            yield block


def _cells(document: Document) -> list[Cell]:
    """The distinct cells that are drawn in tables."""
    tables = [block for block in _blocks(document.sections) if isinstance(block, Table)]
    entries = [entry for table in tables for row in table.rows for entry in row]
    return list(dict.fromkeys(entry.cell for entry in entries if isinstance(entry, Drawn)))


def _inline(text: str) -> str:
    """The three marks of a document's texts; everything else is escaped."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
    escaped = re.sub(r"`([^`]+)`", lambda match: f"<code>{_whole_flags(match[1])}</code>", escaped)
    escaped = re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", escaped)
    marked = re.sub(r"\[([^\]]+)\]\(([\w.-]+)\)", r'<a href="\2">\1</a>', escaped)
    return "".join(part if part.startswith("<") else _breakable(part) for part in re.split(r"(<[^>]+>)", marked))


def _whole_flags(command: str) -> str:
    """A command whose options stay on one line."""
    return re.sub(r"(?<!\S)--[\w-]+", r'<span class="flag">\g<0></span>', command)


def _breakable(text: str) -> str:
    """Long names, as of a plug-in with options, may break after the signs in them."""
    return re.sub(
        rf"[^\s&;]{{{BREAKABLE},}}", lambda match: re.sub(r"[@=,_/](?=.)", r"\g<0><wbr>", match.group()), text
    )


def _entry(entry: Entry) -> str:
    return cell_use(entry.cell) if isinstance(entry, Drawn) else _inline(entry)


def _glance(section: Section) -> str:
    """The class that puts matrices side by side where the first one is narrow."""
    matrices = [block for block in section.blocks if isinstance(block, Matrix)]
    return " glance" if len(matrices) > 1 and len(matrices[0].columns) <= NARROW else ""


def _shade(square: Square) -> str:
    if square.hatched:
        return ' class="hatched mark"'
    if square.shade is None:
        return ' class="mark none"'
    colour, ink = shade_colour(square.shade, square.tone)
    narrow = ' class="mark"' if square.tone == "bad" else ""
    return f'{narrow} style="background:{colour};color:{ink}"'
