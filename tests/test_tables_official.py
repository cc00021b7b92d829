from __future__ import annotations

import bz2
import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from nas_201_api import NASBench201API
from nas_201_api.api_utils import ArchResults

from dartboard.benchmark.errors import InputError
from dartboard.benchmark.ground_truth import Metric
from dartboard.benchmark.space import SPACE_SIZE, Cell
from dartboard.benchmark.tables.official import (
    read_document,
    read_nats,
    read_nats_cell,
    read_pth,
    read_pth_cells,
)
from dartboard.benchmark.tables.synthetic import ask_package, make_document, make_states, save_pth


@pytest.fixture(scope="module")
def small() -> dict[str, Any]:
    """Five cells with every epoch."""
    return make_document(5)


@pytest.mark.parametrize("legacy", [False, True])
def test_document_equals_package(small: dict[str, Any], legacy: bool, tmp_path: Path) -> None:
    """Every column of every cell, from either form of file, is what nas-bench-201 answers for the same dictionary."""
    results = read_pth_cells(save_pth(small, tmp_path / "x.pth", legacy=legacy))
    api = NASBench201API(small, verbose=False)
    assert [result.index for result in results] == [0, 1, 2, 3, 4]
    for result in results:
        # 4 data sets: train and test on all, validation on three, twice; and three costs each
        assert len(result.columns) == 2 * 11 + 3 * 4
        assert api.query_index_by_arch(str(result.cell)) == result.index
        for column, value in result.columns.items():
            exact = column.split("/")[0] not in ("parameters", "flops", "seconds")
            assert value == pytest.approx(ask_package(api, result.index, column), rel=0 if exact else 1e-14, abs=0)


def test_query_by_arch_prints_our_numbers(small: dict[str, Any], tmp_path: Path) -> None:
    """The text that others parse, `query_by_arch`, holds the same accuracies to its two decimals."""
    api = NASBench201API(small, verbose=False)
    (result, *_) = read_document(io.BytesIO(pickle.dumps(small, protocol=2)))
    text = api.query_by_arch(str(result.cell), "200")
    for metric in ("cifar10-valid/valid/200", "cifar10/test/200", "cifar100/test/200", "imagenet16-120/valid/200"):
        assert f"top1 = {result.columns[metric]:.2f}%" in text


def test_whole_file(tmp_path: Path) -> None:
    """All 15,625 cells of a file become a table in the order of cell numbers, equal to the package's answers."""
    content = make_document(SPACE_SIZE, every=False, datasets=("cifar10",))
    done = []
    path = save_pth(content, tmp_path / "NAS-Bench-201-v1_1-096897.pth", legacy=False)
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
        read_pth(save_pth(small, tmp_path / "x.pth", legacy=False))


def test_single_cell() -> None:
    """A document of one cell, which pickle writes in another way, is read too."""
    (result,) = read_document(io.BytesIO(pickle.dumps(make_document(1), protocol=2)))
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
        read_pth(save_pth({"meta_archs": _Attack()}, tmp_path / "x.pth", legacy=legacy))


def test_a_cell_cannot_name_a_file(small: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a text stands in the place of a cell's states, the package would load the file of that name: refused."""
    read = []
    monkeypatch.setattr(torch, "load", lambda *arguments, **_: read.append(arguments))
    content = pickle.loads(pickle.dumps(small))
    content["arch2infos"][1]["full"] = "another.pth"
    with pytest.raises(InputError, match="a str under the key 'full'"):
        read_document(io.BytesIO(pickle.dumps(content, protocol=2)))
    assert not read


@pytest.mark.parametrize("place", [-60, 60])
def test_a_damaged_zip_is_refused(small: dict[str, Any], place: int, tmp_path: Path) -> None:
    """A .pth whose list of contents or whose contents are damaged is refused in one line."""
    path = save_pth(small, tmp_path / "x.pth", legacy=False)
    whole = bytearray(path.read_bytes())
    start = whole.index(b"PK\x01\x02") if place < 0 else 0  # of the list of contents, or of the first file's head
    whole[start : start + 4] = b"XXXX"
    path.write_bytes(whole)
    with pytest.raises(InputError, match=r"x\.pth is not a readable file of torch\.save"):
        read_pth(path)


def test_tensors_refused(tmp_path: Path) -> None:
    """A .pth of network weights is no table."""
    with pytest.raises(InputError):
        read_pth(save_pth({"weight": torch.zeros(2)}, tmp_path / "x.pth", legacy=False))


def test_not_a_pth(tmp_path: Path) -> None:
    """Other content under the name of a .pth is refused."""
    for content in (b"", b"hello", pickle.dumps([1, 2]), pickle.dumps(1) * 3):
        (tmp_path / "x.pth").write_bytes(content)
        with pytest.raises(InputError, match=r"x\.pth is not a file of torch\.save"):
            read_pth(tmp_path / "x.pth")


def nats_states(index: int, cell: str) -> Any:
    """NATS-Bench's keys for the same states."""
    found = make_states(index, cell, every=False, datasets=("cifar10",))
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
