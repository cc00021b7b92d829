"""The controls: random cells of some operations, shuffled scores, and greed with the truth in hand."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from dartboard.benchmark.catalogue import Entry
from dartboard.benchmark.contracts import SelectionData
from dartboard.benchmark.errors import InputError
from dartboard.benchmark.ground_truth import GroundTruth, Metric, Provenance
from dartboard.benchmark.space import CONV1X1, CONV3X3, SKIP, SPACE_SIZE, Cell, E, O, every_cell
from dartboard.benchmark.streams import split_off, stream
from dartboard.harness import selector_checks
from dartboard.harness.cli import main
from dartboard.harness.grid import Method, Overrides, resolve
from dartboard.harness.prepare import prepare_selector
from dartboard.harness.selector_checks import SelectorCase
from dartboard.harness.toys import toy_images, toy_trained
from dartboard.harness.verify import examine
from dartboard.searchers._catalogue import SEARCHERS
from dartboard.selectors import edge_oracle, leave_one_out, shuffled, uniform
from dartboard.selectors._catalogue import SELECTORS

METRIC = Metric("cifar10", "test", 200)


def toy_data() -> SelectionData:
    """The toy images."""
    return SelectionData(train=toy_images("train"), valid=toy_images("valid"), batch_size=6)


def draw(name: str, seeds: int) -> Counter[int]:
    """How often each operation comes in the cells that a control of the catalogue draws."""
    entry = SELECTORS[name]
    control = uniform.Uniform(uniform.Config(**entry.options))
    cells = [control.select(toy_trained(), toy_data(), stream(seed)).cell for seed in range(seeds)]
    return Counter(operation for cell in cells for operation in cell.operations)


@pytest.mark.parametrize(
    ("name", "operations"),
    [("random", range(O)), ("random-no-none", range(1, O)), ("random-skip-conv", (SKIP, CONV1X1, CONV3X3))],
)
def test_random_cells_of_some_operations(name: str, operations: Any) -> None:
    """All operations of a control come, and no others, each within 5 standard deviations of its share of 1,200."""
    counts, share = draw(name, 200), 1 / len(operations)
    assert counts.keys() == set(operations)
    spread = (200 * E * share * (1 - share)) ** 0.5
    assert all(abs(count - 200 * E * share) < 5 * spread for count in counts.values())


def test_random_cells_from_a_list_of_the_grid() -> None:
    """A list as TOML gives it is as good as a tuple; a single operation leaves no choice."""
    control = uniform.Uniform(uniform.Config(operations=["nor_conv_3x3"]))
    assert control.select(toy_trained(), toy_data(), stream(0)).cell == Cell((CONV3X3,) * E)


@pytest.mark.parametrize(
    ("operations", "told"),
    [
        ([], "at least one name"),
        ("none", "list of at least one name; got 'none'"),
        (["conv_3x3"], "unknown operation 'conv_3x3'; did you mean 'nor_conv_3x3'"),
        (["none", "none"], "names one of them twice: none, none"),
    ],
)
def test_impossible_operations_are_refused(operations: Any, told: str) -> None:
    """No operation, a word in place of a list, an unknown name and a name given twice are refused."""
    with pytest.raises(InputError, match=told):
        uniform.Config(operations=operations)


CRITERIA = [entry for entry in SELECTORS if entry.control is None]


def build(name: str, **options: Any) -> Any:
    """A selector by its name, with options over those of its entry."""
    entry = SELECTORS[name]
    return prepare_selector(Method(label=name, entry=entry, options={**entry.options, **options}))


def double() -> SelectionData:
    """The toy images in double precision."""
    train, valid = (toy_images(half, dtype=torch.float64) for half in ("train", "valid"))
    return SelectionData(train=train, valid=valid, batch_size=6)


@pytest.mark.parametrize("name", ["leave-one-out", "first-order", "magnitude-no-none"])
def test_shuffled_keeps_each_edges_scores(name: str) -> None:
    """Each edge has the criterion's own scores in another order, its cell is renamed alike, and the cost is its own."""
    options = {"criterion": "loss"} if name == "leave-one-out" else {}
    answer = build(f"shuffled:{name}", **options).select(toy_trained(torch.float64), double(), stream(3))
    plain = build(name, **options).select(
        toy_trained(torch.float64), double(), stream(split_off(stream(3)), "criterion")
    )
    np.testing.assert_array_equal(np.sort(answer.scores, 1), np.sort(plain.scores, 1))
    assert not np.array_equal(answer.scores, plain.scores)
    for edge, (new, old) in enumerate(zip(answer.cell.operations, plain.cell.operations, strict=True)):
        assert answer.scores[edge, new] == plain.scores[edge, old]
        for operation, origin in enumerate(answer.notes["permutations"][edge]):
            assert answer.scores[edge, operation] == plain.scores[edge, origin]
    assert answer.notes["unshuffled_cell"] == str(plain.cell)
    assert (answer.images, answer.gradient_images) == (plain.images, plain.gradient_images)


