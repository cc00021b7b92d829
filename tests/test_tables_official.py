from __future__ import annotations

import bz2
import io
import os
import pickle
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from nas_201_api import NASBench201API
from nas_201_api.api_utils import ArchResults, ResultsCount

from dartboard.benchmark.errors import InputError
from dartboard.benchmark.ground_truth import Metric
from dartboard.benchmark.space import SPACE_SIZE, Cell
from dartboard.benchmark.tables.official import read_document, read_nats, read_nats_cell, read_pth

# Of each data set: the benchmark's sets of images evaluated at every epoch, and those at the last one only.
EVALUATIONS = {
    "cifar10-valid": (("ori-test",), ("x-valid",)),
    "cifar10": (("ori-test",), ()),
    "cifar100": (("ori-test",), ("x-valid", "x-test")),
    "ImageNet16-120": (("ori-test",), ("x-valid", "x-test")),
}


def trial(draw: random.Random, dataset: str, cell: str, seed: int, epochs: int, *, every: bool) -> ResultsCount:
    """One training as the benchmark's own class keeps it; `every` epoch of it, or the last one only."""
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


def states(index: int, cell: str, *, every: bool = True, datasets: tuple[str, ...] = tuple(EVALUATIONS)) -> Any:
    """What a file of the benchmark holds of one cell: one to three trials on each data set."""
    draw = random.Random(index)
    both = {}
    for key, epochs in (("full", 200), ("less", 12)):
        results = ArchResults(index, cell)
        for dataset in datasets:
            for seed in (777, 888, 999)[: draw.randint(1, 3) if epochs == 200 else 1]:
                results.update(dataset, seed, trial(draw, dataset, cell, seed, epochs, every=every))
        both[key] = results.state_dict()
    return both


def document(count: int, **options: Any) -> dict[str, Any]:
    """A whole file's content in an order of cells that is not ours."""
    order = np.random.default_rng(0).permutation(SPACE_SIZE)[:count]
    strings = [str(Cell.from_number(int(number))) for number in order]
    return {
        "meta_archs": strings,
        "total_archs": len(strings),
        "arch2infos": {i: states(i, cell, **options) for i, cell in enumerate(strings)},
        "evaluated_indexes": set(range(count)),
    }


@pytest.fixture(scope="module")
def small() -> dict[str, Any]:
    """Five cells with every epoch."""
    return document(5)


def saved(content: Any, path: Path, *, legacy: bool) -> Path:
    """As torch.save writes it, today or before version 1.6."""
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


def assert_equal_to_package(values: dict[str, float], api: Any, index: int) -> None:
    """Each column's value is what the package's own queries return for that cell."""
    for name, value in values.items():
        if "/" in name and name.split("/")[0] in ("parameters", "flops", "seconds"):
            cost, dataset = name.split("/")
            theirs = {"imagenet16-120": "ImageNet16-120"}.get(dataset, dataset)
            if cost == "seconds":
                expected = api.get_more_info(index, theirs, hp="200", is_random=False)["train-all-time"]
            else:
                expected = api.get_cost_info(index, theirs, hp="200")[{"parameters": "params", "flops": "flops"}[cost]]
            assert value == pytest.approx(expected, rel=1e-14)
        else:
            metric = Metric.parse(name)
            theirs = {"imagenet16-120": "ImageNet16-120"}.get(metric.dataset, metric.dataset)
            info = api.get_more_info(index, theirs, hp=str(metric.epochs), is_random=False)
            assert value == info[f"{metric.split}-accuracy"]


@pytest.mark.parametrize("legacy", [False, True])
def test_document_equals_package(small: dict[str, Any], legacy: bool, tmp_path: Path) -> None:
    """Every column of every cell, from either form of file, is what nas-bench-201 answers for the same dictionary."""
    from dartboard.benchmark.tables.official import _main_pickle

    with _main_pickle(saved(small, tmp_path / "x.pth", legacy=legacy)) as stream:
        results = read_document(stream)
    api = NASBench201API(small, verbose=False)
    assert [result.index for result in results] == [0, 1, 2, 3, 4]
    for result in results:
        # 4 data sets: train and test on all, validation on three, twice; and three costs each
        assert len(result.columns) == 2 * 11 + 3 * 4
        assert api.query_index_by_arch(str(result.cell)) == result.index
        assert_equal_to_package(dict(result.columns), api, result.index)


