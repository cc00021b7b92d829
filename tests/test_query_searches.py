"""Searches that train single cells: queries counted, and the mathematics of each."""

from __future__ import annotations

import csv
import json
from math import comb
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from dartboard.benchmark.errors import InputError
from dartboard.benchmark.ground_truth import GroundTruth, Metric
from dartboard.benchmark.queries import OverBudgetError, Queries, queried_metric
from dartboard.benchmark.space import EDGES, SPACE_SIZE, Cell, E, O
from dartboard.benchmark.tables.store import load_embedded
from dartboard.harness.cli import main
from dartboard.harness.doubles import Silent
from dartboard.harness.engine import Engine
from dartboard.harness.grid import Grid, Overrides, read_grid
from dartboard.harness.plugins import catalogues
from dartboard.harness.query_checks import BUDGET, CHECKS, METRIC, QueryCase, toy_truth
from dartboard.harness.verify import check_name, examine
from dartboard.results.board import boards
from dartboard.results.progress import read_progress
from dartboard.results.query_searches import accuracy_after, anytime
from dartboard.results.records import RunRecord, comparable, read_header, read_records
from dartboard.results.report import write_report
from dartboard.results.rundata import read_run
from dartboard.searchers import svge_bo
from dartboard.searchers._catalogue import SEARCHERS
from dartboard.searchers.random_search import Config as RandomConfig
from dartboard.searchers.random_search import RandomSearch
from dartboard.searchers.regularised_evolution import Config as EvolutionConfig
from dartboard.searchers.regularised_evolution import RegularisedEvolution, mutated
from dartboard.searchers.svge_bo import SvgeBo
from dartboard.selectors._catalogue import SELECTORS

ENTRIES = [entry for entry in SEARCHERS if entry.queries]


def seeded(seed: int) -> torch.Generator:
    """A generator."""
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("check", CHECKS, ids=check_name)
@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_contract(entry, check) -> None:
    """Every search that trains single cells keeps the contract."""
    verdict = examine(check, QueryCase.of(entry))
    assert verdict.status == "ok", verdict.detail


# Queries.


def test_queries_are_counted_and_end() -> None:
    """Each cell asked for counts, one asked for again too; beyond the budget there is no answer."""
    truth = toy_truth()
    queries = Queries(truth, METRIC, 3)
    low, high = Cell.from_number(1), Cell.from_number(2)
    assert queries.accuracy(low) == truth.lookup(low, METRIC)
    queries.accuracy(high)
    queries.accuracy(low)
    assert (queries.left, len(queries.asked), queries.best) == (0, 3, high)
    with pytest.raises(OverBudgetError, match="all 3 trained cells"):
        queries.accuracy(low)
    assert len(queries.asked) == 3


def test_the_trace_has_an_entry_for_each_better_cell() -> None:
    """The number of queries so far, the cell and its answer, where the answer is above all before."""
    truth = toy_truth()
    queries = Queries(truth, METRIC, 5)
    cells = [Cell.from_number(n) for n in (5, 1, 9, 9, 0)]  # no 3x3 convolution: worth their numbers
    answers = [queries.accuracy(cell) for cell in cells]
    assert [entry["queries"] for entry in queries.trace] == [1, 3]
    assert queries.trace[-1] == {"queries": 3, "cell": str(cells[2]), "queried": answers[2]}


@pytest.mark.parametrize("budget", [0, -1, True, 2.5])
def test_a_budget_is_a_number_of_cells(budget: object) -> None:
    """Anything but a whole number of at least 1 is quoted."""
    with pytest.raises(InputError, match=repr(budget)):
        Queries(toy_truth(), METRIC, budget)  # type: ignore[arg-type]  # the claim is about wrong types


