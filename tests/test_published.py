from __future__ import annotations

import csv
import re
from dataclasses import fields, replace
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
import scipy.stats

from dartboard.benchmark.ground_truth import Metric
from dartboard.benchmark.space import SKIP, Cell
from dartboard.benchmark.tables.columns import read_columns
from dartboard.results import published as module
from dartboard.results.contents_published import comparison_rows, comparisons, published_section
from dartboard.results.document import Table
from dartboard.results.published import (
    EVIDENCE,
    OWN_SELECTOR,
    QUERY_SEARCHES,
    Published,
    Setting,
    published_of,
    read_published,
)
from dartboard.results.published_comparison import RECIPES, WORDS, Ours, compare, ours
from dartboard.results.records import RunHeader, RunRecord
from dartboard.results.rundata import read_run
from dartboard.results.samples import sample_run
from dartboard.searchers._catalogue import SEARCHERS
from dartboard.searchers._training import PROTOCOLS
from dartboard.selectors._catalogue import SELECTORS

# Methods of the literature that have published numbers and are not in our catalogue.
ELSEWHERE = {"setn", "enas", "fairnas", "sgnas", "eg-nas", "rlnas", "po-nas", "is-darts", "zero-cost-pt"}

SETTING = Setting(
    searched_on="cifar10",
    train_images=50_000,
    image_size=32,
    epochs=50,
    recipe="autodl",
    batch_norm="batch",
    none_allowed=True,
    halves="random",
    channels=16,
    cells_per_stage=5,
)
THEIRS = Published(
    method="darts-v1",
    selector=None,
    variant="",
    dataset="cifar10",
    split="test",
    mean=90.0,
    std=1.0,
    n=4,
    setting=SETTING,
    source="a made-up paper",
    table="Table 1",
    arxiv="",
    evidence="[paper]",
    note="",
)


