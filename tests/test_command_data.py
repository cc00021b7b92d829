"""`dartboard data`: what it prints, its JSON, its exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dartboard.benchmark import image_sources
from dartboard.harness.cli import main

Dartboard = Callable[..., tuple[int, str, str]]


@pytest.fixture
def dartboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Dartboard:
    """Call the command line with an empty cache: exit code, standard output, standard error."""
    monkeypatch.setenv("DARTBOARD_CACHE", str(tmp_path / "cache"))

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(list(arguments))
        code = caught.value.code
        assert isinstance(code, int)
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """A pack of 6 white or black images in two classes."""
    images = np.repeat(np.array([0, 255], dtype=np.uint8), 3)[:, None, None, None]
    path = tmp_path / "mine.npz"
    np.savez(path, train_images=np.broadcast_to(images, (6, 16, 16, 3)), train_y=np.repeat([0, 1], 3), source="by hand")
    return path


FACTS: dict[str, Any] = {
    "train_images": 6,
    "test_images": 0,
    "image_size": 16,
    "num_classes": 2,
    "train_per_class": [3, 3],
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
    "crop_padding": 2,
    "flip": True,
    "source": "by hand",
    "present": True,
}


def test_a_pack_is_fetched_under_a_name_and_told_of(dartboard: Dartboard, pack: Path) -> None:
    """`fetch --name` registers a pack; `info` knows it by name without the file; both print the same JSON."""
    code, fetched, error = dartboard("data", "fetch", str(pack), "--name", "black-white", "--json")
    assert (code, error) == (0, "")
    facts = json.loads(fetched)
    assert len(facts.pop("sha256")) == 64
    assert facts == FACTS | {"name": "black-white"}
    pack.unlink()
    assert dartboard("data", "info", "black-white", "--json") == (0, fetched, "")


def test_a_pack_is_told_of_by_its_path(dartboard: Dartboard, pack: Path) -> None:
    """`info PACK.npz` reads the pack; the text names source, counts, size, augmentation and checksum."""
    code, told, _ = dartboard("data", "info", str(pack))
    assert code == 0
    lines = dict(line.strip().split(maxsplit=1) for line in told.splitlines()[1:])
    assert told.startswith("mine\n")
    assert lines["source"] == "by hand"
    assert lines["images"] == "6 for training, 0 for testing"
    assert lines["size"] == "16x16, 2 classes of 3 to 3 training images"
    assert lines["augmentation"] == "crop (padding 2), mirrored"
    assert len(lines["sha256"]) == 64


def test_the_digits_are_always_there(dartboard: Dartboard) -> None:
    """The embedded digits need no fetching, and fetching them is no error."""
    code, told, _ = dartboard("data", "info", "digits", "--json")
    facts = json.loads(told)
    assert (code, facts["present"], facts["train_images"], facts["flip"]) == (0, True, 1500, False)
    assert dartboard("data", "fetch", "digits", "--json") == (0, told, "")


def test_info_downloads_nothing(dartboard: Dartboard, monkeypatch: pytest.MonkeyPatch) -> None:
    """A data set that is not there yet is told of as such, without a look at the network."""

    def download(_: Any) -> Path:
        raise AssertionError("info went to the network")

    monkeypatch.setattr(image_sources, "_download", download)
    code, told, _ = dartboard("data", "info", "cifar100", "--json")
    facts = json.loads(told)
    assert (code, facts["name"], facts["present"]) == (0, "cifar100", False)
    assert set(facts) == {"name", "present", "source"}
    assert "not fetched yet (`dartboard data fetch cifar100`)" in dartboard("data", "info", "cifar100")[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["info", "cifra10"], "unknown data set 'cifra10'; did you mean 'cifar10'"),
        (["info", "none.npz"], "no pack of images at none.npz"),
        (["fetch", "cifar10", "--from", "nowhere"], "nothing at nowhere"),
        (["fetch", "imagenet16-120"], "cannot be downloaded"),
        (["fetch", "cifar10", "--name", "mine"], "'cifar10' has its name already"),
        (["fetch"], "Missing argument"),
        (["fetch", "digits", "--frm", "x"], "No such option"),
    ],
)
def test_bad_input_ends_in_one_line_and_exit_code_2(dartboard: Dartboard, arguments: list[str], message: str) -> None:
    """Wrong names, paths and options: exit code 2, nothing on standard output, no traceback."""
    code, told, error = dartboard("data", *arguments)
    assert (code, told) == (2, "")
    assert message in error
    assert "Traceback" not in error