def test_validation_accuracy_is_asked_for_where_there_is_one() -> None:
    """Scored by a test accuracy, the search sees the validation accuracy of the same data; without one, the same."""
    truth = toy_truth()
    assert queried_metric(truth, Metric("cifar10", "test", 200)) == METRIC
    assert queried_metric(truth, Metric("cifar100", "test", 200)) == Metric("cifar100", "test", 200)
    assert queried_metric(truth, METRIC) == METRIC


# Random search.


def expected_best(column: np.ndarray, n: int) -> float:
    """The mean of the best of n of these values, drawn without repetition: order statistics."""
    values = np.sort(column)
    at_most = np.array([comb(i, n) / comb(len(values), n) for i in range(len(values) + 1)])
    return float(np.diff(at_most) @ values)


def test_random_searchs_expected_best_is_that_of_order_statistics() -> None:
    """Over 400 seeds its mean is within four standard errors of the closed form over all 15,625 cells."""
    truth = load_embedded()
    metric = truth.metrics[0]
    column = truth.accuracy[metric]
    for n in (1, 10, 60):
        found = []
        for seed in range(400):
            queries = Queries(truth, metric, n)
            cell = RandomSearch(RandomConfig(budget=n)).search(queries, seeded(seed)).cell
            found.append(truth.lookup(cell, metric))
        error = float(np.std(found, ddof=1)) / 20
        assert abs(float(np.mean(found)) - expected_best(column, n)) < 4 * error


def test_the_closed_form_by_brute_force() -> None:
    """On six values it is the mean over all subsets."""
    from itertools import combinations

    values = np.array([3.0, 1.0, 4.0, 1.5, 9.0, 2.0])
    for n in (1, 2, 5, 6):
        subsets = [max(subset) for subset in combinations(values, n)]
        assert expected_best(values, n) == pytest.approx(np.mean(subsets))


def test_random_search_repeats_no_cell() -> None:
    """With the budget of the whole space it trains each cell once, and so finds the best."""
    queries = Queries(toy_truth(), METRIC, SPACE_SIZE)
    cell = RandomSearch(RandomConfig(budget=SPACE_SIZE)).search(queries, seeded(0)).cell
    assert len({cell for cell, _ in queries.asked}) == SPACE_SIZE
    assert cell == toy_truth().best(METRIC)
    with pytest.raises(InputError, match="15626"):
        RandomConfig(budget=SPACE_SIZE + 1)


# Regularised evolution.


def test_every_child_is_as_likely_as_any_other() -> None:
    """A mutation changes one edge, never to the same operation; all 24 children come up equally often (chi squared)."""
    parent, generator = Cell((0, 1, 2, 3, 4, 0)), seeded(0)
    children: dict[Cell, int] = {}
    for _ in range(4800):
        child = mutated(parent, generator)
        assert sum(a != b for a, b in zip(child.operations, parent.operations, strict=True)) == 1
        children[child] = children.get(child, 0) + 1
    assert len(children) == E * (O - 1)
    assert stats.chisquare(list(children.values())).pvalue > 1e-3


def test_evolution_is_algorithm_1() -> None:
    """Each child after the first P cells is one edge away from a cell that was among the last P."""
    config = EvolutionConfig(population=4, sample=2)
    queries = Queries(toy_truth(), METRIC, 60)
    RegularisedEvolution(config).search(queries, seeded(3))
    cells = [cell for cell, _ in queries.asked]
    assert len(cells) == 60
    for i, child in enumerate(cells[4:], start=4):
        distances = [
            sum(a != b for a, b in zip(child.operations, old.operations, strict=True)) for old in cells[i - 4 : i]
        ]
        assert 1 in distances


def test_the_fittest_of_a_whole_tournament_has_the_child() -> None:
    """Where the tournament is far larger than the population, the child is always that of its best cell."""
    queries = Queries(toy_truth(), METRIC, 40)
    RegularisedEvolution(EvolutionConfig(population=3, sample=200)).search(queries, seeded(1))
    for i in range(3, 40):
        parent = max(queries.asked[i - 3 : i], key=lambda pair: pair[1])[0]
        assert sum(a != b for a, b in zip(queries.asked[i][0].operations, parent.operations, strict=True)) == 1