def test_shuffled_cells_are_uniform() -> None:
    """Over 200 draws each operation comes on a fifth of the edges, within 5 standard deviations."""
    control, trained = build("shuffled:magnitude"), toy_trained()
    counts = Counter(o for s in range(200) for o in control.select(trained, toy_data(), stream(s)).cell.operations)
    assert all(abs(counts[o] - 240) < 5 * (1200 * 0.2 * 0.8) ** 0.5 for o in range(O))


@pytest.mark.parametrize("entry", [c for c in CRITERIA if c.load().scored], ids=lambda entry: entry.name)
def test_every_criterion_with_scores_has_a_shuffled_control(entry: Entry) -> None:
    """`shuffled:NAME` is a blind control with the criterion's own configuration, under a name that a label may have."""
    control, plain = build(f"shuffled:{entry.name}"), build(entry.name)
    assert (control.name, control.control) == (f"shuffled:{entry.name}", "blind")
    assert shuffled.shuffled(entry).config_class is type(plain.config)
    assert control.config == plain.config
    assert type(control.criterion) is type(plain)
    assert len(SELECTORS[control.name].summary) <= 100


@pytest.mark.parametrize("name", ["magnitude", "leave-one-out"])
def test_the_older_names_are_the_same_controls(name: str) -> None:
    """`shuffled-magnitude` and `shuffled-leave-one-out` answer what `shuffled:...` does."""
    answers = [
        build(label).select(toy_trained(), toy_data(), stream(1)) for label in (f"shuffled-{name}", f"shuffled:{name}")
    ]
    assert answers[0].cell == answers[1].cell
    np.testing.assert_array_equal(answers[0].scores, answers[1].scores)


@pytest.mark.parametrize("name", ["shuffled:perturbation", "shuffled:first-order"])
@pytest.mark.parametrize("check", selector_checks.CHECKS, ids=lambda check: check.__name__)
def test_a_shuffled_criterion_keeps_the_contract(name: str, check: Any) -> None:
    """A control of a long criterion, with a journal, and of one with gradients keep every check."""
    verdict = examine(check, SelectorCase.of(SELECTORS[name]))
    assert verdict.status in ("ok", "skipped"), verdict.detail


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("shuffled:magnitud", {}, "unknown selector 'magnitud'; did you mean 'magnitude'"),
        ("shufled:magnitude", {}, "did you mean 'shuffled-magnitude'.*shuffled:NAME"),
        ("shuffled:", {}, "unknown selector 'shuffled:'"),
        ("shuffled:random", {}, "only a criterion's scores can be shuffled, and 'random' is a control"),
        ("shuffled:shuffled:snip", {}, "'shuffled:snip' is a control"),
        ("shuffled:magnitude", {"excludenone": True}, "did you mean 'exclude_none'"),
    ],
)
def test_what_cannot_be_shuffled_is_refused(name: str, options: dict[str, Any], told: str) -> None:
    """An unknown criterion, a control, and an option that the criterion has not are refused before anything runs."""
    with pytest.raises(InputError, match=told):
        build(name, **options)


