"""A budget of images: every selector keeps to it, or says in one line that it cannot."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dartboard.benchmark.contracts import SelectionData
from dartboard.benchmark.errors import InputError
from dartboard.benchmark.space import E, O
from dartboard.benchmark.streams import stream
from dartboard.harness.cli import main
from dartboard.harness.grid import Method, Overrides, read_grid
from dartboard.harness.prepare import prepare_selector
from dartboard.harness.presets import PRESETS
from dartboard.harness.toys import BATCH, toy_images, toy_trained
from dartboard.results.records import RunRecord, read_header, read_records
from dartboard.searchers._catalogue import SEARCHERS
from dartboard.selectors._budget import OverBudget, check_spent, fitted, images_in, knobs_of, setting, turned
from dartboard.selectors._catalogue import SELECTORS
from dartboard.selectors._evaluation import digest

TRAINED = toy_trained()
GRID = read_grid("smoke", Overrides(), searchers=SEARCHERS, selectors=SELECTORS)
LABELS = [method.label for method in GRID.selectors if method.entry.control != "truth"]
BOUNDS = {
    "shapley": "a permutation ends early where accuracy falls below half",
    "zero-cost-pt": "proposals that agree are validated once",
    "im-literal": "a difference along a vector of length 0 takes one side",
}
BUDGET = 250  # of the toy, whose halves have 10 images in batches of 6 and 4; 12 + 10 images an epoch of DARTS


def toy_data() -> SelectionData:
    """The toy images in float32, two batches of each half."""
    train, valid = (toy_images(half) for half in ("train", "valid"))
    return SelectionData(train=train, valid=valid, batch_size=BATCH, seed=1, epoch_images=22)


def cost(selector: Any) -> int:
    """What a selector says that it pushes; one that says nothing looks at no image."""
    inner = getattr(selector, "criterion", selector)
    return inner.cost(toy_data()) if hasattr(inner, "cost") else 0


def build(label: str, **options: Any) -> Any:
    """A selector under the options of the preset `smoke`."""
    entry = SELECTORS[label]
    merged = {**PRESETS["smoke"].selectors.get(label, {}), **entry.options, **options}
    return prepare_selector(Method(label=label, entry=entry, options=merged))


@pytest.mark.parametrize("label", LABELS)
def test_no_selector_of_the_smoke_grid_pushes_more_than_its_budget(label: str) -> None:
    """Within a budget it pushes what it says that it costs, or less where it may end early; or one line says no."""
    selector = build(label)
    cheapest = turned(selector, {knob.field: knob.least for knob in knobs_of(selector)})
    if cost(cheapest) > BUDGET:
        with pytest.raises(OverBudget, match=f"^{selector.name} needs at least .* the budget is {BUDGET}: .*$"):
            fitted(selector, toy_data(), BUDGET)
        return
    fit = fitted(selector, toy_data(), BUDGET)
    images = fit.selector.select(TRAINED, toy_data(), stream(0)).images
    assert images <= BUDGET
    assert images <= cost(fit.selector) if selector.name in BOUNDS else images == cost(fit.selector)


@pytest.mark.parametrize(
    ("label", "options", "budget", "expected"),
    [
        ("leave-one-out", {}, E * O * 6, {"batches": 1}),
        ("leave-one-out", {}, E * O * 10 - 1, {"batches": 1}),
        ("leave-one-out", {"batches": 1}, E * O * 10, {"batches": 2}),
        ("leave-one-out", {}, E * O * 26, {"batches": 5}),  # 6 + 4 + 6 + 4 + 6: two passes and a half
        ("shuffled-leave-one-out", {}, E * O * 10, {"batches": 2}),
        ("zero-cost-pt-synflow", {}, 30, {"batch_size": 32, "proposals": 1, "validation_batches": 2}),
        ("shapley", {"samples": 10}, 31 * 10 * 3 + 5, {"batch_size": 1024, "samples": 3}),
        ("shapley", {"samples": 10}, 31 * 7, {"batch_size": 7, "samples": 1}),
        ("one-shot-best", {"cells": 3}, 6 * 50 + 5, {"recalibration": 1, "batches": 1, "cells": 50}),
        ("perturbation", {"interval": 3}, 5 * 2 * 22 + 10 + E * O * 6, {"interval": 2, "batches": 1}),
        ("perturbation", {"interval": 3}, 5 * 22 + 10 + E * O * 6 - 1, {"interval": 0, "batches": 1}),
        ("pt-magnitude", {"interval": 3}, 5 * 22 + 10, {"interval": 1, "batches": None}),
        ("sgas", {"interval": 3}, 5 * 22, {"interval": 1}),
        ("magnitude", {}, 1, {}),
    ],
)
def test_knobs_are_set_as_high_as_fits(
    label: str, options: dict[str, Any], budget: int, expected: dict[str, int | None]
) -> None:
    """The most precious knob first, and what is cheap grows up to the budget; by hand from the batches of 6 and 4."""
    fit = fitted(build(label, **options), toy_data(), budget)
    assert dict(fit.values) == expected
    for field, value in expected.items():
        assert setting(fit.selector, field) == value


def test_a_criterion_that_cannot_says_so() -> None:
    """The line tells the least that it needs; one that tells no cost is judged by what it has pushed."""
    with pytest.raises(OverBudget, match=r"leave-one-out needs at least 180 images, and the budget is 179: raise"):
        fitted(build("leave-one-out"), toy_data(), 179)
    with pytest.raises(OverBudget, match=r"mine pushed 12 images, and the budget is 11: it has no knob"):
        check_spent("mine", 12, 11)


def test_tuning_costs_what_the_search_pushed() -> None:
    """An epoch of tuning counts as the search's own epochs did: twice as many images leave room for fewer epochs."""
    data = replace(toy_data(), epoch_images=40)
    fit = fitted(build("sgas", interval=3), data, 5 * 40 * 2)
    assert fit.values == {"interval": 2}


