"""The pages say what the code does: links, commands, options, files, tables of methods, fields, examples."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import fields
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from dartboard.harness.cli import COMMANDS, cli
from dartboard.results.samples import sample_run

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES += sorted((ROOT / "studies").rglob("README.md"))
ROOMS = ("benchmark", "searchers", "selectors", "results", "harness", "grids", "studies", "tests")

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def read(page: Path | str) -> str:
    """The text of a page, by its path from the checkout's root."""
    return (ROOT / page).read_text(encoding="utf-8")


def section(page: Path | str, title: str) -> str:
    """What stands under a heading of a page, up to the next of its rank."""
    found = re.search(rf"^(#+) {re.escape(title)}\n(.*?)(?=^\1 |\Z)", read(page), flags=re.DOTALL | re.MULTILINE)
    assert found, f"{page} has no section {title!r}"
    return found[2]


def block(page: Path | str, language: str, title: str) -> str:
    """The code block of a language under a heading."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", section(page, title), flags=re.DOTALL | re.MULTILINE)
    return str(found)


def named_in_rows(text: str) -> set[str]:
    """What the first cells of a text's tables name."""
    cells = re.findall(r"^\| (`.+?) \|", text, flags=re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def anchors(page: Path) -> set[str]:
    """The places of a page that a link can lead to."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def commands() -> dict[str, set[str]]:
    """The options of every command and sub-command, by its words."""
    context, found = click.Context(cli), {}
    todo: list[tuple[str, click.Command | None]] = [(name, cli.get_command(context, name)) for name in COMMANDS]
    for words, command in todo:
        assert command is not None
        found[words] = {word for parameter in command.params for word in (*parameter.opts, *parameter.secondary_opts)}
        if isinstance(command, click.Group):
            todo += [(f"{words} {name}", command.get_command(context, name)) for name in command.list_commands(context)]
    return found


OPTIONS = commands()


def calls(text: str) -> Iterator[tuple[str, list[str]]]:
    """Each `dartboard ...` of a text: the command's words, and the options it is given."""
    for line in re.findall(r"\bdartboard ((?!-)[^\n`|#]*)", text.replace("\\\n", " ")):
        words = line.split()
        name = " ".join(words[: 2 if " ".join(words[:2]) in OPTIONS else 1])
        yield name, re.findall(r"(?<!\S)--[a-z][a-z-]*", line)


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link names a file that is there, and a heading of it."""
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text(encoding="utf-8")):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), f"links to {link}"
        assert not anchor or anchor in anchors(target), f"links to {link}"


@each_page
def test_commands_have_the_options_that_pages_give_them(page: Path) -> None:
    """Every `dartboard COMMAND --option` can be typed, and every other option belongs to some command."""
    text = page.read_text(encoding="utf-8")
    for name, options in calls(text):
        if name in OPTIONS:
            assert set(options) <= OPTIONS[name] | {"--help"}, f"dartboard {name} {options}"
        else:
            assert not options, f"dartboard {name}"
    known = set().union(*OPTIONS.values()) | {"--help"}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z]", text)) <= known


@each_page
def test_files_that_pages_name_are_there(page: Path) -> None:
    """Every `room/file` in code marks exists, but for those that a page tells its reader to write."""
    for name in re.findall(rf"`((?:{'|'.join(ROOMS)})/[\w./-]+)`", page.read_text(encoding="utf-8")):
        assert (ROOT / name).exists() or "my_" in name, name


def test_the_readme_knows_every_command() -> None:
    """Each command of the command line stands in the README."""
    assert [name for name in OPTIONS if f"dartboard {name}" not in read(README)] == []


def test_the_readme_lists_every_method() -> None:
    """Its two tables have each name of the catalogues once and no other, and its first paragraph counts them."""
    from dartboard.searchers._catalogue import SEARCHERS
    from dartboard.selectors._catalogue import SELECTORS

    family = {"shuffled-magnitude", "shuffled-leave-one-out"}  # stand in the row of `shuffled:NAME`
    assert named_in_rows(section(README, "Search methods")) == {entry.name for entry in SEARCHERS}
    told = {entry.name for entry in SELECTORS} - family | {"shuffled:NAME"}
    assert named_in_rows(section(README, "Selection criteria and controls")) == told
    criteria = sum(entry.control is None for entry in SELECTORS)
    text = " ".join(read(README).split())
    assert f"It has {len(list(SEARCHERS))} [search methods]" in text
    assert f"{criteria} [selection criteria and {len(list(SELECTORS)) - criteria} controls]" in text
    trained = sum(not entry.queries for entry in SEARCHERS)
    assert f"All {trained} methods that train a supernet" in text


def test_the_readme_counts_what_was_studied() -> None:
    """As many search methods as it says have records in studies/searchers."""
    lines = read("studies/searchers/run/records.jsonl").splitlines()
    studied = {json.loads(line)["searcher"] for line in lines}
    text = " ".join(read(README).split())
    assert f"All {len(studied)} methods that train a supernet have been run there" in text


def test_the_readmes_library_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """It prints a depth, an accuracy, a rank and a regret."""
    exec(compile(block(README, "python", "Where your own method goes"), "README.md", "exec"), {})
    depth, accuracy, rank, regret = map(float, capsys.readouterr().out.split())
    assert depth == 3  # 0 → 1 → 2 → 3
    assert 80 < accuracy < accuracy + regret < 100
    assert 1 < rank < 15_625


def test_the_grids_example_is_a_grid() -> None:
    """docs/grids.md shows every key of a grid once, in one that is accepted."""
    from dartboard.harness.grid import KEYS, Overrides, resolve
    from dartboard.searchers._catalogue import SEARCHERS
    from dartboard.selectors._catalogue import SELECTORS

    content = tomllib.loads(block("docs/grids.md", "toml", "Grids"))
    assert set(content) == set(KEYS)
    grid = resolve(content, Overrides(), searchers=SEARCHERS, selectors=SELECTORS)
    assert [method.label for method in grid.searchers] == ["darts-v1", "fast"]


def test_the_protocols_table_is_the_code_s() -> None:
    """docs/grids.md has a row for each field of a protocol."""
    from dartboard.searchers._training import Protocol

    assert named_in_rows(section("docs/grids.md", "Options of the protocol")) == {f.name for f in fields(Protocol)}


def test_the_presets_table_is_the_code_s() -> None:
    """docs/grids.md has a row for each preset."""
    from dartboard.harness.presets import PRESETS

    assert named_in_rows(section("docs/grids.md", "Presets")) == set(PRESETS)


def test_every_csv_of_a_report_is_documented() -> None:
    """docs/report.md has a row for each table that a report can have, and no other."""
    from dartboard.results.contents import ABOUT

    assert named_in_rows(section("docs/report.md", "The tables")) == set(ABOUT)


def test_every_csv_of_the_truth_is_documented() -> None:
    """docs/truth.md has a row for each table that `dartboard truth --out` writes."""
    written = re.findall(r'^ +"(\w+\.csv)":', read("results/truth_report.py"), flags=re.MULTILINE)
    assert named_in_rows(section("docs/truth.md", "The tables")) == set(written)


def test_every_figure_of_a_report_is_documented() -> None:
    """Each name that the code gives a figure has its row in docs/report.md, and each row its figure."""
    patterns = named_in_rows(section("docs/report.md", "How to read it"))
    sources = [read(path) for path in (ROOT / "results").glob("*.py")]
    names = {name for text in sources for name in re.findall(r'^ +name=(?:names\.free\()?f"([a-z-]+-)\{', text, re.M)}
    assert len(names) > 10
    assert {name for name in names if not any(fnmatch(name, pattern) for pattern in patterns)} == set()
    assert {pattern for pattern in patterns if pattern.removesuffix("*") not in names} == set()


def keys_of(value: Any) -> set[str]:
    """The names of a JSON object, or of the objects of a list."""
    return {key for entry in (value if isinstance(value, list) else [value]) for key in entry}


def printed(*arguments: object) -> Any:
    """What a command prints as JSON."""
    result = CliRunner().invoke(cli, [*map(str, arguments), "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def every(calls: Iterable[Iterable[object]]) -> set[str]:
    """The names of all objects that these commands print."""
    return {key for call in calls for key in keys_of(printed(*call))}


@pytest.mark.parametrize(
    ("page", "arguments", "more"),
    [
        ("docs/tables.md", [("lookup", "#123", "--table", "analog"), ("table", "info", "analog")], {"unused_columns"}),
        ("docs/images.md", [("data", "info", "digits")], set()),
        ("docs/truth.md", [("truth", "--table", "analog")], set()),
    ],
)
def test_json_is_documented_field_by_field(page: str, arguments: list[tuple[str, ...]], more: set[str]) -> None:
    """The tables under the page's heading JSON name what the commands print, and nothing else."""
    assert named_in_rows(section(page, "JSON")) == every(arguments) | more


def test_json_of_lists_is_documented() -> None:
    """docs/grids.md names each field of `dartboard list KIND --json`."""
    text = section("docs/grids.md", "JSON")
    for kind in ("searchers", "selectors", "diagnostics", "datasets", "tables", "presets", "grids"):
        assert keys_of(printed("list", kind)) <= set(re.findall(r"`(\w+)`", text)), kind


def test_json_of_a_status_is_as_its_example(tmp_path: Path) -> None:
    """docs/records.md shows the names of `dartboard status --json`."""
    (example,) = re.findall(r"^```json\n(\{\"name\".*?)^```$", read("docs/records.md"), flags=re.DOTALL | re.MULTILINE)
    shown, told = json.loads(example), printed("status", sample_run(tmp_path, seeds=[0]))
    assert keys_of(shown) == keys_of(told)
    assert keys_of(shown["searches"]) == keys_of(told["searches"])
    for name in ("ok", "failed", "left"):
        assert shown[name] == sum(search[name] for search in shown["searches"])


def test_records_are_documented_and_nothing_else() -> None:
    """docs/records.md has a row for each field of a record, of an epoch and of grid.json, and for no other."""
    from dartboard.results.records import EpochRecord, RunHeader, RunRecord

    flat = "accuracy_<dataset>_<split>_<epochs>"
    for kind, title in ((RunRecord, "records.jsonl"), (EpochRecord, "epochs.jsonl"), (RunHeader, "grid.json")):
        names = {field.name for field in fields(kind)}
        if "accuracies" in names:
            names = names - {"accuracies"} | {flat}
        assert named_in_rows(section("docs/records.md", title)) == names, title
