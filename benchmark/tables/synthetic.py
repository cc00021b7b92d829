"""Files in NAS-Bench-201's own format, with random numbers: for tests, and for `dartboard bench table`.

The classes are those of the package `nas-bench-201`, so what it reads from such a file is what it would read from the
published one. A cell has one to three trials at 200 epochs on each data set and one at 12, as there.
"""

from __future__ import annotations

import pickle
import random
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, ClassVar, Final

import numpy as np

from dartboard.benchmark.ground_truth import Metric
from dartboard.benchmark.space import SPACE_SIZE, Cell
from dartboard.benchmark.tables.official import SETS, TORCH_MAGIC

EVALUATIONS: Final = {
    # of each data set: the sets of images evaluated at every epoch, and those at the last one only
    "cifar10-valid": (("ori-test",), ("x-valid",)),
    "cifar10": (("ori-test",), ()),
    "cifar100": (("ori-test",), ("x-valid", "x-test")),
    "ImageNet16-120": (("ori-test",), ("x-valid", "x-test")),
}


def make_document(cells: int, *, every: bool = True, datasets: Sequence[str] = tuple(EVALUATIONS)) -> dict[str, Any]:
    """The content of a file of so many cells, in an order that is not ours.

    Args:
        cells: at most 15,625.
        every: whether each epoch of a trial is there, as in the published file, or the last one only.
        datasets: by the package's names.
    """
    strings = _strings(cells)
    return {
        "meta_archs": strings,
        "total_archs": len(strings),
        "arch2infos": {i: make_states(i, cell, every=every, datasets=datasets) for i, cell in enumerate(strings)},
        "evaluated_indexes": set(range(cells)),
    }


def _strings(cells: int) -> list[str]:
    order = np.random.default_rng(0).permutation(SPACE_SIZE)[:cells]
    return [str(Cell.from_number(int(number))) for number in order]


def make_states(
    index: int, cell: str, *, every: bool = True, datasets: Sequence[str] = tuple(EVALUATIONS)
) -> dict[str, Any]:
    """What a file holds of one cell; drawn from its index alone."""
    from nas_201_api.api_utils import ArchResults

    draw = random.Random(index)
    both = {}
    for key, epochs in (("full", 200), ("less", 12)):
        results = ArchResults(index, cell)
        for dataset in datasets:
            for seed in (777, 888, 999)[: draw.randint(1, 3) if epochs == 200 else 1]:
                results.update(dataset, seed, _make_trial(draw, dataset, cell, seed, epochs, every=every))
        both[key] = results.state_dict()
    return both


def _make_trial(draw: random.Random, dataset: str, cell: str, seed: int, epochs: int, *, every: bool) -> Any:
    """One training as the package's own class keeps it; `every` epoch of it, or the last one only."""
    from nas_201_api.api_utils import ResultsCount

    kept = range(epochs) if every else [epochs - 1]
    accuracies = {epoch: draw.uniform(0, 100) for epoch in kept}
    config = {"channel": 16, "num_cells": 5, "arch_str": cell, "class_num": 10}
    size = np.float64(draw.uniform(0.1, 1.5))
    result = ResultsCount(
        dataset, None, accuracies, accuracies, size, draw.uniform(1, 200), config, seed, epochs, [0.01]
    )
    result.update_train_info(accuracies, None, accuracies, {e: draw.random() for e in kept} if every else None)
    often, at_last = EVALUATIONS[dataset]
    for images in (*often, *at_last):
        values = {epoch: draw.uniform(0, 100) for epoch in kept if images in often or epoch == epochs - 1}
        result.update_OLD_eval(images, values, values)
        if every:
            result.reset_pseudo_eval_times(images, draw.random())
    return result


def save_pth(content: Any, path: Path, *, legacy: bool) -> Path:
    """Write as torch.save does, today or, `legacy`, before version 1.6, as the published files were."""
    import torch

    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


def write_pth(cells: int, path: Path) -> Path:
    """Write the file of `save_pth(make_document(cells), path, legacy=True)`, holding one cell at a time."""
    strings = _strings(cells)
    infos = ((index, make_states(index, cell)) for index, cell in enumerate(strings))
    document = {
        "meta_archs": strings,
        "total_archs": len(strings),
        "arch2infos": _Stream(infos),
        "evaluated_indexes": set(range(cells)),
    }
    system = {
        "protocol_version": 1001,
        "little_endian": True,
        "type_sizes": {"short": 2, "int": 4, "long": 4},
    }
    with path.open("wb") as file:
        for head in (TORCH_MAGIC, 1001, system):
            pickle.dump(head, file, protocol=2)
        _StreamPickler(file).dump(document)
        pickle.dump([], file, protocol=2)  # the names of the tensors that follow: none
    return path


class _Stream:
    """Stands for the dictionary of these items, which are made one at a time."""

    def __init__(self, items: Iterable[tuple[int, Any]]) -> None:
        self.items = items

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        return iter(self.items)


_InPython: Any = pickle._Pickler  # the standard library's pickler, of which parts can be replaced


class _StreamPickler(_InPython):  # type: ignore[misc]  # it has no types
    """Writes a pickle of protocol 2 that holds a `_Stream`, and forgets each of its items once it is written.

    What a pickle has written it may refer to later, so a pickler keeps all of it. Here only that is kept which was
    written up to the end of the first item: what later items share, they share with the first one.
    """

    memo: dict[int, tuple[int, object]]  # by the identity of an object: its number, and itself
    dispatch: ClassVar[dict[type, Any]] = dict(_InPython.dispatch)

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file, protocol=2)
        self.written = 0  # objects that have a number

    def memoize(self, obj: object) -> None:
        """Number an object, counting the forgotten ones too."""
        self.write(self.put(self.written))
        self.memo[id(obj)] = self.written, obj
        self.written += 1

    def save_stream(self, stream: _Stream) -> None:
        """As the standard library writes a dictionary: its items in batches of 1,000."""
        self.write(pickle.EMPTY_DICT)
        self.memoize(stream)
        known: dict[int, tuple[int, object]] | None = None
        for number, (key, value) in enumerate(stream):
            if number % 1000 == 0:
                self.write(pickle.SETITEMS + pickle.MARK if number else pickle.MARK)
            self.save(key)
            self.save(value)
            known = known or dict(self.memo)
            self.memo = dict(known)
        self.write(pickle.SETITEMS)

    dispatch[_Stream] = save_stream


def ask_package(api: Any, index: int, column: str) -> float:
    """What a `NASBench201API` answers for one of our columns (see `assemble`) of the cell under `index`."""
    cost, _, dataset = column.partition("/")
    if cost in ("parameters", "flops", "seconds"):
        theirs = SETS[dataset][0]
        if cost == "seconds":
            return float(api.get_more_info(index, theirs, hp="200", is_random=False)["train-all-time"])
        return float(api.get_cost_info(index, theirs, hp="200")["params" if cost == "parameters" else "flops"])
    metric = Metric.parse(column)
    info = api.get_more_info(index, SETS[metric.dataset][0], hp=str(metric.epochs), is_random=False)
    return float(info[f"{metric.split}-accuracy"])
