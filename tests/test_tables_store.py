from __future__ import annotations

import json
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from dartboard.benchmark.errors import InputError
from dartboard.benchmark.ground_truth import GroundTruth, Metric, Provenance
from dartboard.benchmark.space import CONV1X1, CONV3X3, SPACE_SIZE, Cell, connected
from dartboard.benchmark.tables import analog
from dartboard.benchmark.tables.store import (
    available_tables,
    import_table,
    imported_names,
    load_compact,
    load_embedded,
    load_table,
    provenance_of,
    read_table,
    save_compact,
)
from dartboard.harness.cli import cli

TEST = Metric("cifar10", "test", 200)
VALID = Metric("cifar10-valid", "valid", 12)
PROVENANCE = Provenance(
    name="made-up",
    title="random numbers",
    source="numpy",
    version="1",
    licence="none",
    sha256="0",
    aggregation="none",
    official=True,
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("DARTBOARD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def made_up(name: str = "made-up", *, official: bool = True) -> GroundTruth:
    """A table with every kind of column."""
    draw = np.random.default_rng(0)
    return GroundTruth(
        provenance=replace(PROVENANCE, name=name, official=official),
        accuracy={TEST: draw.uniform(0, 100, SPACE_SIZE), VALID: draw.uniform(0, 100, SPACE_SIZE)},
        parameters={"cifar10": draw.uniform(0, 2, SPACE_SIZE)},
        flops={"imagenet16-120": draw.uniform(0, 200, SPACE_SIZE)},
        training_seconds={"cifar10": draw.uniform(0, 1e4, SPACE_SIZE)},
        official_index=draw.permutation(SPACE_SIZE),
    )


def assert_equal(found: GroundTruth, expected: GroundTruth) -> None:
    """Every column and the provenance are the same, bit for bit."""
    assert found.provenance == expected.provenance
    for kind in ("accuracy", "parameters", "flops", "training_seconds"):
        assert list(getattr(found, kind)) == list(getattr(expected, kind))
        for key, column in getattr(expected, kind).items():
            np.testing.assert_array_equal(getattr(found, kind)[key], column)
    np.testing.assert_array_equal(found.official_index, expected.official_index)


def test_compact_round_trip(tmp_path: Path) -> None:
    """A table comes back from its compact file bit for bit, and that file holds no pickle."""
    save_compact(made_up(), tmp_path / "x.npz")
    assert_equal(load_compact(tmp_path / "x.npz"), made_up())
    with np.load(tmp_path / "x.npz", allow_pickle=False) as archive:
        assert sorted(archive) == ["columns", "header", "official_index"]


def test_loaded_columns_are_read_only(tmp_path: Path) -> None:
    """Nobody can change the truth by accident."""
    save_compact(made_up(), tmp_path / "x.npz")
    with pytest.raises(ValueError, match="read-only"):
        load_compact(tmp_path / "x.npz").accuracy[TEST][0] = 1.0


def test_compact_file_loads_fast_and_is_small(tmp_path: Path) -> None:
    """A table of 20 columns loads in less than 50 ms from less than 5 MB."""
    columns = {Metric("cifar10", "test", epochs): np.full(SPACE_SIZE, 50.0) for epochs in range(1, 21)}
    save_compact(replace(made_up(), accuracy=columns), tmp_path / "x.npz")
    assert (tmp_path / "x.npz").stat().st_size < 5e6
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        load_compact(tmp_path / "x.npz")
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.05


@pytest.mark.parametrize("spoiled", ["empty", "text", "cut", "other"])
def test_wrong_compact_file(spoiled: str, tmp_path: Path) -> None:
    """A file that is no table of ours is refused."""
    path = tmp_path / "x.npz"
    save_compact(made_up(), path)
    whole = path.read_bytes()
    if spoiled == "other":
        np.savez(path, columns=np.zeros(3))
    else:
        path.write_bytes({"empty": b"", "text": b"hello", "cut": whole[:-1000]}[spoiled])
    with pytest.raises(InputError, match="not a table of ours"):
        load_compact(path)


def test_damaged_compression(tmp_path: Path) -> None:
    """A compact file that somebody compressed, and whose bytes are damaged, is refused in one line."""
    path = tmp_path / "x.npz"
    np.savez_compressed(path, header=np.arange(5000, dtype=np.uint8))
    whole = bytearray(path.read_bytes())
    whole[60:90] = bytes(30)
    path.write_bytes(whole)
    for read in (load_compact, provenance_of):
        with pytest.raises(InputError, match=r"x\.npz is not a table of ours"):
            read(path)


@pytest.mark.parametrize("name", ["x.pth", "x.npz", "x.csv", "x.pickle"])
def test_a_folder_under_the_name_of_a_file(name: str, tmp_path: Path) -> None:
    """What the system does not let us read is refused by its name."""
    (tmp_path / name).mkdir()
    with pytest.raises(InputError, match=name):
        read_table(tmp_path / name)


def test_other_format(tmp_path: Path) -> None:
    """A compact file of another format is refused with the advice to import again."""
    path = tmp_path / "x.npz"
    header = json.dumps({"format": 999, "provenance": {}, "columns": []}).encode()
    np.savez(path, header=np.frombuffer(header, dtype=np.uint8), columns=np.zeros((0, SPACE_SIZE)))
    with pytest.raises(InputError, match=r"its format is 999.*import it again"):
        load_compact(path)


def test_spoiled_value_in_a_compact_file(tmp_path: Path) -> None:
    """A compact file is checked like any other: a changed value does not pass its check sum."""
    path = tmp_path / "x.npz"
    save_compact(made_up(), path)
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("columns.npy")
    data = bytearray(path.read_bytes())
    data[info.header_offset + 1000] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(InputError, match="not a table of ours"):
        load_compact(path)


def test_choice() -> None:
    """Without a choice an imported official table goes before the embedded one, and v1_1 before all; names choose."""
    assert load_table().provenance.name == "analog"
    import_table(made_up("own", official=False))
    assert load_table("auto").provenance.name == "analog"
    import_table(made_up("aaa"))
    assert load_table().provenance.name == "aaa"
    import_table(made_up(), name="nats-tss")
    assert load_table().provenance.name == "nats-tss"
    import_table(made_up(), name="nb201-v1_1")
    assert load_table().provenance.name == "nb201-v1_1"
    assert load_table("own").provenance.name == "own"
    assert load_table("analog").provenance.name == "analog"
    assert [table.name for table in available_tables()] == ["analog", "aaa", "nats-tss", "nb201-v1_1", "own"]


def test_unknown_choice(tmp_path: Path) -> None:
    """An unknown name is refused with the nearest, a path that is not there as that."""
    with pytest.raises(InputError, match="unknown table 'analogue'; did you mean 'analog'"):
        load_table("analogue")
    with pytest.raises(InputError, match="there is no file"):
        load_table(str(tmp_path / "x.csv"))
    (tmp_path / "x.txt").write_text("")
    with pytest.raises(InputError, match=r"x\.txt is of no known kind"):
        load_table(str(tmp_path / "x.txt"))


def test_path_to_a_compact_file(tmp_path: Path) -> None:
    """The compact file of another machine can be used by its path, or imported."""
    save_compact(made_up(), tmp_path / "x.npz")
    assert_equal(load_table(str(tmp_path / "x.npz")), made_up())
    import_table(read_table(tmp_path / "x.npz").table, name="again")
    assert load_table("again").provenance.name == "again"


@pytest.mark.parametrize("name", ["analog", "auto", "../x", "a/b", ".x", "a b"])
def test_wrong_name(name: str) -> None:
    """A name that is taken or would leave the folder is refused."""
    with pytest.raises(InputError, match="cannot be named"):
        import_table(made_up(), name=name)


def test_import_replaces_and_leaves_nothing_else(cache: Path) -> None:
    """A second import of a name replaces the first; no part of a file stays behind."""
    import_table(made_up())
    import_table(replace(made_up(), parameters={}))
    assert imported_names() == ["made-up"]
    assert load_table("made-up").parameters == {}
    assert [file.name for file in (cache / "tables").iterdir()] == ["made-up.npz"]


def test_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the cache cannot be written an import says so, and the embedded table works all the same."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DARTBOARD_CACHE", str(tmp_path / "file"))
    assert load_embedded().provenance.name == "analog"
    with pytest.raises(InputError, match="DARTBOARD_CACHE"):
        import_table(made_up())


def test_embedded_table() -> None:
    """The embedded table has all cells in our notation: disconnected ones at chance, convolutions above pools."""
    table = load_embedded()
    assert table.metrics == (TEST,)
    assert not table.provenance.official
    assert "not the official table" in table.provenance.title
    everyone = np.arange(SPACE_SIZE)
    np.testing.assert_array_equal(table.accuracy[TEST] == 10.0, ~connected(everyone))  # 10 classes: chance
    assert np.sum(table.accuracy[TEST] == 10.0) == 341
    alone = [table.lookup(Cell((operation,) * 6), TEST) for operation in range(5)]
    assert sorted(alone) == [alone[0], *sorted((alone[1], alone[4])), alone[CONV1X1], alone[CONV3X3]]
    assert alone[CONV3X3] == pytest.approx(93.76, abs=1)  # the official mean of that cell


def test_embedded_table_is_a_test_column() -> None:
    """The embedded accuracies are of test images, so that nothing of them is shown to a selector."""


def test_embedded_table_twice() -> None:
    """The second load comes from the compact copy, and is the same, bit for bit."""
    data, version = analog.embedded_bytes()
    provenance = analog.embedded_provenance(data, version)
    first = analog.read_embedded(data, provenance)
    load_embedded()
    second = load_embedded()
    np.testing.assert_array_equal(first.accuracy[TEST], second.accuracy[TEST])
    assert second.provenance == provenance
    assert (provenance.version, provenance.sha256[:8]) == ("0.1.3", "85f3435b")


def test_embedded_package_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package the embedded table says what to install."""
    monkeypatch.setattr(analog, "PACKAGE", "analog-nasbench-not-installed")
    with pytest.raises(InputError, match="pip install analog-nasbench"):
        analog.embedded_bytes()


def invoke(*arguments: str) -> Result:
    """The command line, in this process."""
    return CliRunner().invoke(cli, arguments)


def test_import_command(tmp_path: Path) -> None:
    """`table import` keeps a file under the name that is asked for, and tells where it comes from."""
    save_compact(made_up(), tmp_path / "x.npz")
    done = invoke("table", "import", str(tmp_path / "x.npz"), "--name", "mine", "--json")
    facts = json.loads(done.stdout)
    assert (facts["name"], facts["official"], facts["unused_columns"]) == ("mine", True, [])
    assert facts["default_metric"] == "cifar10/test/200"
    assert load_table().provenance.name == "mine"
    plain = invoke("table", "info", "mine").output
    assert plain.startswith("mine: random numbers\n")
    assert "cifar10-valid/valid/12" in plain


def test_import_command_columns(tmp_path: Path) -> None:
    """`--columns` reads a CSV of other names, and a wrong mapping is refused."""
    lines = [f"{Cell.from_number(number)},{number / 200}" for number in range(SPACE_SIZE)]
    (tmp_path / "x.csv").write_text("arch,acc\n" + "\n".join(lines))
    done = invoke("table", "import", str(tmp_path / "x.csv"), "--columns", "arch=cell,acc=cifar100/test/200")
    assert done.exit_code == 0
    assert load_table("x").lookup(Cell.from_number(100), Metric("cifar100", "test", 200)) == 0.5
    for wrong in ("arch", "arch=", "=cell"):
        assert isinstance(invoke("table", "import", str(tmp_path / "x.csv"), "--columns", wrong).exception, InputError)


@pytest.mark.parametrize("option", [("--columns", "a=b"), ("--variant", "nats")])
def test_option_for_other_files(option: tuple[str, str], tmp_path: Path) -> None:
    """An option of CSV files is refused, not ignored, with another kind of file."""
    save_compact(made_up(), tmp_path / "x.npz")
    refused = invoke("table", "import", str(tmp_path / "x.npz"), *option)
    assert "are for CSV and Parquet" in str(refused.exception)


def test_info_command() -> None:
    """`table info` tells of the table that would be used, with the best cell of each metric."""
    import_table(made_up())
    facts = json.loads(invoke("table", "info", "--json").stdout)
    table = made_up()
    assert facts["name"] == "made-up"
    for row in facts["metrics"]:
        column = table.accuracy[Metric.parse(row["metric"])]
        assert row["best"] == column.max()
        assert Cell.parse(row["best_cell"]).number == column.argmax()
        assert row["mean"] == pytest.approx(column.mean())


def test_lookup_command() -> None:
    """`lookup` finds a cell by its string, its number and its official index, with all the table has on it."""
    table = import_table(made_up())
    assert table.official_index is not None
    cell = Cell.from_number(1234)
    index = int(table.official_index[1234])
    by_string, by_number, by_index = (
        json.loads(invoke("lookup", text, "--json").stdout) for text in (str(cell), "#1234", f"@{index}")
    )
    assert by_string == by_number == by_index
    assert (by_string["cell"], by_string["number"], by_string["official_index"]) == (str(cell), 1234, index)
    assert by_string["table"] == "made-up"
    assert by_string["canonical"] == str(cell.canonical())
    assert by_string["distinct_classes"] == 5044
    assert sum(by_string["operations"].values()) == 6
    rows = {row.pop("metric"): row for row in by_string["metrics"]}
    assert rows["cifar10/test/200"] == {
        "accuracy": table.lookup(cell, TEST),
        "rank": table.rank(cell, TEST),
        "percentile": table.percentile(cell, TEST),
        "regret": table.regret(cell, TEST),
    }
    assert by_string["costs"]["cifar10"]["parameters_m"] == table.parameters["cifar10"][1234]
    assert by_string["costs"]["cifar10"]["training_seconds"] == table.training_seconds["cifar10"][1234]
    # all zeros cost the stem, the reductions and the classifier: the official table's smallest network
    assert json.loads(invoke("lookup", "#0", "--json", "--table", "analog").stdout)["costs"]["cifar10"] == {
        "parameters_m": 0.073306,
        "flops_m": 7.78305,
        "training_seconds": None,
    }


def test_lookup_command_one_metric() -> None:
    """`--metric` leaves the one line, and the plain form says which table it is from."""
    import_table(made_up())
    output = invoke("lookup", "#7", "--metric", "cifar10-valid/valid/12").output
    assert "cifar10-valid/valid/12" in output
    assert "cifar10/test/200" not in output
    assert "table made-up: random numbers" in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("|x~0|",), "'|x~0|'"),
        (("#15625",), "'#15625'"),
        (("#x",), "'#x'"),
        (("@-1",), "'@-1'"),
        (("@5",), "does not know the official index"),
        (("#5", "--metric", "cifar10/test"), "'cifar10/test'"),
        (("#5", "--metric", "cifar100/test/200"), "'cifar100/test/200'"),
        (("#5", "--table", "analogg"), "did you mean 'analog'"),
    ],
)
def test_lookup_command_refuses(arguments: tuple[str, ...], message: str) -> None:
    """Whatever cannot be looked up is refused with a message that quotes it."""
    refused = invoke("lookup", *arguments)
    assert isinstance(refused.exception, InputError)
    assert message in str(refused.exception)
    assert "\n" not in str(refused.exception)