def test_evolution_beats_random_search_on_the_made_up_table() -> None:
    """Where each edge counts by itself, ten seeds of it come higher on average with the same number of cells."""
    found: dict[str, list[float]] = {}
    for seed in range(10):
        for search in (RegularisedEvolution(EvolutionConfig()), RandomSearch(RandomConfig())):
            queries = Queries(toy_truth(), METRIC, 150)
            found.setdefault(search.name, []).append(
                toy_truth().lookup(search.search(queries, seeded(seed)).cell, METRIC)
            )
    assert np.mean(found["regularised-evolution"]) > np.mean(found["random-search"]) + 5


# SVGe with Bayesian optimisation.


def test_arrows_join_operations_that_follow_each_other() -> None:
    """A cell's graph has the arrows that the edges' ends give, and is acyclic in the order of the nodes."""
    sources, targets = svge_bo.arrows()
    assert set(zip(sources, targets, strict=True)) == {
        *((0, 1 + EDGES.index(edge)) for edge in EDGES if edge[1] == 0),
        *((1 + EDGES.index(a), 1 + EDGES.index(b)) for a in EDGES for b in EDGES if a[0] == b[1]),
        *((1 + EDGES.index(edge), 7) for edge in EDGES if edge[0] == 3),
    }
    assert len(sources) == 10
    assert all(source < target for source, target in zip(sources, targets, strict=True))


def test_node_types_are_the_cells_operations() -> None:
    """Between input and output stand the operations, in the order of the edges."""
    numbers = np.array([0, 7, 15_624])
    types = svge_bo.node_types(numbers)
    assert types.shape == (3, svge_bo.NODES)
    for row, number in zip(types.tolist(), numbers.tolist(), strict=True):
        assert row == [O, *Cell.from_number(number).operations, O + 1]


def test_the_loss_is_the_negative_evidence_bound() -> None:
    """Cross-entropy and PyTorch's own KL divergence to the standard normal, weighted by β, are what it is made of."""
    generator = seeded(0)
    logits = torch.randn(3, E, O, generator=generator, dtype=torch.float64)
    operations = torch.randint(0, O, (3, E), generator=generator)
    mean, log_variance = torch.randn(2, 3, 4, generator=generator, dtype=torch.float64)
    own = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    divergence = torch.distributions.kl_divergence(own, torch.distributions.Normal(0.0, 1.0)).sum(-1)
    likelihood = torch.distributions.Categorical(logits=logits).log_prob(operations).sum(-1)
    expected = (0.7 * divergence - likelihood).mean()
    assert torch.allclose(svge_bo.autoencoder_loss(logits, operations, mean, log_variance, 0.7), expected)


