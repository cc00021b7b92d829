from __future__ import annotations

import ast
import dataclasses
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dartboard.benchmark.catalogue import Catalogue, Entry, check_options
from dartboard.benchmark.errors import InputError
from dartboard.harness.grid import Method
from dartboard.harness.prepare import prepare_query_search, prepare_searcher, prepare_selector
from dartboard.searchers import _catalogue as searchers_catalogue
from dartboard.selectors import _catalogue as selectors_catalogue

ROOT = Path(__file__).resolve().parents[1]
CATALOGUES = {"searchers": searchers_catalogue.SEARCHERS, "selectors": selectors_catalogue.SELECTORS}
KINDS = list(CATALOGUES)
ENTRIES = [pytest.param(kind, entry, id=entry.name) for kind in KINDS for entry in CATALOGUES[kind]]

# A file whose name is not that of its method, with the reason.
OTHER_FILE_NAMES = {"random": "uniform"}  # random.py would hide the standard library's module


def files(kind: str) -> set[str]:
    """The public modules of a folder of methods."""
    return {path.stem for path in (ROOT / kind).glob("*.py") if not path.stem.startswith("_")}


def module_of(entry: Entry) -> ModuleType:
    """The module of an entry's class."""
    import sys

    return sys.modules[entry.load().__module__]


@pytest.mark.parametrize("kind", KINDS)
def test_folder_and_catalogue_agree(kind: str) -> None:
    """Every public file of the folder has a line in the catalogue, and every line its file in the folder."""
    listed = {entry.place.partition(":")[0] for entry in CATALOGUES[kind]}
    assert listed == {f"dartboard.{kind}.{name}" for name in files(kind)}


@pytest.mark.parametrize("kind", KINDS)
def test_every_method_is_named_in_a_test(kind: str) -> None:
    """For each method's file some test file imports from it."""
    imported = set()
    for path in (ROOT / "tests").glob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == f"dartboard.{kind}":
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.removeprefix(f"dartboard.{kind}."))
    assert files(kind) - imported == set()


@pytest.mark.parametrize(("kind", "entry"), ENTRIES)
def test_an_entry_says_what_its_class_says(kind: str, entry: Entry) -> None:
    """A class's name is that of its file and of its entry without options, if it has one; control and more agree."""
    factory = entry.load()
    own = [e for e in CATALOGUES[kind] if e.place == entry.place and not e.options and not e.of]
    assert [e.name for e in own] in ([factory.name], [])
    assert entry in own or entry.options or entry.of
    stem = factory.name.partition(":")[0]  # of what is made of another method
    assert factory.__module__ == f"dartboard.{kind}." + OTHER_FILE_NAMES.get(stem, stem.replace("-", "_"))
    assert factory.__doc__
    assert factory.paper
    assert getattr(factory, "control", None) == entry.control
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", entry.name)
    assert "\n" not in entry.summary
    assert len(entry.summary) <= 100
    assert not entry.summary.endswith(".")
    assert entry.origin is None


@pytest.mark.parametrize(("kind", "entry"), ENTRIES)
def test_a_file_tells_its_source_and_how_it_differs(kind: str, entry: Entry) -> None:
    """A method's file tells its authors, the year and its differences from there; a control says that it is one."""
    text = " ".join((module_of(entry).__doc__ or "").split())
    if entry.control is None:
        year = re.search(r"\b(?:19|20)\d\d\b", entry.load().paper)
        assert year
        assert year[0] in text
        assert "Differences from" in text
    else:
        assert text.startswith("Control: ")


@pytest.mark.parametrize("entry", list(CATALOGUES["selectors"]), ids=lambda entry: entry.name)
def test_a_criterions_paper_can_be_found(entry: Entry) -> None:
    """A criterion names an arXiv number, or the venue where it has none; the file repeats the number."""
    if entry.control is None:
        paper, text = entry.load().paper, module_of(entry).__doc__ or ""
        numbers = re.findall(r"arXiv:\d{4}\.\d{5}\b", paper)
        assert numbers or re.search(r"\((NeurIPS|ICLR|ICML|CVPR|AAAI)\)", paper)
        assert all(number in text for number in numbers)


