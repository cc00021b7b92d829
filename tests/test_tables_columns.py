from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dartboard.benchmark.errors import InputError
from dartboard.benchmark.ground_truth import Metric, Provenance
from dartboard.benchmark.space import SPACE_SIZE, Cell, every_cell
from dartboard.benchmark.tables.assemble import CellResults, assemble_cells
from dartboard.benchmark.tables.columns import read_columns

TEST = Metric("cifar10", "test", 200)


def shuffled() -> pd.DataFrame:
    """All cells in an order of their own, an accuracy that is a function of the cell, and one more column."""
    numbers = np.random.default_rng(0).permutation(SPACE_SIZE)
    return pd.DataFrame(
        {
            "cell": [str(Cell.from_number(int(number))) for number in numbers],
            "index": np.arange(SPACE_SIZE),
            "cifar10/test/200": numbers / 200,
            "parameters/cifar10": numbers / 1e4,
            "remark": "x",
        }
    )


FRAME = shuffled()


def written(frame: pd.DataFrame, path: Path) -> Path:
    """The frame as a file, by the end of its name."""
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("name", ["Some.csv", "some.csv.gz", "some.parquet"])
def test_documented_names(name: str, tmp_path: Path) -> None:
    """A file with our column names is read as it stands; what is not ours is reported as unused."""
    table, unused = read_columns(written(FRAME, tmp_path / name))
    np.testing.assert_allclose(table.accuracy[TEST], np.arange(SPACE_SIZE) / 200)
    np.testing.assert_allclose(table.parameters["cifar10"], np.arange(SPACE_SIZE) / 1e4)
    assert table.official_index is not None
    assert str(Cell.from_number(int(np.flatnonzero(table.official_index == 5)[0]))) == FRAME["cell"][5]
    assert unused == ("remark",)
    assert (table.provenance.name, table.provenance.official) == ("some", False)


def test_mapping(tmp_path: Path) -> None:
    """Other names are read through a mapping, and then only those that are mapped."""
    other = FRAME.rename(columns={"cell": "arch", "cifar10/test/200": "acc"})
    path = written(other, tmp_path / "x.csv")
    table, unused = read_columns(path, columns={"arch": "cell", "acc": "ImageNet16-120/valid/12"})
    assert [str(metric) for metric in table.metrics] == ["imagenet16-120/valid/12"]
    assert unused == ("index", "parameters/cifar10", "remark")


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"arhc": "cell", "acc": "cifar10/test/200"}, "unknown column of x.csv 'arhc'; did you mean 'arch'"),
        ({"arch": "cell", "acc": "cifar10/tset/200"}, "'tset'; did you mean 'test'"),
        ({"arch": "cell", "acc": "accuracy"}, "not a metric: 'accuracy'"),
        ({"arch": "cell"}, "name them with --columns"),
        ({"acc": "cifar10/test/200"}, "name them with --columns"),
        ({"arch": "cell", "acc": "cifar10/test/200", "index": "cifar10/test/200"}, "two columns are mapped to one"),
        ({"arch": "cell", "remark": "cifar10/test/200"}, "column 'remark' holds what is not a number"),
    ],
)
def test_wrong_mapping(mapping: dict[str, str], message: str, tmp_path: Path) -> None:
    """A mapping that names what is not there, or what no table has, is refused."""
    other = FRAME.rename(columns={"cell": "arch", "cifar10/test/200": "acc"})
    with pytest.raises(InputError) as refused:
        read_columns(written(other, tmp_path / "x.csv"), columns=mapping)
    assert message in str(refused.value)


