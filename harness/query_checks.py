"""What holds for every search that trains single cells: small named checks on a made-up table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from dartboard.benchmark.catalogue import Entry
from dartboard.benchmark.contracts import QuerySearch, Selection
from dartboard.benchmark.ground_truth import GroundTruth, Metric, Provenance
from dartboard.benchmark.queries import Queries
from dartboard.benchmark.space import CONV3X3, SPACE_SIZE, Cell, E, O
from dartboard.benchmark.streams import stream
from dartboard.harness.grid import Method
from dartboard.harness.guard import global_state_kept
from dartboard.harness.prepare import prepare_query_search
from dartboard.harness.presets import PRESETS
from dartboard.harness.verify import check_configuration_frozen, check_described, require

BUDGET: Final = 15
METRIC: Final = Metric("cifar10-valid", "valid", 200)


def toy_truth() -> GroundTruth:
    """A made-up table: ten points for each 3x3 convolution of a cell, and less than one by its number."""
    digits = np.arange(SPACE_SIZE)[:, None] // O ** np.arange(E) % O
    column = 10.0 * (digits == CONV3X3).sum(axis=1) + np.arange(SPACE_SIZE) / SPACE_SIZE
    texts = dict.fromkeys(("title", "source", "version", "licence", "sha256", "aggregation"), "made up")
    return GroundTruth(provenance=Provenance(name="toy", official=False, **texts), accuracy={METRIC: column})


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryCase:
    """A search that trains single cells, at the size of the preset `smoke`."""

    entry: Entry
    factory: Any
    search: QuerySearch

    @classmethod
    def of(cls, entry: Entry) -> QueryCase:
        """The case of a catalogue's entry.

        Raises:
            InputError: when it cannot be loaded or configured.
        """
        options = {**PRESETS["smoke"].searchers.get(entry.name, {}), **entry.options}
        search = prepare_query_search(Method(label=entry.name, entry=entry, options=options)).search
        return cls(entry=entry, factory=type(search), search=search)

    def run(self, budget: int, seed: int = 0) -> tuple[Selection, Queries]:
        """One search on the made-up table."""
        queries = Queries(toy_truth(), METRIC, budget)
        return self.search.search(queries, stream(seed, "queries")), queries


def check_has_a_budget(case: QueryCase) -> None:
    """The configuration has a budget of at least one trained cell."""
    budget = getattr(case.search.config, "budget", None)
    require(isinstance(budget, int) and budget >= 1, f"its configuration's budget is {budget!r}")


def check_keeps_to_the_budget(case: QueryCase) -> None:
    """Whatever the budget, one cell included, it asks for no more and for at least one."""
    for budget in (1, 2, BUDGET):
        _, queries = case.run(budget)
        require(1 <= len(queries.asked) <= budget, f"of {budget} trained cells it asked for {len(queries.asked)}")


def check_answers_the_best_trained_cell(case: QueryCase) -> None:
    """The answer is a cell that it trained, and none that it trained is better."""
    selection, queries = case.run(BUDGET)
    answers = dict(queries.asked)
    require(selection.cell in answers, f"it answered with {selection.cell}, which it did not train")
    require(answers[selection.cell] == max(answers.values()), "it trained a better cell than it answered with")


def check_trace_is_of_the_queries(case: QueryCase) -> None:
    """The trace has an entry for each better cell, in order, and ends with the answer."""
    selection, queries = case.run(BUDGET)
    require(selection.trace == queries.trace, "the trace is not that of the queries")
    last = selection.trace[-1]["cell"]
    require(Cell.parse(last) == selection.cell, f"the trace ends with {last}, the answer is {selection.cell}")


def check_same_generator_same_answer(case: QueryCase) -> None:
    """Equal generators lead to the same queries, and the global random state stays as it is."""
    with global_state_kept("the search"):
        one, other = (case.run(BUDGET)[1].asked for _ in range(2))
    require(one == other, "with the same generator it asked for other cells")
    require(case.run(BUDGET, seed=1)[1].asked != one, "with another generator it asked for the same cells")


CHECKS: Final = (
    check_described,
    check_configuration_frozen,
    check_has_a_budget,
    check_keeps_to_the_budget,
    check_answers_the_best_trained_cell,
    check_trace_is_of_the_queries,
    check_same_generator_same_answer,
)
