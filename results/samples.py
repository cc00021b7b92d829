"""Made-up run folders, for tests and to look at a report without training: no number here is a measurement."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dartboard.benchmark.space import CONV1X1, CONV3X3, NONE, POOL, SKIP, SPACE_SIZE, Cell, E, O
from dartboard.results.json_lines import to_json
from dartboard.results.records import (
    EpochRecord,
    RunHeader,
    RunKey,
    RunRecord,
    SearchKey,
    records_path,
    search_folder,
    write_header,
)

SELECTORS: Final[Mapping[str, str | None]] = {
    "magnitude": None,
    "magnitude-no-none": None,
    "perturbation": None,
    "random": "blind",
    "prior": "blind",
    "oracle": "truth",
}
"""The selectors of a sample run, with their kind of control."""

METRICS: Final = {
    "cifar10/test/200": (94.37, 1.0),
    "cifar100/test/200": (73.51, 1.6),
    "imagenet16-120/test/200": (47.31, 1.4),
}
"""The accuracy of the best cell, and how many points one point of made-up badness costs."""


def sample_run(
    folder: Path,
    *,
    searchers: Sequence[str] = ("darts",),
    selectors: Mapping[str, str | None] = SELECTORS,
    datasets: Sequence[str] = ("digits",),
    seeds: Sequence[int] = (0, 1, 2),
    epochs: int = 20,
    official: bool = False,
    fails: Callable[[RunKey], bool] = lambda key: False,  # noqa: ARG005  (no run fails)
) -> Path:
    """Write a run folder of made-up searches that drift to skip connections, and return it.

    The numbers depend on the arguments alone. `fails` names the runs that end in an error.
    """
    table = {"name": "made-up", "official": official, "sha256": "0" * 64, "title": "invented numbers"}
    write_header(
        folder,
        RunHeader(
            name="sample",
            preset="smoke",
            searchers=tuple(searchers),
            selectors=tuple(selectors),
            datasets=tuple(datasets),
            seeds=tuple(seeds),
            search_epochs=dict.fromkeys(searchers, epochs),
            table=table,
            images={dataset: {"source": "made up", "image_size": 8, "original_size": 16} for dataset in datasets},
            reduction="8 channels instead of 16 and 1 cell per stage instead of 5",
            dartboard_version="0.1.0",
            torch_version="2.13.0",
            numpy_version="2.4.6",
            python_version="3.11.9",
            commit="0123456789abcdef0123456789abcdef01234567",
            device="cpu",
        ),
    )
    records = []
    for search in (SearchKey(*key) for key in product(searchers, datasets, seeds)):
        mixtures = _mixtures(search, epochs)
        _write_lines(
            search_folder(folder, search) / "epochs.jsonl",
            [_epoch(epoch, mixture) for epoch, mixture in enumerate(mixtures, start=1)],
        )
        for selector, control in selectors.items():
            key = RunKey(*search, selector)
            records.append(_record(key, control, mixtures, official=official, failed=fails(key)))
    _write_lines(records_path(folder), records)
    return folder


def _write_lines(path: Path, rows: Sequence[RunRecord | EpochRecord]) -> None:
    """All at once: `append_record` waits for the disk each time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(to_json(row), ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def sample_accuracies(cell: Cell) -> dict[str, float]:
    """Made-up accuracies of a cell, in percent: best with convolutions, worst without a path to the output."""
    lowest = _badness().min()
    return {
        metric: round(float(best - cost * (_badness()[cell.number] - lowest)), 2)
        for metric, (best, cost) in METRICS.items()
    }


@cache
def _badness() -> NDArray[np.float64]:
    """(15625,): how bad each cell is, at least 0 and all but distinct."""
    operations = np.arange(SPACE_SIZE)[:, None] // O ** np.arange(E - 1, -1, -1) % O  # (15625, E)
    cost = np.zeros(O)
    cost[[NONE, POOL, SKIP, CONV1X1, CONV3X3]] = 2.0, 1.6, 1.2, 0.35, 0.0
    edges = np.array([1.0, 0.7, 0.8, 1.1, 0.9, 1.3])
    badness = (cost[operations] * edges).sum(axis=1)
    badness -= 1.9 * (operations[:, 3] == SKIP)  # a shortcut from input to output helps
    bare = (operations != CONV1X1) & (operations != CONV3X3)
    badness += 25 * bare.all(axis=1) + 5 * (bare.sum(axis=1) == E - 1)
    badness += np.arange(SPACE_SIZE) % 97 * 1e-3
    return np.asarray(badness, dtype=np.float64)


def _mixtures(search: SearchKey, epochs: int) -> list[NDArray[np.float64]]:
    generator = np.random.default_rng(zlib.crc32(str(search).encode()))
    drift = np.zeros(O)
    drift[[NONE, POOL, SKIP, CONV1X1, CONV3X3]] = -0.6, -0.4, 1.0, 0.1, 0.15
    bias = generator.normal(0.0, 0.6, (E, O))
    steps = generator.normal(0.0, 0.05, (epochs, E, O)).cumsum(axis=0)
    mixtures = []
    for epoch in range(epochs):
        time = (epoch + 1) / epochs
        logits = bias * time * (1 - time / 2) * 2 + 2.2 * drift * time**2 + steps[epoch]
        mixtures.append(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True))
    return mixtures


