"""What holds for every diagnostic: nothing is changed, costs are what went through, options and keys are known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dartboard.benchmark.errors import InputError
from dartboard.benchmark.space import OPERATIONS
from dartboard.benchmark.supernet import Supernet
from dartboard.harness.diagnostics import alpha_hessian, discretisation_gap, landscape, rank_correlation
from dartboard.harness.diagnostics._catalogue import DIAGNOSTICS, choose
from dartboard.harness.diagnostics._toys import measured, toy_subject
from dartboard.harness.guard import untouched
from dartboard.harness.toys import toy_trained

DOCS = Path(__file__).resolve().parents[1] / "docs" / "diagnostics.md"

NAMES = [diagnostic.name for diagnostic in DIAGNOSTICS]


@pytest.mark.parametrize("name", NAMES)
def test_measuring_changes_nothing_and_repeats(name: str) -> None:
    """The supernet, gradients, modes and the global random state stay as they were; the same root, the same answer."""
    of = toy_subject()
    with untouched(of.trained, name):
        first = measured(name, of)
    assert str(first.values) == str(measured(name, of).values)
    other = measured(name, replace(of, root=8, shared_root=8, shared={}))
    if name in ("cell-agreement", "operation-cost", "alpha-hessian", "landscape", "rank-correlation"):
        assert str(other.values) != str(first.values)


@pytest.mark.parametrize("name", NAMES)
def test_a_cost_is_what_went_through(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The images counted are those that the network's first layer saw, gradient images among them."""
    trained = toy_trained(torch.float64, watched=True)
    seen = 0
    original = Supernet.forward

    def counting(self: Any, images: Tensor, *arguments: Any) -> Tensor:
        nonlocal seen
        seen += len(images)
        return original(self, images, *arguments)

    monkeypatch.setattr(Supernet, "forward", counting)
    found = measured(name, toy_subject(trained=trained))
    assert found.images == seen
    assert 0 <= found.gradient_images <= found.images


@pytest.mark.parametrize("name", ["cell-agreement", "operation-cost", "alpha-hessian", "landscape", "rank-correlation"])
def test_a_mixture_of_each_cells_own_can_be_measured(name: str) -> None:
    """Weights (cells, E, O) equal in all cells give the values of the shared weights."""
    of = toy_subject()
    each = toy_subject()
    shared = each.trained.searcher.mixture().detach()
    each.trained.searcher.mixture = lambda: shared.repeat(3, 1, 1)  # type: ignore[method-assign]  # the toy's own copy
    np.testing.assert_equal(str(rounded(measured(name, of).values)), str(rounded(measured(name, each).values)))


def rounded(value: Any) -> Any:
    """Nested values as lists, to 9 digits."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items() if key not in ("null_error", "eigenvalues")}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return round(value, 9) + 0.0 if isinstance(value, float) else value


def test_words_name_diagnostics() -> None:
    """`cheap`, `all`, `none` and names, between commas or in a list, in the catalogue's order and none twice."""
    assert [d.name for d in choose("all")] == NAMES
    assert [d.name for d in choose("cheap")] == NAMES[:6]
    assert choose("none") == ()
    assert [d.name for d in choose("landscape, mixture,landscape")] == ["mixture", "landscape"]
    assert [d.name for d in choose(["cheap", "alpha-hessian"])] == [*NAMES[:6], "alpha-hessian"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("cheep", "unknown diagnostic 'cheep'; did you mean 'cheap'"),
        ("mixtures", "unknown diagnostic 'mixtures'; did you mean 'mixture'"),
        ("none,cheap", "diagnostics are `cheap`, `all`, `none` or names; got 'none,cheap'"),
        ([], "got \\[\\]"),
        ([3], "unknown diagnostic '3'"),
    ],
)
def test_words_that_name_none_are_refused(asked: Any, message: str) -> None:
    """A typo, `none` among others and an empty list end in a line that quotes them."""
    with pytest.raises(InputError, match=message):
        choose(asked)


def test_every_file_is_in_the_catalogue_and_in_the_documentation() -> None:
    """One file, one line in the catalogue and one section in docs/diagnostics.md for each, and no other."""
    folder = Path(__file__).resolve().parents[1] / "harness" / "diagnostics"
    files = {path.stem.replace("_", "-") for path in folder.glob("*.py") if not path.stem.startswith("_")}
    assert files == set(NAMES)
    text = DOCS.read_text(encoding="utf-8")
    assert [name for name in NAMES if f"### `{name}`" not in text] == []


@pytest.mark.parametrize("name", NAMES)
def test_the_keys_of_the_values_are_documented(name: str) -> None:
    """Every key of a diagnostic's values stands in the docstring of results/diagnostics.py."""
    import dartboard.results.diagnostics as records

    assert records.__doc__ is not None
    options = {"epochs": 5} if name == "discretisation-gap" else {}

    def keys(values: Any) -> set[str]:
        inside = {k for value in values.values() if isinstance(value, dict) for k in keys(value)}
        return set(values) | inside

    for key in keys(measured(name, toy_subject(), **options).values) - set(OPERATIONS):
        assert key in records.__doc__, key


@pytest.mark.parametrize(
    ("module", "options", "message"),
    [
        (alpha_hessian, {"images": 0}, "images is at least 1; got 0"),
        (landscape, {"radius": 0.0}, "radius is greater than 0; got 0.0"),
        (landscape, {"directions": 0}, "directions is at least 1; got 0"),
        (discretisation_gap, {"epochs": 0}, "epochs is at least 1; got 0"),
        (discretisation_gap, {"learning_rate": -1}, "learning_rate is greater than 0; got -1"),
        (rank_correlation, {"cells": 1}, "cells is at least 2; got 1"),
        (rank_correlation, {"cells": 20000}, "cells is at most 15625; got 20000"),
    ],
)
def test_options_out_of_range_are_refused(module: Any, options: dict[str, Any], message: str) -> None:
    """Each is quoted."""
    with pytest.raises(InputError, match=message):
        module.Config(**options)