def test_whole_cells_cannot_be_shuffled() -> None:
    """A criterion that says that it has no scores is refused before anything runs, one that does not say afterwards."""
    for name in ("one-shot-best", "one-shot-evolution", "beam-perturbation"):
        with pytest.raises(InputError, match=f"'{name}' gives whole cells and no scores: nothing can be shuffled"):
            build(f"shuffled:{name}")
    control = build("shuffled:snip")
    control.criterion = build("one-shot-best", cells=2, batches=1)
    with pytest.raises(ValueError, match="'snip' gave a cell without scores"):
        control.select(toy_trained(), toy_data(), stream(0))


@pytest.mark.parametrize("entry", CRITERIA, ids=lambda entry: entry.name)
def test_who_says_that_it_has_no_scores_has_none(entry: Entry) -> None:
    """`scored` is what the answers show."""
    case = SelectorCase.of(entry)
    assert (case.select(toy_trained()).scores is not None) is case.factory.scored


def test_a_shuffled_control_shares_its_criterions_options() -> None:
    """It takes preset, entry and section of the criterion, under its own section; a label of any name may use it."""
    content = {
        "name": "mine",
        "preset": "smoke",
        "searchers": ["darts-v1"],
        "selectors": ["perturbation-loss", "shuffled:perturbation-loss", "shuffled-leave-one-out", "mine"],
        "selector": {
            "perturbation-loss": {"renormalise": True},
            "shuffled:perturbation-loss": {"exclude_none": True},
            "leave-one-out": {"batches": 2},
            "mine": {"method": "shuffled:snip", "level": "weights"},
        },
    }
    grid = resolve(content, Overrides(), searchers=SEARCHERS, selectors=SELECTORS)
    criterion, control, older, mine = (prepare_selector(method) for method in grid.selectors)
    assert (criterion.config.criterion, criterion.config.interval, criterion.config.renormalise) == ("loss", 1, True)
    assert control.config == replace(criterion.config, exclude_none=True)
    assert older.config == leave_one_out.Config(batches=2)
    assert (mine.name, mine.config.level) == ("shuffled:snip", "weights")


def test_the_list_explains_the_name(capsys: pytest.CaptureFixture[str]) -> None:
    """`dartboard list selectors` has a line for the whole family, without importing a criterion."""
    with pytest.raises(SystemExit):
        main(["list", "selectors"])
    assert re.search(r"^shuffled:NAME +control: the scores of the criterion NAME", capsys.readouterr().out, re.M)


@pytest.fixture(scope="module")
def truth() -> GroundTruth:
    """A table of random accuracies."""
    column = np.random.default_rng(0).uniform(10, 94, SPACE_SIZE)
    about = Provenance(
        name="toy", title="toy", source="toy", version="0", licence="", sha256="", aggregation="", official=False
    )
    return GroundTruth(provenance=about, accuracy={METRIC: column})


@pytest.mark.parametrize("strength", ["average", "best"])
def test_edge_oracle_by_brute_force(truth: GroundTruth, strength: edge_oracle.Strength) -> None:
    """Each strength is the mean, or the maximum, over the cells with that operation there, cell by cell."""
    answer = edge_oracle.EdgeOracle(edge_oracle.Config(strength=strength)).choose(truth, METRIC)
    found: list[list[list[float]]] = [[[] for _ in range(O)] for _ in range(E)]
    for cell in every_cell():
        for edge, operation in enumerate(cell.operations):
            found[edge][operation].append(truth.lookup(cell, METRIC))
    expected = np.array([[(np.mean if strength == "average" else np.max)(held) for held in row] for row in found])
    np.testing.assert_allclose(answer.scores, expected, rtol=1e-12)
    assert answer.cell.operations == tuple(expected.argmax(1))
    if strength == "best":
        assert answer.cell == truth.best(METRIC)


def test_edge_oracle_refuses_another_strength() -> None:
    """A word that is no strength is quoted."""
    with pytest.raises(InputError, match="unknown strength 'worst'"):
        edge_oracle.Config(strength="worst")  # type: ignore[arg-type]  # the claim