@pytest.mark.parametrize(("kind", "entry"), ENTRIES)
def test_an_entrys_options_build_a_configuration(kind: str, entry: Entry) -> None:
    """The options of an entry are fields of a frozen, documented configuration, which has defaults for the others."""
    method = Method(label=entry.name, entry=entry, options=entry.options)
    built: Any
    if entry.queries:
        built = prepare_query_search(method).search
    else:
        built = prepare_searcher(method) if kind == "searchers" else prepare_selector(method)
    config = built.config
    assert dataclasses.is_dataclass(config)
    assert type(config).__doc__
    assert not type(config).__doc__.startswith("Config(")  # what dataclasses write by themselves
    for name, value in entry.options.items():
        if name == "protocol":  # the name of a preset, resolved
            continue
        assert getattr(config, name, getattr(getattr(config, "protocol", None), name, None)) == value
    assert type(config).__dataclass_params__.frozen


@pytest.mark.parametrize(("kind", "entry"), ENTRIES)
def test_no_method_inherits_from_another(kind: str, entry: Entry) -> None:
    """A method's ancestors are its own file's, shared files' (with an underscore), or none of ours."""
    for ancestor in entry.load().__mro__[1:]:
        package, _, module = ancestor.__module__.rpartition(".")
        assert package != f"dartboard.{kind}" or module.startswith("_"), ancestor


def test_searchers_and_selectors_do_not_know_each_other() -> None:
    """No file of one folder imports from the other, nor from the floors above."""
    for kind, other in (("searchers", "selectors"), ("selectors", "searchers")):
        for path in (ROOT / kind).glob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                module = (node.module or "") if isinstance(node, ast.ImportFrom) else ""
                for banned in (other, "harness", "results"):
                    assert not module.startswith(f"dartboard.{banned}"), (path.name, module)


def test_a_catalogue_refuses_two_of_one_name() -> None:
    """The message names both parties by what brought them."""
    ours = Entry(name="one", place="somewhere:One", summary="one")
    theirs = dataclasses.replace(ours, place="elsewhere:One", origin="the package other 1.0")
    with pytest.raises(InputError) as refused:
        Catalogue("selector", [ours, theirs])
    assert str(refused.value) == (
        "two selectors are called 'one': one of Dartboard itself (somewhere:One), one of the package other 1.0"
    )


def test_a_catalogue_suggests_the_nearest_name() -> None:
    """An unknown name is quoted, with the nearest; entries come in their order."""
    entries = [Entry(name=name, place="somewhere:One", summary=name) for name in ("darts", "random", "alone")]
    catalogue = Catalogue("searcher", entries)
    assert list(catalogue) == entries
    assert catalogue["random"] is entries[1]
    with pytest.raises(InputError, match=r"unknown searcher 'dart'; did you mean 'darts'\? \(known: alone, darts, ran"):
        catalogue["dart"]


def test_a_defect_of_our_own_is_no_bad_input() -> None:
    """A built-in entry that leads nowhere raises as what it is; a plug-in's is told as bad input."""
    entry = Entry(name="one", place="dartboard.searchers.nowhere:One", summary="one")
    with pytest.raises(ModuleNotFoundError):
        entry.load()
    with pytest.raises(InputError, match=r"'one' of somebody is not at 'dartboard.searchers.nowhere:One': Module"):
        dataclasses.replace(entry, origin="somebody").load()


def test_options_are_checked_against_the_configurations_fields() -> None:
    """Known options pass, an unknown one is quoted with the nearest; a class without fields takes none."""

    @dataclasses.dataclass
    class Two:
        """Two fields."""

        interval: int = 0
        batches: int = 0

    @dataclasses.dataclass
    class NoFields:
        """None."""

    assert check_options(Two, {"batches": 3}, "mine") == {"batches": 3}
    with pytest.raises(InputError, match="unknown option of mine 'intervall'; did you mean 'interval'"):
        check_options(Two, {"intervall": 3}, "mine")
    with pytest.raises(InputError, match="mine has no options; got 'interval'"):
        check_options(NoFields, {"interval": 3}, "mine")


def test_types_that_only_a_type_checker_sees_check_nothing() -> None:
    """A configuration whose annotations name what is not there at run time, as a plug-in's may, takes its options."""

    class Local:
        """No name of the module."""

    @dataclasses.dataclass
    class Mine:
        """Two fields."""

        place: Local | None = None
        interval: int = 0

    assert check_options(Mine, {"interval": 3}, "mine") == {"interval": 3}
