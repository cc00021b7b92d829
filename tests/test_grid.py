"""Grids: read, overridden, and refused with one clear line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dartboard.benchmark.errors import InputError
from dartboard.harness.grid import Grid, Overrides, builtin_grids, parse_seeds, read_grid
from dartboard.searchers._catalogue import SEARCHERS
from dartboard.selectors._catalogue import SELECTORS

MINIMAL = 'searchers = ["darts-v1"]\nselectors = ["magnitude"]\n'


def read(folder: Path, text: str, **overrides: Any) -> Grid:
    """The grid of a file that holds `text`."""
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return read_grid(str(path), Overrides(**overrides), searchers=SEARCHERS, selectors=SELECTORS)


@pytest.mark.parametrize(
    ("given", "expected"),
    [("0-3", (0, 1, 2, 3)), ("7", (7,)), ("0, 2,5-6", (0, 2, 5, 6)), (4, (4,)), ([3, 1], (3, 1))],
)
def test_seeds_are_read_in_every_form(given: Any, expected: tuple[int, ...]) -> None:
    """A number, a list, a range and a mixture of them give the seeds in the order written."""
    assert parse_seeds(given) == expected


@pytest.mark.parametrize(
    "given", ["", "a", "3-1", "-1", "1--2", "0,0", "0-2,1", "0-9999999999", [], [1.5], [-1], [True], True]
)
def test_seeds_that_cannot_be_used_are_quoted(given: Any) -> None:
    """Words, empty or negative or reversed or repeated seeds raise an InputError that quotes them."""
    with pytest.raises(InputError, match="seeds are") as caught:
        parse_seeds(given)
    assert repr(given) in str(caught.value) or repr([given]) in str(caught.value)


def test_a_minimal_grid_takes_the_laptop_presets_sizes(tmp_path: Path) -> None:
    """A grid that names a searcher and a selector only has the laptop preset, digits, seed 0, and the file's name."""
    grid = read(tmp_path, MINIMAL)
    assert (grid.name, grid.preset, grid.seeds) == ("mine", "laptop", (0,))
    assert [d.label for d in grid.datasets] == ["digits"]
    assert (grid.channels, grid.cells_per_stage) == (8, 1)
    assert grid.images == {}
    assert grid.at_most == {"image_size": 16, "train_images": 6400, "valid_images": 6400}
    assert grid.searchers[0].options["architecture_learning_rate"] == 3e-3


def test_what_the_grid_says_comes_before_the_preset_and_the_method_before_both(tmp_path: Path) -> None:
    """Options go preset < [search] < [searcher.NAME] < --set."""
    text = (
        MINIMAL
        + "[search]\nepochs = 7\nbatch_size = 8\n[searcher.darts-v1]\nbatch_size = 9\n[images]\ntrain_images = 5\n"
    )
    grid = read(tmp_path, text)
    options = grid.searchers[0].options
    assert (options["epochs"], options["batch_size"], options["architecture_learning_rate"]) == (7, 9, 3e-3)
    assert grid.images == {"train_images": 5}
    assert grid.at_most == {"image_size": 16, "valid_images": 6400}
    over = read(tmp_path, text, settings=("searcher.darts-v1.batch_size=10", "search.protocol=autodl"))
    assert over.searchers[0].options["batch_size"] == 10
    assert over.searchers[0].options["protocol"] == "autodl"


def test_a_label_may_name_another_setting_of_a_method(tmp_path: Path) -> None:
    """`[searcher.LABEL] method = NAME` runs one method under two labels with options of their own."""
    text = (
        'searchers = ["darts-v1", "fast"]\nselectors = ["magnitude"]\n[searcher.fast]\nmethod = "darts-v1"\n'
        "architecture_learning_rate = 0.1\n"
    )
    plain, fast = read(tmp_path, text).searchers
    assert (fast.label, fast.name, fast.options["architecture_learning_rate"]) == ("fast", "darts-v1", 0.1)
    assert plain.options["architecture_learning_rate"] == 3e-3


def test_all_names_every_selector_with_the_options_of_its_name(tmp_path: Path) -> None:
    """`selectors = ["all"]` is the whole catalogue, each entry with the options that its name stands for."""
    grid = read(tmp_path, 'searchers = ["darts-v1"]\nselectors = ["all"]\n')
    assert [m.label for m in grid.selectors] == [entry.name for entry in SELECTORS]
    assert {m.label: dict(m.options) for m in grid.selectors}["magnitude-no-none"] == {"exclude_none": True}