def seen(label: str, **options: Any) -> set[bytes]:
    """Every batch of images that a selection pushes through the supernet or a copy of it."""
    found: set[bytes] = set()
    trained = toy_trained(watched=True)
    trained.supernet.register_forward_pre_hook(lambda _, given: found.add(digest(given[0])))
    build(label, **options).select(trained, toy_data(), stream(0))
    return found


@pytest.mark.parametrize("label", [label for label in LABELS if knobs_of(build(label))])
def test_fewer_units_see_the_first_of_the_same_images(label: str) -> None:
    """Any-time curves nest: with one unit of its last knob a selector sees no batch that it does not see with three.

    The images are cropped and mirrored at random, so the draws must nest, too. What trains sees images of its own.
    """
    field = knobs_of(build(label))[-1].field
    if field in ("interval", "epochs"):
        pytest.skip(f"{field} sets how long is trained")
    fixed = {"interval": 0} if "interval" in [knob.field for knob in knobs_of(build(label))] else {}
    one, three = (seen(label, **fixed, **{field: units}) for units in (1, 3))
    assert one <= three
    assert one


def test_images_in_batches() -> None:
    """Passes of batches of 6 and 4 images add up; without a number it is one pass."""
    split = toy_images("valid")
    assert [images_in(split, BATCH, n) for n in (None, 1, 2, 3, 4, 5)] == [10, 6, 10, 16, 20, 26]


def run(folder: Path, *arguments: str) -> int:
    """The exit code of a run of the smoke grid on 64 + 64 images."""
    sizes = ("--set", "images.train_images=64", "--set", "images.valid_images=64", "--set", "search.epochs=1")
    with pytest.raises(SystemExit) as caught:
        main(["run", "smoke", "--out", str(folder), "--seeds", "0", "--no-report", *sizes, *arguments])
    return int(caught.value.code or 0)


def test_a_run_with_a_budget_keeps_to_it(tmp_path: Path) -> None:
    """Records tell budget, knobs and images; who cannot keep to it is a failed record with one line; exit code 1."""
    chosen = ("--selector", "leave-one-out", "--selector", "magnitude", "--selector", "shapley-exact-edge")
    assert run(tmp_path, *chosen, "--budget", "2000") == 1
    found: dict[str, RunRecord] = {record.selector: record for record in read_records(tmp_path)}
    assert {record.selection_budget for record in found.values()} == {2000}
    images = {label: record.selection_images for label, record in found.items()}
    assert images == {"leave-one-out": 30 * 64, "magnitude": 0, "shapley-exact-edge": None}
    assert found["leave-one-out"].notes["within_budget"] == {"batches": 2}
    error = found["shapley-exact-edge"].error
    told = "shapley-exact-edge needs at least 3,072 images, and the budget is 2,000: raise --budget"
    assert error == f"OverBudget: {told}"
    header = read_header(tmp_path)
    assert header is not None
    assert header.options["budget"] == 2000
    json.dumps(header.options)


def test_a_folder_has_one_budget(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another budget in the same folder is refused: its records could not be told apart."""
    assert run(tmp_path, "--selector", "magnitude", "--budget", "10") == 0
    assert run(tmp_path, "--selector", "magnitude", "--budget", "11") == 2
    assert "its budget is 10, now it is 11" in capsys.readouterr().err


def test_a_budget_of_nothing_is_refused() -> None:
    """A budget is at least one image."""
    with pytest.raises(InputError, match="at least 1; got 0"):
        read_grid("smoke", Overrides(budget=0), searchers=SEARCHERS, selectors=SELECTORS)