def _epoch(epoch: int, mixture: NDArray[np.float64]) -> EpochRecord:
    cell = Cell.from_scores(mixture)
    return EpochRecord(
        epoch=epoch,
        mixture=tuple(tuple(round(float(weight), 6) for weight in row) for row in mixture),
        cell=str(cell),
        accuracies=sample_accuracies(cell),
        train_loss=round(2.3 / (1 + 0.3 * epoch), 4),
        valid_loss=round(2.3 / (1 + 0.25 * epoch), 4),
        train_accuracy=round(100 - 90 / (1 + 0.3 * epoch), 2),
        valid_accuracy=round(100 - 90 / (1 + 0.25 * epoch), 2),
        learning_rate=0.025,
        seconds=1.5,
    )


def _choose(key: RunKey, mixtures: list[NDArray[np.float64]]) -> Cell:
    generator = np.random.default_rng(zlib.crc32(str(key).encode()))
    scores = mixtures[-1].copy() if mixtures else np.full((E, O), 0.2)
    if key.selector == "magnitude":
        return Cell.from_scores(scores)
    if key.selector == "prior":
        return Cell((CONV3X3,) * E)
    if key.selector == "random":
        return Cell(tuple(int(o) for o in generator.integers(0, O, E)))
    if key.selector == "oracle":
        return Cell.from_number(int(_badness().argmin()))
    scores[:, NONE] = -np.inf
    scores[:, [CONV1X1, CONV3X3]] *= 1.5 if key.selector == "magnitude-no-none" else generator.uniform(1.5, 6.0)
    return Cell.from_scores(scores)


def _record(
    key: RunKey, control: str | None, mixtures: list[NDArray[np.float64]], *, official: bool, failed: bool
) -> RunRecord:
    metric = next(iter(METRICS))
    base = RunRecord(
        searcher=key.searcher,
        dataset=key.dataset,
        seed=key.seed,
        selector=key.selector,
        control=control,
        status="failed" if failed else "ok",
        error="ValueError: the scores hold NaN, which ranks nothing" if failed else None,
        metric=metric,
        channels=8,
        cells_per_stage=1,
        image_size=8,
        train_images=640,
        valid_images=640,
        batch_size=64,
        table="made-up",
        table_sha256="0" * 64,
        table_official=official,
        preset="smoke",
        dartboard_version="0.1.0",
        torch_version="2.13.0",
        numpy_version="2.4.6",
        python_version="3.11.9",
        commit="0123456789abcdef0123456789abcdef01234567",
        device="cpu",
        search_epochs=len(mixtures),
        search_steps=10 * len(mixtures),
        search_images=1280 * len(mixtures),
        search_seconds=1.5 * len(mixtures),
        finished_at="2026-01-01T00:00:00+00:00",
    )
    if failed:
        return base
    cell = _choose(key, mixtures)
    accuracies = sample_accuracies(cell)
    place = _badness()[cell.number]
    passes = 0 if control or key.selector.startswith("magnitude") else 30 + zlib.crc32(key.selector.encode()) % 90
    return replace(
        base,
        cell=str(cell),
        cell_number=cell.number,
        cell_canonical=str(cell),
        accuracies=accuracies,
        accuracy=accuracies[metric],
        regret=round(METRICS[metric][0] - accuracies[metric], 2),
        rank=int((_badness() < place).sum()) + 1,
        percentile=round(100 * float((_badness() > place).sum()) / (SPACE_SIZE - 1), 3),
        selection_images=640 * passes,
        selection_gradient_images=0,
        selection_seconds=0.02 + 0.4 * passes,
        peak_memory_mb=412.5,
        supernet_accuracy_valid=71.25,
    )