def test_the_command_line_puts_its_own_lists_in_place(tmp_path: Path) -> None:
    """Searchers, selectors, data sets, seeds, preset and table of the command line replace the grid's."""
    grid = read(
        tmp_path,
        MINIMAL,
        preset="smoke",
        searchers=("darts-v2",),
        selectors=("prior", "random"),
        datasets=("some/pack.npz",),
        seeds="5",
        table="analog",
    )
    assert [m.label for m in grid.searchers] == ["darts-v2"]
    assert [m.label for m in grid.selectors] == ["prior", "random"]
    assert [(d.label, d.source) for d in grid.datasets] == [("pack", "some/pack.npz")]
    assert (grid.seeds, grid.preset, grid.table) == ((5,), "smoke", "analog")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x =", "not TOML"),
        ('selectors = ["magnitude"]', "names no searcher"),
        ('searchers = ["darts-v1"]', "names no selector"),
        (MINIMAL + 'preset = "laptoop"', "unknown preset 'laptoop'; did you mean 'laptop'"),
        (MINIMAL + "sed = 3", "unknown grid key 'sed'; did you mean 'seeds'"),
        (MINIMAL + "name = 3", "'name' has the wrong type: 3; it is a text"),
        (MINIMAL + "seeds = 1.5", "'seeds' has the wrong type: 1.5; it is a text or a whole number or a list"),
        (MINIMAL + 'name = "../x"', "name can be that of a folder; got '../x'"),
        (MINIMAL + 'name = ""', "name can be that of a folder; got ''"),
        (MINIMAL + "datasets = []", "names no data set"),
        (MINIMAL + 'datasets = ["a/x.npz", "b/x.npz"]', "two data sets 'x', 'a/x.npz' and 'b/x.npz': give one a name"),
        (MINIMAL + '[dataset.mine]\npath = "x.npz"', "a data set that the grid does not name"),
        (MINIMAL + 'datasets = ["x"]\n[dataset.x]\npath = 3', "holds a path only; got {'path': 3}"),
        (MINIMAL + "[supernet]\nchanels = 4", "unknown key of \\[supernet\\] 'chanels'; did you mean 'channels'"),
        (MINIMAL + "[supernet]\nchannels = 0", "channels is a whole number of at least 1; got 0"),
        (MINIMAL + "[images]\nimage_size = true", "image_size is a whole number of at least 1; got True"),
        ('searchers = ["dart-v1"]\nselectors = ["magnitude"]', "unknown searcher 'dart-v1'; did you mean 'darts-v1'"),
        ('searchers = ["darts-v1", "darts-v1"]\nselectors = ["magnitude"]', "names the searcher 'darts-v1' twice"),
        (MINIMAL + "[selector.other]\nx = 1", "options of a selector that the grid does not name"),
        (MINIMAL + "[selector]\nmagnitude = 1", "holds options; got 1"),
        ("searchers = [1]\nselectors = ['magnitude']", "holds names; got 1"),
        (MINIMAL + 'datasets = ["digits", "digits"]', "names a data set twice"),
        (MINIMAL + "datasets = [1]", "datasets holds names or paths"),
        (MINIMAL + "[selector]\nperturbation = 3", "holds options; got 3"),
        (MINIMAL + "[dataset.digits]\npth = 'x'", "holds a path only"),
        (MINIMAL + 'datasets = ["a b"]', "label has letters, digits"),
        (MINIMAL + "[thresholds]\nskip = 5", "unknown threshold 'skip'; did you mean 'skips'"),
        (MINIMAL + "[thresholds]\nskips = 4.5", "threshold skips is a whole number of at least 0; got 4.5"),
    ],
)
def test_a_grid_that_cannot_be_used_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    """Whatever is wrong is named, with its value, in a single line."""
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_thresholds_are_the_grids_and_the_command_lines(tmp_path: Path) -> None:
    """A grid's [thresholds] are kept as they are, `--set` comes over them, and without any there are none."""
    assert read(tmp_path, MINIMAL).thresholds == {}
    text = MINIMAL + "[thresholds]\nskips = 5\ngap = 15\n"
    assert read(tmp_path, text, settings=("thresholds.gap=7.5",)).thresholds == {"skips": 5, "gap": 7.5}


