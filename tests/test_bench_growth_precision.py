"""Growth and precision, as `dartboard bench` measures them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from dartboard.benchmark.errors import InputError
from dartboard.harness import bench_growth, bench_precision
from dartboard.harness.bench import Settings
from dartboard.harness.commands.bench import command
from dartboard.harness.devices import find_device, tf32

SMALL = Settings(channels=2, cells_per_stage=1, image_size=8, batch_size=64, rounds=1)


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
def test_the_slope_of_a_power_is_its_exponent(power: float) -> None:
    """3·n^k has slope k, whatever the factor."""
    assert bench_growth.slope([4, 8, 16, 32], [3 * n**power for n in (4, 8, 16, 32)]) == pytest.approx(power, abs=1e-9)


def test_flops_and_bytes_grow_as_the_arithmetic_of_convolutions_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Along the batch and the pixels' number FLOP have slope 1 and 2 (per side); operations do not grow."""
    monkeypatch.setattr(bench_growth, "AXES", {"image_size": (8, 16), "batch_size": (16, 32)})
    report = bench_growth.measure_growth(SMALL, memory=False)
    assert report.slopes("image_size")["flops"] == pytest.approx(2, abs=0.01)
    assert report.slopes("batch_size")["flops"] == pytest.approx(1, abs=0.01)
    assert report.slopes("batch_size")["operations"] == pytest.approx(0, abs=1e-9)
    told = "\n".join(report.as_text())
    assert "batch_size=32" in told
    assert json.loads(json.dumps(report.as_json()))["slopes"].keys() == {"image_size", "batch_size"}
    assert all(point.limit > 0 for point in report.points)


def test_agreement_is_the_mean_rank_correlation_of_the_edges() -> None:
    """Five edges in the same order and one in the opposite have mean correlation 4/6 and five choices in common."""
    truth = np.tile(np.arange(5.0), (6, 1))
    ours = truth.copy()
    ours[0] = ours[0, ::-1]
    found = bench_precision.agreement("any", ours, truth)
    assert found.correlation == pytest.approx(4 / 6)
    assert found.same_edges == 5
    assert bench_precision.agreement("any", ours, np.zeros((6, 5))).correlation is None


def test_float32_is_near_and_bfloat16_farther_from_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounding to 24 bits leaves 1e-3 of the gradient at most, rounding to 8 bits at least 1e-3."""
    monkeypatch.setattr(bench_precision, "EPOCHS", 1)
    monkeypatch.setattr(bench_precision, "CRITERIA", {"first-order": {}})
    monkeypatch.setattr(bench_precision, "find_device", lambda _: torch.device("cpu"))
    report = bench_precision.measure_precision(SMALL)
    single, half = report.precisions
    assert (single.name, half.name) == ("float32", "bfloat16")
    assert 0 < single.error < 1e-3 < half.error
    assert single.cosine > 1 - 1e-6
    assert single.criteria[0].correlation == pytest.approx(1, abs=0.05)
    assert "first-order" in "\n".join(report.as_text())
    assert report.as_json()["target"] == "precision"


def test_tf32_is_on_only_where_it_is_asked_for() -> None:
    """A device found computes float32 in full, and so it does again after `tf32`."""
    find_device("cpu")
    assert not torch.backends.cudnn.allow_tf32
    with tf32():
        assert torch.backends.cudnn.allow_tf32
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32


@pytest.mark.parametrize(
    ("target", "option"),
    [("startup", "--channels=4"), ("precision", "--clock=cpu"), ("table", "--no-memory"), ("step", "--searcher=gdas")],
)
def test_an_option_that_a_target_does_not_heed_is_refused(target: str, option: str) -> None:
    """No option is accepted and ignored."""
    with pytest.raises(InputError, match=f"{target}.*{option.partition('=')[0]}"):
        CliRunner().invoke(command, [target, option], catch_exceptions=False)
