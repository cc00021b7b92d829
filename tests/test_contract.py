"""The contract over the whole catalogue, and `dartboard verify`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from dartboard.benchmark.catalogue import Catalogue, Entry
from dartboard.harness import searcher_checks, selector_checks
from dartboard.harness.cli import main
from dartboard.harness.searcher_checks import SearcherCase
from dartboard.harness.selector_checks import SelectorCase
from dartboard.harness.verify import check_name, examine
from dartboard.searchers._catalogue import SEARCHERS
from dartboard.selectors._catalogue import SELECTORS

Check = Callable[[Any], None]


# Every check runs on the first entry of each class. Its further entries (other options), and searchers under the other
# protocol, run those whose outcome hangs on options.
OF_OPTIONS = (
    *("step-results", "same-seed-same-trajectory", "state-round-trip", "settled-edges"),
    *("answers-a-cell", "leaves-all-as-it-was", "same-generator-same-answer", "nan-raises", "images-counted"),
    *("permutes-with-the-operations", "chooses-from-the-table"),
)


def is_variant(entry: Entry, catalogue: Catalogue) -> bool:
    """Whether an earlier entry has the same class."""
    return next(e for e in catalogue if e.place == entry.place) is not entry


def searcher_runs() -> list[Any]:
    """Every searcher, with the options to run it under and the checks to run."""
    return [
        pytest.param(entry, options, check, id=f"{entry.name}-{protocol}{check_name(check)}")
        for entry in SEARCHERS
        if not entry.queries
        for protocol, options in (("", {}), ("autodl-", {"protocol": "autodl"}))
        for check in searcher_checks.CHECKS
        if not (options or is_variant(entry, SEARCHERS)) or check_name(check) in OF_OPTIONS
    ]


def selector_runs() -> list[Any]:
    """Every selector and yardstick, with the checks to run; what a class does not claim is not run."""
    return [
        pytest.param(entry, check, id=f"{entry.name}-{check_name(check)}")
        for entry in SELECTORS
        for check in (selector_checks.YARDSTICK_CHECKS if entry.control == "truth" else selector_checks.CHECKS)
        if not is_variant(entry, SELECTORS) or check_name(check) in OF_OPTIONS
        if check is not selector_checks.check_permutes_with_the_operations or hasattr(entry.load(), "equivariant")
    ]


def require_kept(check: Check, case: SearcherCase | SelectorCase) -> None:
    """Fail, skip or mark a test as the check's verdict says."""
    verdict = examine(check, case)
    if verdict.status == "skipped":
        pytest.skip(verdict.detail)
    if verdict.status == "exception":
        pytest.xfail(verdict.detail)
    assert verdict.status == "ok", verdict.detail


@pytest.mark.parametrize(("entry", "options", "check"), searcher_runs())
def test_every_searcher_keeps_the_contract(entry: Entry, options: dict[str, Any], check: Check) -> None:
    """Each check of the contract holds for each searcher of the catalogue."""
    require_kept(check, SearcherCase.of(entry, **options))


@pytest.mark.parametrize(("entry", "check"), selector_runs())
def test_every_selector_keeps_the_contract(entry: Entry, check: Check) -> None:
    """Each check of the contract holds for each selector of the catalogue, under the preset `smoke`."""
    require_kept(check, SelectorCase.of(entry))


def test_verify_tells_one_line_a_check(capsys: pytest.CaptureFixture[str]) -> None:
    """`dartboard verify selector prior` prints a line for each check and ends well."""
    with pytest.raises(SystemExit) as ended:
        main(["verify", "selector", "prior"])
    assert ended.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1].rstrip(":") for line in lines] == [check_name(check) for check in selector_checks.CHECKS]
    assert {line.split()[0] for line in lines} == {"ok", "skipped"}


def test_verify_tells_yardsticks_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    """`dartboard verify selector oracle --json` is one object with a verdict for each check of yardsticks."""
    with pytest.raises(SystemExit) as ended:
        main(["verify", "selector", "oracle", "--json"])
    assert ended.value.code == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["kind"], told["name"], told["ok"]) == ("selector", "oracle", True)
    assert [check["check"] for check in told["checks"]] == [check_name(c) for c in selector_checks.YARDSTICK_CHECKS]
    assert all(check == {**check, "status": "ok", "detail": ""} for check in told["checks"])


def test_verify_refuses_an_unknown_name(capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown method ends in one line with the nearest name and exit code 2."""
    with pytest.raises(SystemExit) as ended:
        main(["verify", "searcher", "darts-v3"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("Error: unknown searcher 'darts-v3'; did you mean 'darts-v")
