from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import pytest
from numpy.typing import NDArray

from dartboard.benchmark.errors import InputError
from dartboard.benchmark.ground_truth import GroundTruth, Metric, Provenance
from dartboard.benchmark.space import SPACE_SIZE, Cell

TEST = Metric("cifar10", "test", 200)
VALID = Metric("cifar10-valid", "valid", 200)
PROVENANCE = Provenance(
    name="made-up",
    title="random numbers",
    source="numpy",
    version="1",
    licence="none",
    sha256="",
    aggregation="none",
    official=False,
)


def random_column(seed: int) -> NDArray[np.float64]:
    """Accuracies with many ties."""
    return np.random.default_rng(seed).integers(0, 1000, SPACE_SIZE) / 10.0


@pytest.fixture(scope="module")
def truth() -> GroundTruth:
    """A table with a test and a validation column."""
    return GroundTruth(provenance=PROVENANCE, accuracy={TEST: random_column(0), VALID: random_column(1)})


@pytest.mark.parametrize("text", ["cifar10/test/200", "cifar10-valid/valid/12", "imagenet16-120/train/200"])
def test_metric_round_trip(text: str) -> None:
    """A metric is written as it is read."""
    assert str(Metric.parse(text)) == text


def test_official_spelling() -> None:
    """The benchmark's own spelling of ImageNet16-120 is understood."""
    assert Metric.parse("ImageNet16-120/test/200") == ("imagenet16-120", "test", 200)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("cifar10", "'cifar10'"),
        ("cifar10/test", "'cifar10/test'"),
        ("cifar10/test/0", "'cifar10/test/0'"),
        ("cifar10/test/-1", "'cifar10/test/-1'"),
        ("cifar10/test/²", "'cifar10/test/²'"),
        ("cifar10/test/0200", "'cifar10/test/0200'"),
        ("cifar10/test/" + "9" * 5000, "not a metric"),  # more digits than Python turns into a number
        ("cifar10/tests/200", "'tests'; did you mean 'test'"),
        ("cifar-10/test/200", "'cifar-10'; did you mean 'cifar10'"),
    ],
)
def test_malformed_metric(text: str, names: str) -> None:
    """A malformed metric is refused with a message that quotes what is wrong."""
    with pytest.raises(InputError) as refused:
        Metric.parse(text)
    assert names in str(refused.value)


def test_queries_equal_brute_force(truth: GroundTruth) -> None:
    """Look-up, rank, percentile and regret of single cells are those of counting by hand, ties included."""
    column = [float(value) for value in random_column(0)]
    for number in (0, 17, 7812, SPACE_SIZE - 1, int(np.argmax(column)), int(np.argmin(column))):
        cell, value = Cell.from_number(number), column[number]
        assert truth.lookup(cell, TEST) == value
        assert truth.rank(cell, TEST) == 1 + sum(other > value for other in column)
        assert truth.percentile(cell, TEST) == pytest.approx(100 * sum(other < value for other in column) / 15624)
        assert truth.regret(cell, TEST) == max(column) - value


def test_arrays_equal_single_cells(truth: GroundTruth) -> None:
    """An array of numbers, in any shape, and a sequence of cells give what each cell gives alone."""
    numbers = np.array([[5, 300], [15624, 5]])
    cells = [Cell.from_number(int(number)) for number in numbers.flat]
    for query in (truth.lookup, truth.rank, truth.percentile, truth.regret):
        alone = [query(cell, TEST) for cell in cells]
        np.testing.assert_array_equal(query(numbers, TEST), np.reshape(alone, (2, 2)))
        np.testing.assert_array_equal(query(cells, TEST), alone)
    assert isinstance(truth.rank(cells[0], TEST), int)
    assert isinstance(truth.lookup(cells[0], TEST), float)