def test_query_by_arch_prints_our_numbers(small: dict[str, Any], tmp_path: Path) -> None:
    """The text that others parse, `query_by_arch`, holds the same accuracies to its two decimals."""
    api = NASBench201API(small, verbose=False)
    (result, *_) = read_document(io.BytesIO(pickle.dumps(small, protocol=2)))
    text = api.query_by_arch(str(result.cell), "200")
    for metric in ("cifar10-valid/valid/200", "cifar10/test/200", "cifar100/test/200", "imagenet16-120/valid/200"):
        assert f"top1 = {result.columns[metric]:.2f}%" in text


def test_whole_file(tmp_path: Path) -> None:
    """All 15,625 cells of a file become a table in the order of cell numbers, equal to the package's answers."""
    content = document(SPACE_SIZE, every=False, datasets=("cifar10",))
    done = []
    path = saved(content, tmp_path / "NAS-Bench-201-v1_1-096897.pth", legacy=False)
    table = read_pth(path, progress=lambda n, total: done.append((n, total)))
    assert done[0] == (1, SPACE_SIZE)
    assert done[-1] == (SPACE_SIZE, SPACE_SIZE)
    assert (table.provenance.name, table.provenance.version, table.provenance.official) == ("nb201-v1_1", "v1_1", True)
    assert table.official_index is not None
    metric = Metric("cifar10", "test", 200)
    for index in (0, 1, 6111, 15624):
        results = ArchResults.create_from_state_dict(content["arch2infos"][index]["full"])
        cell = Cell.parse(content["meta_archs"][index])
        assert table.lookup(cell, metric) == results.get_metrics("cifar10", "ori-test")["accuracy"]
        assert table.official_index[cell.number] == index
        assert table.parameters["cifar10"][cell.number] == pytest.approx(results.get_compute_costs("cifar10")["params"])


def test_incomplete_file(small: dict[str, Any], tmp_path: Path) -> None:
    """A file that lacks cells is refused as incomplete."""
    with pytest.raises(InputError, match=r"has 5 of the 15,625 cells"):
        read_pth(saved(small, tmp_path / "x.pth", legacy=False))


def test_single_cell() -> None:
    """A document of one cell, which pickle writes in another way, is read too."""
    (result,) = read_document(io.BytesIO(pickle.dumps(document(1), protocol=2)))
    assert result.index == 0


def _renamed(content: dict[str, Any]) -> None:
    content["arch2infos"][1]["less"]["arch_str"] = "|what~0|"
    content["arch2infos"][1]["full"]["arch_str"] = "|what~0|"


def _swapped(content: dict[str, Any]) -> None:
    infos = content["arch2infos"]
    infos[0], infos[1] = infos[1], infos[0]


def _wrong_epochs(content: dict[str, Any]) -> None:
    content["arch2infos"][0]["less"] = content["arch2infos"][0]["full"]


def _without_trials(content: dict[str, Any]) -> None:
    content["arch2infos"][0]["full"]["all_results"] = {}


def _no_infos(content: dict[str, Any]) -> None:
    content["arch2infos"] = None


def _no_strings(content: dict[str, Any]) -> None:
    del content["meta_archs"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_renamed, "what~0"),
        (_swapped, "index 0 are those of cell 1"),
        (_wrong_epochs, "200 epochs under the key 'less'"),
        (_without_trials, "not the results of a NAS-Bench-201 cell"),
        (_no_infos, "expected 'meta_archs' and 'arch2infos'"),
        (_no_strings, "expected 'meta_archs' and 'arch2infos'"),
    ],
)
def test_wrong_content(small: dict[str, Any], spoil: Callable[[dict[str, Any]], None], message: str) -> None:
    """A document whose cells are not what they should be is refused with the reason."""
    content = pickle.loads(pickle.dumps(small))
    spoil(content)
    with pytest.raises(InputError, match=message):
        read_document(io.BytesIO(pickle.dumps(content, protocol=2)))


class _Attack:
    def __reduce__(self) -> Any:
        return os.system, ("true",)


