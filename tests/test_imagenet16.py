"""ImageNet16's batch files. Truth: pickles written by this Python, and by hand as Python 2 wrote them."""

from __future__ import annotations

import dataclasses
import functools
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dartboard.benchmark.errors import InputError
from dartboard.benchmark.image_sources import load_images
from dartboard.benchmark.imagenet16 import IMAGENET16_120, read_imagenet16

SMALL16 = dataclasses.replace(IMAGENET16_120, num_classes=3, counts=(30, 3))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("DARTBOARD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def batch(seed: int, labels: list[int], **changes: Any) -> dict[str, Any]:
    """The content of an ImageNet16 batch file."""
    data = np.random.default_rng(seed).integers(256, size=(len(labels), 768), dtype=np.uint8)
    return {"data": data, "labels": labels, "mean": np.zeros(768)} | changes


def as_python_2(data: NDArray[np.uint8], labels: list[int]) -> bytes:
    """The same batch as Python 2 and NumPy 1 pickled it: byte strings, and the array's parts by their old names."""

    def text(value: bytes) -> bytes:
        return b"T" + len(value).to_bytes(4, "little") + value

    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00t" + text(b"b") + b"tR"
        b"(K\x01(" + b"".join(b"M" + n.to_bytes(2, "little") for n in data.shape) + b"t"
        b"cnumpy\ndtype\n("
        + text(b"u1")
        + b"K\x00K\x01tR(K\x03"
        + text(b"|")
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"I00\n" + text(data.tobytes()) + b"tb"
    )
    numbers = b"(" + b"".join(b"M" + n.to_bytes(2, "little") for n in labels) + b"l"
    return b"\x80\x02}(" + text(b"data") + array + text(b"labels") + numbers + b"u."


def imagenet16(folder: Path, write: Callable[[dict[str, Any]], bytes] = pickle.dumps) -> dict[str, dict[str, Any]]:
    """Ten training batches and a test batch in `folder`, of classes 1 to 3, and others that do not count."""
    folder.mkdir(exist_ok=True)
    batches = {}
    for seed, file in enumerate(IMAGENET16_120.files):
        labels = [1, 900, 3, 4, 1000, 2]
        batches[file] = batch(seed, labels)
        (folder / file).write_bytes(write(batches[file]))
    return batches


@pytest.mark.parametrize(
    "write",
    [
        *(functools.partial(pickle.dumps, protocol=protocol) for protocol in range(5)),
        lambda content: pickle.dumps(content, protocol=2).replace(b"numpy._core.", b"numpy.core."),
        lambda content: as_python_2(content["data"], content["labels"]),
    ],
    ids=["0", "1", "2", "3", "4", "numpy1", "python2"],
)
def test_imagenet16_keeps_the_first_classes(tmp_path: Path, write: Callable[[dict[str, Any]], bytes]) -> None:
    """Classes 1 to 3 of each batch, numbered from 0, in the files' order, however the batches were pickled."""
    batches = imagenet16(tmp_path / "in16", write)
    images = read_imagenet16(tmp_path / "in16", SMALL16)
    assert images.labels.tolist() == [0, 2, 1] * 10
    expected = np.concatenate([batches[f"train_data_batch_{i}"]["data"][[0, 2, 5]] for i in range(1, 11)])
    np.testing.assert_array_equal(images.images.reshape(30, 768), expected)
    np.testing.assert_array_equal(images.images[4, 1, 0], expected[4, 256:272])  # green follows 256 bytes of red
    assert images.test_labels is not None
    assert images.test_labels.tolist() == [0, 2, 1]
    assert (images.image_size, images.crop_padding, images.flip) == (16, 2, True)
    assert "not the published files" in images.source


class _Evil:
    """A pickle that would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_pickle_that_would_run_something_is_refused(tmp_path: Path) -> None:
    """Nothing that a batch file names is called, save what an array is made of."""
    imagenet16(tmp_path)
    (tmp_path / "val_data").write_bytes(pickle.dumps(batch(0, [1, 2, 3]) | {"mean": _Evil(tmp_path / "made")}))
    with pytest.raises(InputError, match=r"val_data is not a readable batch file: the pickle names .* refused"):
        read_imagenet16(tmp_path, SMALL16)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (batch(0, [1, 2, 3], data=np.zeros((3, 768))), "no 'data' of shape"),
        (batch(0, [1, 2, 3], data=np.zeros((3, 3072), dtype=np.uint8)), "no 'data' of shape"),
        (batch(0, [1, 2, 3]) | {"labels": [1, 2]}, "no 'labels'"),
        (batch(0, [1, 2, 3]) | {"labels": [1, 2, 2.0]}, "no 'labels'"),
        (batch(0, [1, 2, 0]), "label 0 of image 2 in .* outside 1..1000"),
        (batch(0, [1, 2, 1001]), "label 1001 of image 2"),
        (batch(0, [1, 2, 10**30]), f"label {10**30} of image 2"),
        (batch(0, [1, 2, 3], mean=np.array([None])), "type 'O8'; only plain numbers are read"),
        (batch(0, [1, 2, 2, 3]), "30 training and 4 test images"),
        ([1, 2], "no 'data'"),
    ],
)
def test_a_wrong_batch_file_is_refused(tmp_path: Path, content: Any, message: str) -> None:
    """Wrong types, shapes, labels and counts are refused, with the path."""
    imagenet16(tmp_path)
    (tmp_path / "val_data").write_bytes(pickle.dumps(content))
    with pytest.raises(InputError, match=message):
        read_imagenet16(tmp_path, SMALL16)


def test_a_missing_or_broken_batch_file_is_refused(tmp_path: Path) -> None:
    """A folder without a file, and a file that is no pickle, are refused by name."""
    imagenet16(tmp_path)
    for content in (b"", b"text", pickle.dumps(batch(0, [1, 2, 3]))[:-100]):
        (tmp_path / "val_data").write_bytes(content)
        with pytest.raises(InputError, match="val_data is not a readable batch file"):
            read_imagenet16(tmp_path, SMALL16)
    (tmp_path / "train_data_batch_7").unlink()
    with pytest.raises(InputError, match="does not hold train_data_batch_7"):
        read_imagenet16(tmp_path, SMALL16)
    with pytest.raises(InputError, match="imagenet16-120 cannot be downloaded"):
        load_images("imagenet16-120")