def of(*accuracies: float, **changes: object) -> Ours:
    """Our result with these accuracies, in the setting of `THEIRS` but for the changes."""
    made = Ours(
        method="darts-v1",
        selector="magnitude",
        setting=SETTING,
        accuracies={"cifar10/test/200": accuracies},
        table_official=True,
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # the tests name its fields


def test_every_line_of_the_file_is_read() -> None:
    """Each line is one number in percent with a mark of evidence, none stands twice, and what is not known is None."""
    rows = read_published()
    path = Path(module.__file__).with_name("published.csv")
    lines = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
    assert len(rows) == len(lines) - 1
    assert all(0 <= row.mean <= 100 and (row.std is None or row.std >= 0) and row.evidence in EVIDENCE for row in rows)
    assert {row.split for row in rows} == {"valid", "test"}
    assert {row.dataset for row in rows} == {"cifar10", "cifar100", "imagenet16-120"}
    assert {row.setting.none_allowed for row in rows} == {True, False, None}
    keys = [(row.method, row.selector, row.variant, row.source, row.metric) for row in rows]
    assert len(set(keys)) == len(keys)


def test_published_methods_are_ours_by_name_or_named_here() -> None:
    """A row's method is a searcher of the catalogue or known to be elsewhere; its selector is one of the catalogue."""
    assert {row.method for row in read_published()} <= {entry.name for entry in SEARCHERS} | ELSEWHERE
    assert set(QUERY_SEARCHES) == {entry.name for entry in SEARCHERS if entry.queries}
    assert {row.selector for row in read_published() if row.selector} <= {entry.name for entry in SELECTORS}
    assert set(OWN_SELECTOR.values()) <= {entry.name for entry in SELECTORS} | {"queries"}


def test_arxiv_ids_are_those_of_the_methods_files() -> None:
    """An id of a source stands in the `paper` of a method of ours, or is one of the two benchmarks'."""
    papers = " ".join(entry.load().paper for catalogue in (SEARCHERS, SELECTORS) for entry in catalogue)
    known = {*re.findall(r"arXiv:(\S+?)(?=[;,\s]|$)", papers), "2001.00326", "2009.00437"}
    assert {row.arxiv for row in read_published() if row.arxiv} <= known


def test_numbers_from_memory_say_so() -> None:
    """Both marks of memory count as such, no other does, and the mark stands in the citation."""
    for row in read_published():
        assert row.from_memory == (row.evidence.lower() == "[mem]")
        assert row.cited.endswith(f"({row.evidence})")


def test_recipes_are_the_two_protocols() -> None:
    """Each recipe has the values of the searchers' protocol of its name."""
    assert RECIPES.keys() == PROTOCOLS.keys()
    for name, recipe in RECIPES.items():
        assert {key: getattr(PROTOCOLS[name], key) for key in recipe} == dict(recipe)


@pytest.mark.shared_data
def test_rows_without_spread_are_single_cells_of_the_official_table(shared_data: Path) -> None:
    """The row of DARTS is the cell of six skips, and that of DrNAS one cell, to a hundredth in all six columns."""
    table, _ = read_columns(shared_data / "nb201_official.csv.gz")
    darts = [row for row in published_of("darts-v1") if row.variant == "running statistics"]
    drnas = [row for row in published_of("drnas") if row.table == "Table 4"]
    best = Cell.parse("|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|")
    for rows, cell in ((darts, Cell((SKIP,) * 6)), (drnas, best)):
        assert len(rows) == 6
        for row in rows:
            assert table.lookup(cell, Metric.parse(row.metric)) == pytest.approx(row.mean, abs=0.006), row


def test_the_interval_is_welchs() -> None:
    """The interval for the difference is SciPy's of the two samples, widened by 0.005 on either side."""
    generator = np.random.default_rng(0)
    for n, m in ((2, 3), (4, 4), (7, 3)):
        mine, others = generator.normal(90, 2, n), generator.normal(91, 1, m)
        theirs = replace(THEIRS, mean=float(others.mean()), std=float(others.std(ddof=1)), n=m)
        verdict = compare(theirs, of(*mine))
        expected = scipy.stats.ttest_ind(mine, others, equal_var=False).confidence_interval(0.95)
        assert verdict.low == pytest.approx(expected.low - 0.005, abs=1e-10)
        assert verdict.high == pytest.approx(expected.high + 0.005, abs=1e-10)
        assert verdict.word == ("agrees" if verdict.low <= 0 <= verdict.high else "differs")


@pytest.mark.parametrize("unknown", [{"std": None}, {"n": None}])
def test_without_a_published_spread_nothing_is_said_to_differ(unknown: dict[str, None]) -> None:
    """The interval is that of our sample alone: it can hold their mean, and proves nothing where it does not."""
    mine = (90.5, 91.5, 92.0)
    verdict = compare(replace(THEIRS, **unknown), of(*mine))
    expected = scipy.stats.ttest_1samp(mine, THEIRS.mean).confidence_interval(0.95)
    assert verdict.low == pytest.approx(expected.low - THEIRS.mean - 0.005, abs=1e-10)
    assert "of our seeds alone" in verdict.reasons[0]
    assert verdict.word == "agrees"
    assert compare(replace(THEIRS, **unknown), of(95.0, 95.1, 95.2)).word == "not told"
    assert compare(THEIRS, of(95.0, 95.1, 95.2)).word == "differs"


def test_equal_cells_agree_within_the_printed_figure() -> None:
    """Where neither side varies, half a unit of the last figure is all that the means may differ by."""
    theirs = replace(THEIRS, mean=54.30, std=0.0)
    assert compare(theirs, of(54.303, 54.303)).word == "agrees"
    assert compare(theirs, of(54.32, 54.32)).word == "differs"


@pytest.mark.parametrize("name", [entry.name for entry in fields(Setting)])
def test_another_setting_is_not_comparable(name: str) -> None:
    """One field that differs, or that one side does not know, is enough, and the reason names it."""
    other = not SETTING.none_allowed if name == "none_allowed" else type(getattr(SETTING, name))(7)
    verdict = compare(THEIRS, of(89.0, 91.0, setting=replace(SETTING, **{name: other})))
    assert verdict.word == "not comparable"
    assert verdict.reasons == (verdict.reasons[0],)
    assert verdict.reasons[0].startswith(f"{WORDS[name]}: ")
    assert verdict.difference == 0.0
    assert verdict.low is None
    unknown = replace(SETTING, **{name: None})
    assert compare(THEIRS, of(89.0, 91.0, setting=unknown)).reasons == (f"not known of our number: {WORDS[name]}",)
    theirs = replace(THEIRS, setting=unknown)
    assert compare(theirs, of(89.0, 91.0)).reasons == (f"not known of their number: {WORDS[name]}",)


def test_one_seed_or_another_table_is_not_comparable() -> None:
    """Fewer than two seeds, a table that is not the official one, and an accuracy that we have not, each say so."""
    one = compare(THEIRS, of(THEIRS.mean - 5.0))
    assert (one.word, one.difference, one.low) == ("not comparable", pytest.approx(-5.0), None)
    assert one.reasons == ("ours is one seed, which has no spread",)
    nothing = compare(THEIRS, of(accuracies={}))
    assert nothing.reasons == ("no seed of ours has this accuracy",)
    assert nothing.difference is None
    analog = compare(THEIRS, of(90.0, 91.0, table_official=False))
    assert (analog.word, analog.reasons) == ("not comparable", ("our table is not the official one",))


def test_searches_that_train_cells_are_not_comparable_by_time() -> None:
    """Their published budgets are of simulated time, ours of cells."""
    row = published_of("random-search")[0]
    verdict = compare(row, of(90.0, 91.0, accuracies={row.metric: (90.0, 91.0)}))
    assert verdict.word == "not comparable"
    assert "budget" in verdict.reasons[0]


def test_ours_are_read_from_records_and_header() -> None:
    """Method, setting, table and accuracies of a run come from its records and the header's options."""
    protocol = {
        **RECIPES["autodl"],
        "epochs": 50,
        "track_running_stats": False,
        "split": "random",
        "weight_decay": 0.5,
    }
    header = RunHeader(
        name="g",
        preset="paper",
        searchers=("darts-v1@2",),
        selectors=("magnitude@plain",),
        datasets=("c",),
        seeds=(0, 1),
        options={
            "searchers": {"darts-v1@2": {"method": "darts-v1", "protocol": protocol}},
            "selectors": {"magnitude@plain": {"method": "magnitude", "exclude_none": True}},
        },
        images={"c": {"name": "cifar10"}},
    )
    records = [
        RunRecord(
            searcher="darts-v1@2",
            dataset="c",
            seed=seed,
            selector="magnitude@plain",
            status="ok",
            accuracies={"cifar10/test/200": 90.0 + seed},
            channels=16,
            cells_per_stage=5,
            image_size=32,
            train_images=25_000,
            valid_images=25_000,
            table_official=True,
        )
        for seed in (0, 1)
    ]
    failed = RunRecord(
        searcher="darts-v1@2", dataset="c", seed=2, selector="magnitude@plain", status="failed", error="e"
    )
    (found,) = ours([*records, failed], header)
    assert (found.method, found.selector, found.table_official) == ("darts-v1", "magnitude", True)
    assert found.accuracies == {"cifar10/test/200": (90.0, 91.0)}
    assert found.setting == replace(SETTING, none_allowed=False, recipe="autodl but weight_decay=0.5")


def test_a_report_sets_ours_beside_the_published_numbers(tmp_path: Path) -> None:
    """Each published number of what was run is a row, with its mark and the reasons; another criterion's are not."""
    folder = sample_run(tmp_path, searchers=("darts-v1",), selectors={"magnitude": None, "perturbation-loss": None})
    run = read_run(folder)
    entries = comparisons(run)
    assert {(mine.method, mine.selector) for mine, _, _ in entries} == {("darts-v1", "magnitude")}
    assert {theirs.metric for _, theirs, _ in entries} == {
        "cifar10/test/200",
        "cifar100/test/200",
        "imagenet16-120/test/200",
    }
    section = published_section(run)
    assert section is not None
    table = section.blocks[1]
    assert isinstance(table, Table)
    judged = [theirs for _, theirs, _ in entries if theirs.metric == "cifar10/test/200"]
    assert [row[2].split(" ")[0] for row in table.rows] == [f"{theirs.mean:.2f}" for theirs in judged]
    assert ["(unverified)" in row[2] for row in table.rows] == [theirs.from_memory for theirs in judged]
    assert {row[7] for row in table.rows} == {"not comparable"}
    assert [float(row[6]) for row in table.rows] == [
        pytest.approx(fmean(mine.accuracies[theirs.metric]) - theirs.mean, abs=0.005)
        for mine, theirs, _ in entries
        if theirs.metric == "cifar10/test/200"
    ]
    assert len(list(comparison_rows(run))) == len(entries)
    assert published_section(replace(run, header=None)) is None