def test_the_posterior_is_the_dense_formula() -> None:
    """Mean and deviation are k(K + s²)⁻¹y and k** - k(K + s²)⁻¹k with a Matérn kernel written out."""
    rng = np.random.default_rng(0)
    places, new = rng.normal(size=(30, 3)), rng.normal(size=(7, 3))
    accuracies = 90 + np.sin(places[:, 0]) + 0.3 * rng.normal(size=30)
    process = svge_bo.fit_process(places, accuracies)
    scale, length = process.kernel_.k1.k1.constant_value, process.kernel_.k1.k2.length_scale
    noise = process.kernel_.k2.noise_level

    def matern(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        r = np.sqrt(5) * np.linalg.norm(a[:, None] - b[None], axis=-1) / length
        return scale * (1 + r + r**2 / 3) * np.exp(-r)

    spread = accuracies.std()
    gram = matern(places, places) + (noise + process.alpha) * np.eye(30)
    across = matern(new, places)
    mean = accuracies.mean() + spread * across @ np.linalg.solve(gram, (accuracies - accuracies.mean()) / spread)
    # A new answer has noise of its own.
    variance = scale + noise - np.sum(across * np.linalg.solve(gram, across.T).T, axis=1)
    found_mean, found_deviation = process.predict(new, return_std=True)
    assert found_mean == pytest.approx(mean, abs=1e-8)
    assert found_deviation == pytest.approx(spread * np.sqrt(variance), abs=1e-8)


def test_expected_improvement_is_the_integral() -> None:
    """It is E[max(0, y - best)] by quadrature, and the plain gain where nothing is uncertain."""
    for mean, deviation in ((0.3, 0.5), (-2.0, 1.5), (1.0, 0.1)):
        value, _ = integrate.quad(
            lambda y, m=mean, d=deviation: max(0.0, y - 0.4) * stats.norm.pdf(y, m, d), -10, 10, points=[0.4, mean]
        )
        found = svge_bo.expected_improvement(np.array([mean]), np.array([deviation]), 0.4)
        assert found[0] == pytest.approx(value, abs=1e-7)
    certain = svge_bo.expected_improvement(np.array([0.1, 0.4, 2.0]), np.zeros(3), 0.4)
    assert certain.tolist() == [0, 0, 1.6]


TINY = {"state": 12, "latent": 6, "cells": 400, "embedding_batch": 64}


def test_the_embedding_learns_to_decode_cells() -> None:
    """After some epochs more operations of held-out cells are decoded rightly than before, and places differ."""
    places, before = svge_bo.train_embedding(svge_bo.Config(epochs=0, **TINY), seeded(0))
    assert places.shape == (SPACE_SIZE, 6)
    assert np.isfinite(places).all()
    _, after = svge_bo.train_embedding(svge_bo.Config(epochs=30, learning_rate=0.01, **TINY), seeded(0))
    assert before == 0
    assert after >= 0.05  # a guess is right once in 15,625 times


def test_each_round_trains_what_promises_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given places, the cells of a round are those of the largest expected improvement among the untrained ones."""
    places = np.random.default_rng(0).normal(size=(SPACE_SIZE, 2))
    monkeypatch.setattr(svge_bo, "train_embedding", lambda config, generator: (places, 1.0))
    config = svge_bo.Config(initial=12, batch=3)
    queries = Queries(toy_truth(), METRIC, 17)
    SvgeBo(config).search(queries, seeded(0))
    numbers = [cell.number for cell, _ in queries.asked]
    answers = np.array([answer for _, answer in queries.asked])
    assert len(set(numbers)) == 17
    scaled = (places - places.mean(0)) / places.std(0)
    for start, stop in ((12, 15), (15, 17)):
        mean, deviation = svge_bo.fit_process(scaled[numbers[:start]], answers[:start]).predict(scaled, return_std=True)
        promise = svge_bo.expected_improvement(mean, deviation, answers[:start].max())
        promise[numbers[:start]] = -np.inf
        assert sorted(numbers[start:stop]) == sorted(np.argsort(-promise)[: stop - start].tolist())


# In a grid.


def smoke(*settings: str, searchers: tuple[str, ...] = ("random-search", "regularised-evolution")) -> Grid:
    """The grid `smoke` with other searchers and one selector."""
    overrides = Overrides(searchers=searchers, selectors=("magnitude",), table="analog", settings=settings)
    return read_grid("smoke", overrides, searchers=SEARCHERS, selectors=SELECTORS)


def test_a_search_without_a_supernet_has_one_record(tmp_path: Path) -> None:
    """One record a method, data set and seed, with its queries and the scored trace; no selector and no image."""
    grid = smoke("seeds=[0,1]")
    outcome = Engine(grid, tmp_path, device="cpu", listener=Silent()).run()
    assert (outcome.ok, outcome.failed) == (4, 0)
    truth = load_embedded()
    records = read_records(tmp_path)
    assert {(r.searcher, r.seed) for r in records} == {(m.label, s) for m in grid.searchers for s in (0, 1)}
    for record in records:
        assert (record.selector, record.queries, record.control, record.channels) == ("queries", 20, None, None)
        assert record.notes["queried_metric"] == "cifar10/test/200"
        assert record.trace[-1]["cell"] == record.cell
        for entry in record.trace:
            cell = Cell.parse(entry["cell"])
            assert entry["accuracy"] == truth.lookup(cell, Metric.parse("cifar10/test/200"))
    header = read_header(tmp_path)
    assert header is not None
    assert header.reduction == "no supernet is trained"
    progress = read_progress(tmp_path)
    assert (progress.ok, progress.left) == (4, 0)


def test_a_run_is_repeated_bit_for_bit_and_not_done_twice(tmp_path: Path) -> None:
    """Two folders hold the same, and a finished folder gets no further record."""
    grid = smoke(searchers=("regularised-evolution",))
    for name in ("one", "two", "one"):
        Engine(grid, tmp_path / name, device="cpu", listener=Silent()).run()
    one, two = ([comparable(r) for r in read_records(tmp_path / name)] for name in ("one", "two"))
    assert one == two
    assert len((tmp_path / "one" / "records.jsonl").read_text().splitlines()) == len(one)


def test_a_report_ranks_them_apart(tmp_path: Path) -> None:
    """Beside a method with a supernet they have a board, a part and a table of their own, and are in no other."""
    Engine(smoke(searchers=("fixed-alpha", "random-search")), tmp_path, device="cpu", listener=Silent()).run()
    run = read_run(tmp_path)
    ranked, queried = boards(run)
    assert (ranked.searchers, queried.searchers) == (["fixed-alpha"], ["random-search"])
    report = write_report(tmp_path)
    text = report.path.read_text()
    assert text.count("random-search came to") == 1
    assert "1 search method, 1 criterion and 0 controls on 2 supernets" in text
    with (report.path.parent / "queries.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["searcher"], row["cell"]) for row in rows] == [
        (record.searcher, entry["cell"]) for _, record in run.records for entry in record.trace if record.queries
    ]


def test_a_report_without_supernets_tells_of_trained_cells(tmp_path: Path) -> None:
    """Its question and its answer are about them, and it says of no supernet."""
    Engine(smoke(searchers=("random-search",)), tmp_path, device="cpu", listener=Silent()).run()
    text = write_report(tmp_path).path.read_text()
    assert "How far does a number of trained cells lead? 1 search without a supernet." in text
    assert "| Supernets |" not in text


def recorded(seed: int, queries: int, *steps: tuple[int, float], searcher: str = "random-search") -> RunRecord:
    """A record whose best cell was so many percent from so many queries on."""
    trace = tuple({"queries": n, "cell": str(Cell.from_number(n)), "queried": 0.0, "accuracy": a} for n, a in steps)
    return RunRecord(
        searcher=searcher,
        dataset="d",
        seed=seed,
        selector="queries",
        status="ok",
        queries=queries,
        trace=trace,
        accuracy=steps[-1][1],
        metric="cifar10/test/200",
    )


def test_any_time_accuracies_are_means_of_the_best_so_far() -> None:
    """At each milestone the cells that were best by then, worse ones included; up to the least budget of the seeds."""
    records = [recorded(0, 30, (1, 50.0), (12, 90.0), (25, 80.0)), recorded(1, 40, (1, 70.0), (5, 60.0))]
    (found,) = anytime(records)
    assert (found.searcher, found.seeds, found.budget) == ("random-search", (0, 1), 30)
    assert {n: summary.mean for n, summary in found.accuracies.items()} == {1: 60, 5: 55, 10: 55, 20: 75, 30: 70}
    assert accuracy_after(records[0], 11) == 50.0
    assert accuracy_after(records[0], 0) is None


def test_a_supernets_options_are_not_for_them() -> None:
    """What a grid says of all supernets is not theirs; what it says of them by name is checked."""
    grid = smoke("search.epochs=3", "searcher.random-search.budget=7", searchers=("random-search", "darts-v1"))
    assert grid.searchers[0].options == {"budget": 7}
    with pytest.raises(InputError, match=r"search\.epochs=3 has no use: no supernet is trained"):
        smoke("search.epochs=3", searchers=("random-search",))
    with pytest.raises(InputError, match="unknown option of the searcher 'random-search' 'epochs'"):
        Engine(
            smoke("searcher.random-search.epochs=3", searchers=("random-search",)),
            Path("nowhere"),
            device="cpu",
            listener=Silent(),
        )


def test_one_that_cheats_is_a_failed_record(tmp_path: Path) -> None:
    """An answer that was not trained, and a query too many, are errors in the record; the grid goes on."""
    plugin = tmp_path / "cheats.py"
    plugin.write_text(
        "from dataclasses import dataclass\n"
        "from dartboard.benchmark.catalogue import Entry\n"
        "from dartboard.benchmark.contracts import Selection\n"
        "from dartboard.benchmark.space import Cell\n"
        "@dataclass(frozen=True)\n"
        "class Config:\n"
        "    budget: int = 2\n"
        "    extra: int = 0\n"
        "class Cheat:\n"
        "    name, paper, config_class = 'cheat', 'nobody 2020', Config\n"
        "    def __init__(self, config): self.config = config\n"
        "    def search(self, queries, generator):\n"
        "        for n in range(self.config.budget + self.config.extra): queries.accuracy(Cell.from_number(n))\n"
        "        return Selection(cell=Cell.from_number(9))\n"
        "SEARCHERS = [\n"
        "    Entry(name='cheat', place=f'{__name__}:Cheat', summary='x', queries=True),\n"
        "    Entry(name='greedy', place=f'{__name__}:Cheat', summary='x', queries=True, options={'extra': 1}),\n"
        "]\n"
    )
    methods = catalogues([plugin])
    overrides = Overrides(searchers=("cheat", "greedy", "random-search"), selectors=("magnitude",), table="analog")
    grid = read_grid("smoke", overrides, searchers=methods.searchers, selectors=methods.selectors)
    outcome = Engine(grid, tmp_path / "run", device="cpu", listener=Silent()).run()
    assert outcome.ok == outcome.failed / 2 == len(grid.seeds)
    errors = {record.searcher: record.error for record in read_records(tmp_path / "run") if not record.ok}
    assert "which it did not train" in str(errors["cheat"])
    assert "all 2 trained cells of the budget are asked for" in str(errors["greedy"])


def test_verify_runs_their_own_checks(capsys: pytest.CaptureFixture[str]) -> None:
    """`dartboard verify searcher random-search` runs the checks of searches that train single cells."""
    with pytest.raises(SystemExit) as ended:
        main(["verify", "searcher", "random-search", "--json"])
    assert not ended.value.code
    printed = json.loads(capsys.readouterr().out)
    assert [check["check"] for check in printed["checks"]] == [check_name(check) for check in CHECKS]


@pytest.mark.shared_data
def test_methods_against_the_official_table(shared_data: Path) -> None:
    """Asked by validation accuracy, 150 trained cells lead evolution within a point of the best test accuracy."""
    from dartboard.benchmark.tables.store import read_table

    truth: GroundTruth = read_table(shared_data / "nb201_official.csv.gz").table
    scored = Metric("cifar10", "test", 200)
    queries = Queries(truth, queried_metric(truth, scored), 150)
    assert queries.metric == Metric("cifar10-valid", "valid", 200)
    cell = RegularisedEvolution(EvolutionConfig()).search(queries, seeded(0)).cell
    assert truth.regret(cell, scored) < 1
    assert BUDGET < 150