@pytest.mark.parametrize("legacy", [False, True])
def test_attack_refused(legacy: bool, tmp_path: Path) -> None:
    """A .pth that would call a function is refused by that function's name."""
    with pytest.raises(InputError, match="system"):
        read_pth(saved({"meta_archs": _Attack()}, tmp_path / "x.pth", legacy=legacy))


def test_tensors_refused(tmp_path: Path) -> None:
    """A .pth of network weights is no table."""
    with pytest.raises(InputError):
        read_pth(saved({"weight": torch.zeros(2)}, tmp_path / "x.pth", legacy=False))


def test_not_a_pth(tmp_path: Path) -> None:
    """Other content under the name of a .pth is refused."""
    for content in (b"", b"hello", pickle.dumps([1, 2]), pickle.dumps(1) * 3):
        (tmp_path / "x.pth").write_bytes(content)
        with pytest.raises(InputError, match=r"x\.pth is not a file of torch\.save"):
            read_pth(tmp_path / "x.pth")


def nats_states(index: int, cell: str) -> Any:
    """NATS-Bench's keys for the same states."""
    found = states(index, cell, every=False, datasets=("cifar10",))
    return {"12": found["less"], "200": found["full"]}


def test_nats_single_file(tmp_path: Path) -> None:
    """NATS-Bench's one-file form is read like the other, compressed or not."""
    strings = [str(Cell.from_number(number)) for number in range(SPACE_SIZE)]
    content = {"meta_archs": strings, "arch2infos": {i: nats_states(i, strings[i]) for i in range(3)}}
    for name, data in (("x.pickle", pickle.dumps(content)), ("x.pickle.pbz2", bz2.compress(pickle.dumps(content)))):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match="has 3 of the 15,625"):
            read_nats(tmp_path / name)
    results = read_document(io.BytesIO(pickle.dumps(content)))
    for result in results:
        expected = ArchResults.create_from_state_dict(content["arch2infos"][result.index]["200"])
        assert result.columns["cifar10/test/200"] == expected.get_metrics("cifar10", "ori-test")["accuracy"]


def test_nats_folder(tmp_path: Path) -> None:
    """A folder without all files is refused before any is read, and a file under another cell's name when it is."""
    cell = str(Cell.from_number(5))
    (tmp_path / "000007.pickle.pbz2").write_bytes(bz2.compress(pickle.dumps(nats_states(8, cell))))
    with pytest.raises(InputError, match="has 1 of the 15,625 cells' files"):
        read_nats(tmp_path)
    with pytest.raises(InputError, match=r"000007\.pickle\.pbz2 holds the results of cell 8"):
        read_nats_cell(tmp_path / "000007.pickle.pbz2")
    (tmp_path / "000008.pickle.pbz2").write_bytes(b"BZh nonsense")
    with pytest.raises(InputError, match=r"000008\.pickle\.pbz2"):
        read_nats_cell(tmp_path / "000008.pickle.pbz2")


@pytest.mark.shared_data
@pytest.mark.parametrize("index", [0, 11, 284])
def test_real_nats_cells(shared_data: Path, index: int) -> None:
    """The real files of three cells give the NATS-Bench means that another project extracted."""
    result = read_nats_cell(shared_data / "nats-bench-sample" / f"{index:06d}.pickle.pbz2")
    row = pd.read_csv(shared_data / "nb201_official.csv.gz").set_index("index").loc[index]
    assert str(result.cell) == row["arch_str"]
    for ours, theirs in {
        "cifar10/test/200": "c10_test_200_nats",
        "cifar100/test/200": "c100_test_200_nats",
        "imagenet16-120/test/200": "in16_test_200_nats",
        "parameters/cifar10": "params_M_c10",
        "flops/imagenet16-120": "flops_M_in16",
    }.items():
        assert result.columns[ours] == pytest.approx(row[theirs], abs=2e-6)  # the columns are rounded to 6 decimals


@pytest.mark.shared_data
def test_real_nats_sample_is_incomplete(shared_data: Path) -> None:
    """The real folder of three cells is refused as a table."""
    with pytest.raises(InputError, match="has 3 of the 15,625 cells' files"):
        read_nats(shared_data / "nats-bench-sample")