@pytest.mark.parametrize("numbers", [np.array([-1]), np.array([SPACE_SIZE]), np.array([1.0])])
def test_wrong_numbers(truth: GroundTruth, numbers: NDArray[np.float64]) -> None:
    """Numbers outside the space, and floats, are refused instead of wrapping around."""
    with pytest.raises(InputError, match="number"):
        truth.lookup(numbers, TEST)


def test_best_breaks_ties_by_official_index() -> None:
    """Of equally good cells the best is the first in the benchmark's own order, as its own search for it says."""
    column = np.zeros(SPACE_SIZE)
    column[[10, 20]] = 50.0
    index = np.arange(SPACE_SIZE)[::-1].copy()
    plain = GroundTruth(provenance=PROVENANCE, accuracy={TEST: column})
    official = GroundTruth(provenance=PROVENANCE, accuracy={TEST: column}, official_index=index)
    assert (plain.best(TEST).number, official.best(TEST).number) == (10, 20)
    assert plain.rank(Cell.from_number(20), TEST) == 1


def test_without_test_accuracies_validation_scores() -> None:
    """A table of validation and training columns scores by the former; one of training columns alone is refused."""
    valid = GroundTruth(provenance=PROVENANCE, accuracy={VALID: random_column(0)})
    assert valid.default_metric("cifar10") == VALID
    train = GroundTruth(provenance=PROVENANCE, accuracy={Metric("cifar10", "train", 200): random_column(0)})
    with pytest.raises(InputError, match="nothing of cifar10 to score by: name a metric of cifar10/train/200"):
        train.default_metric()


def test_default_metric() -> None:
    """A run is scored by its own data set's test accuracy at most epochs, or CIFAR-10's where the table lacks it."""
    names = ["cifar10/test/12", "cifar10/test/200", "cifar100/test/12", "cifar100/test/200", "imagenet16-120/valid/200"]
    table = GroundTruth(provenance=PROVENANCE, accuracy={Metric.parse(name): random_column(2) for name in names})
    chosen = {dataset: str(table.default_metric(dataset)) for dataset in (None, "cifar100", "imagenet16-120", "digits")}
    assert chosen == {
        None: "cifar10/test/200",
        "cifar100": "cifar100/test/200",
        "imagenet16-120": "cifar10/test/200",
        "digits": "cifar10/test/200",
    }


@pytest.mark.parametrize(("value", "quoted"), [(np.nan, "nan"), (np.inf, "inf"), (-0.1, "-0.1"), (100.1, "100.1")])
def test_wrong_values(value: float, quoted: str) -> None:
    """An accuracy that is no percentage is refused, with the cell that has it."""
    column = random_column(0)
    column[7] = value
    with pytest.raises(InputError) as refused:
        GroundTruth(provenance=PROVENANCE, accuracy={TEST: column})
    assert quoted in str(refused.value)
    assert str(Cell.from_number(7)) in str(refused.value)


def test_wrong_shape() -> None:
    """A column of another length, and an index that is no permutation, are refused."""
    with pytest.raises(InputError, match="15625 cells"):
        GroundTruth(provenance=PROVENANCE, accuracy={TEST: random_column(0)[:-1]})
    with pytest.raises(InputError, match="official indices"):
        GroundTruth(
            provenance=PROVENANCE, accuracy={TEST: random_column(0)}, official_index=np.zeros(SPACE_SIZE, np.int64)
        )


def test_million_lookups(truth: GroundTruth) -> None:
    """A million vectorised look-ups take less than a second."""
    numbers = np.random.default_rng(0).integers(0, SPACE_SIZE, 1_000_000)
    start = time.perf_counter()
    truth.lookup(numbers, TEST)
    assert time.perf_counter() - start < 1


def test_no_torch() -> None:
    """Asking a table, and finding out which there are, imports neither torch nor pandas."""
    code = (
        "import sys; from dartboard.benchmark import ground_truth; from dartboard.benchmark.tables import store;"
        " store.available_tables(); store.load_table('analog');"
        " sys.exit(' '.join({'torch', 'pandas', 'pyarrow', 'rich'} & sys.modules.keys()) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