def _without_a_row(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.drop(index=3)


def _twice(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([frame, frame.iloc[[3]]])


def _nan(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(**{"cifar10/test/200": frame["cifar10/test/200"].where(frame.index != 3)})


def _too_large(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(**{"cifar10/test/200": frame["cifar10/test/200"] * 2})


def _other_notation(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(cell=frame["cell"].str.replace("nor_conv_3x3", "conv3"))


def _no_names(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[["index", "remark"]]


def _double_index(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(index=0)


def _half_index(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(index=frame["index"] + 0.5)


def _two_spellings(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(**{"CIFAR10/test/200": 0.0})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_without_a_row, f"has 15,624 of the 15,625 cells; {FRAME['cell'][3]} is missing"),
        (_twice, f"has 1 cells more than once, such as {FRAME['cell'][3]}"),
        (_nan, f"holds nan for the cell {FRAME['cell'][3]}"),
        (_too_large, "expected a number in 0..100"),
        (_other_notation, "'conv3'"),
        (_no_names, "name them with --columns"),
        (_double_index, "official indices"),
        (_half_index, "column 'index' holds 0.5; an index is one of 0 to 15624"),
        (_two_spellings, "has two columns of one meaning: 'CIFAR10/test/200' is there already"),
    ],
)
def test_malformed_file(spoil: Callable[[pd.DataFrame], pd.DataFrame], message: str, tmp_path: Path) -> None:
    """Missing and double cells, values that are no percentage and another notation are each refused."""
    with pytest.raises(InputError) as refused:
        read_columns(written(spoil(FRAME), tmp_path / "x.csv"))
    assert message in str(refused.value)


@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz", "x.parquet"])
def test_unreadable(name: str, tmp_path: Path) -> None:
    """A file that is not what its name says is refused."""
    (tmp_path / name).write_bytes(b"\x00\xff\xfe")
    with pytest.raises(InputError, match="cannot be read"):
        read_columns(tmp_path / name)


def merged_frame() -> pd.DataFrame:
    """The columns of the merged NAS-Bench-201 file, made up."""
    numbers = np.arange(SPACE_SIZE)
    return pd.DataFrame(
        {
            "index": numbers[::-1],
            "arch_str": [str(cell) for cell in every_cell()],
            "c10valid_valid_200": numbers / 200,
            "c10_test_200": numbers / 300,
            "c10_test_200_nats": numbers / 400,
            "c10_test_200_nats_1trial": numbers / 500,
            "in16_test_12": numbers / 600,
            "flops_M_c100": numbers / 1e3,
        }
    )


def test_merged_file_never_mixes_versions(tmp_path: Path) -> None:
    """The merged file gives the v1_1 means or NATS-Bench's, never both in one table, and single trials in neither."""
    path = written(merged_frame(), tmp_path / "merged.csv.gz")
    first, unused = read_columns(path)
    nats, _ = read_columns(path, variant="nats")
    assert {str(m) for m in first.metrics} == {"cifar10-valid/valid/200", "cifar10/test/200", "imagenet16-120/test/12"}
    assert [str(metric) for metric in nats.metrics] == ["cifar10/test/200"]
    np.testing.assert_allclose(first.accuracy[TEST], np.arange(SPACE_SIZE) / 300)
    np.testing.assert_allclose(nats.accuracy[TEST], np.arange(SPACE_SIZE) / 400)
    assert unused == ("c10_test_200_nats", "c10_test_200_nats_1trial")
    assert (first.provenance.name, nats.provenance.name) == ("nb201-v1_1", "nats-tss")
    assert first.provenance.official
    assert list(first.flops) == list(nats.flops) == ["cifar100"]


def test_variant_of_another_file(tmp_path: Path) -> None:
    """A variant is refused where the file has none, and an unknown one where it has."""
    with pytest.raises(InputError, match="has no variants"):
        read_columns(written(FRAME, tmp_path / "x.csv"), variant="nats")
    with pytest.raises(InputError, match="unknown variant 'v1_0'"):
        read_columns(written(merged_frame(), tmp_path / "merged.csv"), variant="v1_0")


def test_column_that_some_cells_lack() -> None:
    """A column that a cell lacks is left out of the table, and the provenance says which."""
    results = [
        CellResults(
            index=cell.number,
            cell=cell,
            columns={"cifar10/test/200": 50.0} | ({} if cell.number == 9 else {"cifar10/train/12": 60.0}),
        )
        for cell in every_cell()
    ]
    provenance = Provenance(
        name="x", title="", source="", version="", licence="", sha256="", aggregation="mean", official=True
    )
    table = assemble_cells(results, provenance)
    assert table.metrics == (TEST,)
    assert table.provenance == replace(
        provenance, aggregation="mean; left out, because some cells lack it: cifar10/train/12"
    )
    with pytest.raises(InputError, match="no accuracy of all cells"):
        assemble_cells([replace(r, columns={} if r.index == 9 else r.columns) for r in results], provenance)


@pytest.fixture(scope="module")
def official_file(shared_data: Path) -> Path:
    """The real merged file."""
    return shared_data / "nb201_official.csv.gz"


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("metric", "accuracy", "index"),
    [
        ("cifar10/test/200", 94.3733, 6111),
        ("cifar100/test/200", 73.5133, 9930),
        ("imagenet16-120/test/200", 47.3111, 857),
    ],
)
def test_best_cells_of_the_benchmark(official_file: Path, metric: str, accuracy: float, index: int) -> None:
    """The published best cell of each data set is found, and the all-skip cell has its published accuracy."""
    table, _ = read_columns(official_file)
    column = Metric.parse(metric)
    best = table.best(column)
    assert table.lookup(best, column) == pytest.approx(accuracy, abs=5e-5)
    assert table.official_index is not None
    assert table.official_index[best.number] == index
    skip = Cell((1,) * 6)
    assert table.official_index[skip.number] == 1835
    expected = {"cifar10": 54.2967, "cifar100": 15.6067, "imagenet16-120": 16.3222}[column.dataset]
    assert table.lookup(skip, column) == pytest.approx(expected, abs=5e-5)


@pytest.mark.shared_data
def test_versions_differ_as_published(official_file: Path) -> None:
    """The v1_1 and NATS-Bench tables differ in 2,569 cells, by up to 4.8 points, as the file's authors state."""
    first, _ = read_columns(official_file)
    nats, _ = read_columns(official_file, variant="nats")
    differences = np.stack([np.abs(first.accuracy[metric] - nats.accuracy[metric]) for metric in nats.metrics])
    assert (differences > 1e-5).any(axis=0).sum() == 2569
    assert differences.max() == pytest.approx(4.8, abs=0.05)
