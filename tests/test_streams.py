"""Random streams by name, epochs, and checkpoints."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch

from dartboard.benchmark.contracts import Batch, StepResult
from dartboard.benchmark.epochs import EpochMeter
from dartboard.benchmark.errors import InputError
from dartboard.benchmark.streams import derive, split_off, stream
from dartboard.harness.checkpoints import FileJournal, load_state, save_state


def test_a_stream_is_the_same_everywhere() -> None:
    """`derive` is the first 8 bytes of SHA-256 over the seed and names, which no machine or version changes."""
    expected = int(hashlib.sha256(b"3\0train\x007").hexdigest()[:16], 16) // 2
    assert derive(3, "train", 7) == expected


def test_names_make_streams_apart() -> None:
    """Different seeds, names and numbers give different streams; ("a", "b") is not ("ab",)."""
    seeds = {derive(0, "a"), derive(1, "a"), derive(0, "b"), derive(0, "a", 1), derive(0, "a", "b"), derive(0, "ab")}
    assert len(seeds) == 6


def test_a_stream_and_a_split_leave_the_global_state_alone() -> None:
    """Equal names give equal draws, and the global generator does not move."""
    state = torch.random.get_rng_state()
    assert torch.equal(torch.rand(5, generator=stream(1, "x")), torch.rand(5, generator=stream(1, "x")))
    assert split_off(stream(1, "x")) == split_off(stream(1, "x"))
    assert torch.equal(state, torch.random.get_rng_state())


def test_the_epochs_means_weigh_each_image_the_same() -> None:
    """A batch of 3 at loss 1 and one of 1 at loss 5 have mean loss 2; 3 of 4 right are 75 %."""
    meter = EpochMeter()
    for loss, seen, right in ((1.0, 3, 2), (5.0, 1, 1)):
        value = torch.tensor(loss)
        count = torch.tensor(right)
        meter.add(
            StepResult(
                train_loss=value,
                valid_loss=2 * value,
                train_correct=count,
                valid_correct=count,
                train_seen=seen,
                valid_seen=seen,
                images=2 * seen,
            )
        )
    result = meter.result()
    assert (result.train_loss, result.valid_loss) == (2.0, 4.0)
    assert (result.train_accuracy, result.valid_accuracy) == (75.0, 75.0)
    assert (result.steps, result.images) == (2, 8)


def test_a_batch_is_images_and_labels() -> None:
    """The two halves of a batch are reached by name and by place."""
    images, labels = torch.zeros(2, 3, 4, 4), torch.zeros(2, dtype=torch.int64)
    batch = Batch(images, labels)
    assert batch.images is images
    assert batch[1] is labels


def test_a_state_comes_back_as_it_was(tmp_path: Path) -> None:
    """Tensors, numbers and containers survive; a second save takes the first one's place and leaves no other file."""
    path = tmp_path / "deep" / "state.pt"
    save_state(path, {"x": torch.arange(3), "epoch": 1})
    save_state(path, {"x": torch.arange(4), "epoch": 2, "list": [1.5, None, "a"]})
    state = load_state(path, torch.device("cpu"))
    assert state is not None
    assert torch.equal(state["x"], torch.arange(4))
    assert (state["epoch"], state["list"]) == (2, [1.5, None, "a"])
    assert [file.name for file in path.parent.iterdir()] == ["state.pt"]


def test_a_file_that_could_run_code_is_refused(tmp_path: Path) -> None:
    """A pickle of anything but data is not loaded, and the error names the file."""
    path = tmp_path / "bad.pt"
    torch.save({"x": Path("/")}, path)
    with pytest.raises(InputError, match=r"bad\.pt is not a checkpoint of ours"):
        load_state(path, torch.device("cpu"))


def test_a_journal_keeps_the_last_state_until_it_is_removed(tmp_path: Path) -> None:
    """Empty at first, then the last state saved, then empty again; removing twice is no error."""
    journal = FileJournal(tmp_path / "j.pt", torch.device("cpu"))
    assert journal.load() is None
    journal.save({"epoch": 1})
    journal.save({"epoch": 2})
    assert journal.load() == {"epoch": 2}
    journal.remove()
    journal.remove()
    assert journal.load() is None