@pytest.mark.parametrize("setting", ["search.epochs", "=3", "search..epochs=3", "name.x=3"])
def test_a_setting_that_cannot_be_used_is_quoted(tmp_path: Path, setting: str) -> None:
    """`--set` values that are not KEY=VALUE, or go below a value, are refused with the setting itself."""
    with pytest.raises(InputError) as caught:
        read(tmp_path, MINIMAL + 'name = "n"\n', settings=(setting,))
    assert repr(setting) in str(caught.value)


@pytest.mark.parametrize("setting", ["searcher={darts-v1={epochs=3}}", "searcher.darts-v1={epochs=3}"])
def test_a_setting_may_be_a_section(tmp_path: Path, setting: str) -> None:
    """An inline table of TOML sets what its keys would set one by one."""
    (searcher,) = read(tmp_path, MINIMAL, settings=(setting,)).searchers
    assert searcher.options["epochs"] == 3


@pytest.mark.parametrize(
    ("setting", "overrides", "message"),
    [
        ("preset=paper", {"preset": "smoke"}, "--set preset=paper and --preset are for the same grid key"),
        ("seeds=1", {"seeds": "0"}, "--set seeds=1 and --seeds are for"),
        ('selectors=["prior"]', {"selectors": ("random",)}, "and --selector are for"),
        ("budget=5", {"budget": 6}, "and --budget are for"),
        ("diagnostics=all", {"diagnostics": "none"}, "and --diagnostics are for"),
        ("selector.perturbation.interval=0", {}, "no selector 'perturbation' is run .those that are: magnitude"),
        ("searcher.gdas.epochs=1", {}, "no searcher 'gdas' is run"),
        ("diagnostic.landscape.images=8", {}, "no diagnostic 'landscape' is run .those that are: mixture, "),
        (
            "search.epochs=3",
            {"searchers": ("random-search",)},
            "--set search.epochs=3 has no use: no supernet is trained",
        ),
        ("diagnostic.growth.x=1", {"diagnostics": "none"}, "no diagnostic 'growth' is run .those that are: none"),
    ],
)
def test_a_setting_that_nothing_heeds_is_refused(
    tmp_path: Path, setting: str, overrides: dict[str, Any], message: str
) -> None:
    """`--set` of what another option overrides, or of what is not run, ends in a line that names both."""
    with pytest.raises(InputError, match=message):
        read(tmp_path, MINIMAL, settings=(setting,), **overrides)


def test_options_of_a_made_method_may_stand_under_its_sources_name(tmp_path: Path) -> None:
    """`--set selector.leave-one-out.batches=1` is heeded where only its shuffled control is run."""
    grid = read(
        tmp_path, MINIMAL, selectors=("shuffled:leave-one-out",), settings=("selector.leave-one-out.batches=1",)
    )
    assert grid.selectors[0].options["batches"] == 1


@pytest.mark.parametrize("option", ["preset", "table"])
def test_an_empty_option_is_not_passed_over(tmp_path: Path, option: str) -> None:
    """`--preset ""` is no preset, and `--table ""` no way to leave the table out."""
    with pytest.raises(InputError, match=f"{option} .*''"):
        read(tmp_path, MINIMAL, **{option: ""})


@pytest.mark.parametrize("choice", ["quik", "missing.toml"])
def test_a_grid_that_is_not_there_is_named(choice: str) -> None:
    """An unknown name and a missing file both raise an InputError that quotes them."""
    with pytest.raises(InputError, match=choice):
        read_grid(choice, Overrides(), searchers=SEARCHERS, selectors=SELECTORS)


@pytest.mark.parametrize("name", list(builtin_grids()))
def test_every_grid_that_ships_can_be_used(name: str) -> None:
    """Each built-in grid resolves, carries its file's name, and begins with a line that says what it is."""
    grid = read_grid(name, Overrides(), searchers=SEARCHERS, selectors=SELECTORS)
    assert grid.name == name
    assert builtin_grids()[name].startswith("# ")


def test_the_gate_leaves_out_round_off_only() -> None:
    """The smoke grid applies every selector but the two whose published form computes 0 in exact arithmetic."""
    grid = read_grid("smoke", Overrides(), searchers=SEARCHERS, selectors=SELECTORS)
    missing = {entry.name for entry in SELECTORS} - {method.label for method in grid.selectors}
    assert missing == {"im-literal-identity", "im-literal-neumann"}
