"""Packs of images. Truth: the arrays that went in, Pillow, and real CIFAR-10."""

from __future__ import annotations

import hashlib
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dartboard.benchmark.cache import cache_folder
from dartboard.benchmark.errors import InputError
from dartboard.benchmark.image_sets import measure
from dartboard.benchmark.image_sources import load_images


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("DARTBOARD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def encode(images: NDArray[np.uint8], form: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images (n, H, W, 3) as one row of encoded bytes, with offsets."""
    pieces = []
    for image in images:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, form)
        pieces.append(buffer.getvalue())
    return np.frombuffer(b"".join(pieces), dtype=np.uint8), np.cumsum([0, *map(len, pieces)])


IMAGES = np.random.default_rng(0).integers(256, size=(12, 8, 8, 3), dtype=np.uint8)
LABELS = np.arange(12) % 3
PNG, PNG_OFF = encode(IMAGES, "png")
JPEG, JPEG_OFF = encode(IMAGES, "jpeg")


def pack(path: Path, **arrays: Any) -> Path:
    """An .npz of these arrays; None leaves one out."""
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    return path


@pytest.mark.parametrize(
    "arrays",
    [
        {"train_images": IMAGES},
        {"train_images": IMAGES.transpose(0, 3, 1, 2)},
        {"train_png": PNG, "train_off": PNG_OFF},
        {"train_png": PNG, "train_off": PNG_OFF.astype(np.uint32)},
    ],
    ids=["channels-last", "channels-first", "png", "unsigned-offsets"],
)
def test_a_pack_gives_the_same_images_in_every_form(tmp_path: Path, arrays: dict[str, Any]) -> None:
    """Arrays in either order of axes and lossless files all give the pixels that went in."""
    path = pack(tmp_path / "mine.npz", train_y=LABELS.astype(np.uint8), **arrays)
    images = load_images(path)
    np.testing.assert_array_equal(images.images, IMAGES.transpose(0, 3, 1, 2))
    assert images.images.dtype == np.uint8
    assert images.labels.tolist() == LABELS.tolist()
    assert (images.name, images.num_classes, images.crop_padding, images.flip) == ("mine", 3, 1, True)
    assert images.test_images is None
    assert images.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_jpegs_are_what_pillow_decodes(tmp_path: Path) -> None:
    """Each encoded image is Pillow's own decoding of its bytes, in training and in testing."""
    path = pack(
        tmp_path / "p.npz",
        train_jpeg=JPEG,
        train_off=JPEG_OFF,
        train_y=LABELS,
        test_jpeg=JPEG[: JPEG_OFF[2]],
        test_off=JPEG_OFF[:3],
        test_y=LABELS[:2],
    )
    images = load_images(str(path))
    for i in range(12):
        theirs = np.asarray(Image.open(io.BytesIO(JPEG[JPEG_OFF[i] : JPEG_OFF[i + 1]].tobytes())))
        np.testing.assert_array_equal(images.images[i].transpose(1, 2, 0), theirs)
    assert images.test_images is not None
    np.testing.assert_array_equal(images.test_images, images.images[:2])


def test_grey_images_become_three_equal_channels(tmp_path: Path) -> None:
    """(n, H, H) and (n, H, H, 1) are read as grey, with the same statistics in each channel."""
    for k, grey in enumerate((IMAGES[..., 0], IMAGES[..., :1])):
        images = load_images(pack(tmp_path / f"{k}.npz", train_images=grey, train_y=LABELS))
        np.testing.assert_array_equal(images.images, np.stack([IMAGES[..., 0]] * 3, axis=1))
        assert len(set(images.mean)) == 1


def test_a_pack_may_say_how_it_is_augmented(tmp_path: Path) -> None:
    """Statistics, padding, mirroring, classes and source in the pack take the place of the measured and the usual."""
    said = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "crop_padding": 3, "flip": False, "source": "my camera"}
    images = load_images(pack(tmp_path / "p.npz", train_images=IMAGES, train_y=LABELS, classes=["a"] * 5, **said))
    assert images.mean == (0.1, 0.2, 0.3)
    assert images.std == (0.4, 0.5, 0.6)
    assert (images.crop_padding, images.flip, images.num_classes, images.source) == (3, False, 5, "my camera")


def test_statistics_may_be_whole_numbers(tmp_path: Path) -> None:
    """Means of 0 and deviations of 1 are as good as 0.0 and 1.0."""
    images = load_images(pack(tmp_path / "p.npz", train_images=IMAGES, train_y=LABELS, mean=[0] * 3, std=[1] * 3))
    assert (images.mean, images.std) == ((0.0,) * 3, (1.0,) * 3)


def test_statistics_are_over_all_pixels() -> None:
    """Mean and deviation per channel are NumPy's, over more images than are counted at a time."""
    images = np.random.default_rng(0).integers(200, size=(2300, 3, 2, 2), dtype=np.uint8)
    mean, std = measure(images)
    np.testing.assert_allclose(mean, (images / 255).mean(axis=(0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(std, (images / 255).std(axis=(0, 2, 3)), rtol=1e-12)


DECREASING = PNG_OFF.copy()
DECREASING[5] = DECREASING[7]
RECTANGLES = encode(IMAGES[:, :4], "png")
MIXED = encode(IMAGES[:1], "png"), encode(IMAGES[:1, :4, :4], "png")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_images": None}, "holds 0 of train_images, train_jpeg and train_png"),
        ({"train_png": PNG}, "holds 2 of train_images"),
        ({"train_y": None}, "train_y of .* has to be 12 integers.*got nothing"),
        ({"train_y": LABELS[:-1]}, r"got int64 of shape \(11,\)"),
        ({"train_y": LABELS.astype(float)}, "got float64"),
        ({"train_y": LABELS - 1}, "label -1 of image 0"),
        ({"num_classes": 2}, "label 2 of image 2 in train_y .*outside 0..1"),
        ({"num_classes": -1}, "num_classes of .* got array"),
        ({"train_y": LABELS * 0}, "has 1 class"),
        ({"test_images": IMAGES, "test_y": LABELS + 1}, "label 3 of image 2 in test_y"),
        ({"test_images": IMAGES[:, :4, :4], "test_y": LABELS}, "test images of side 4"),
        ({"test_y": LABELS}, "holds 0 of test_images"),
        ({"train_images": IMAGES / 255}, "type float64; uint8 is needed"),
        ({"train_images": np.full(IMAGES.shape, np.nan)}, "type float64; uint8 is needed"),
        ({"train_images": IMAGES[:, :4]}, r"shape \(12, 3, 4, 8\)|has shape"),
        ({"train_images": IMAGES[:0], "train_y": LABELS[:0]}, "has shape"),
        ({"train_images": IMAGES[..., [0, 1]]}, "has shape"),
        ({"train_images": IMAGES.ravel()}, "has shape"),
        ({"mean": [0.1, np.nan, 0.1]}, "mean of .* three finite numbers"),
        ({"mean": [0.5, 0.5]}, "three finite numbers"),
        ({"mean": [125.3, 123.0, 113.9]}, "mean of .* from 0 to 1"),
        ({"std": [0.0, 0.1, 0.1]}, "std of .* above 0"),
        ({"train_images": IMAGES * 0}, "std of .* above 0"),
        ({"crop_padding": -1}, "crop_padding of .* from 0 to 8"),
        ({"crop_padding": 9}, "crop_padding of .* from 0 to 8; got array\\(9\\)"),
        ({"train_y": np.where(LABELS, 10**9, 0)}, "1,000,000,001 class.* 12 training images"),
        ({"flip": "yes"}, "flip of .* one whole number"),
        ({"labels": LABELS}, "holds 'labels', which no pack"),
        ({"train_y": np.array([None] * 12)}, "not a readable .npz pack"),
    ],
)
def test_a_malformed_pack_of_arrays_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    """Missing, surplus, mistyped, misshapen, out of range, not finite: one line says which and what."""
    path = pack(tmp_path / "p.npz", **{"train_images": IMAGES, "train_y": LABELS} | changes)
    with pytest.raises(InputError, match=message) as caught:
        load_images(path)
    assert "p.npz" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_off": None}, "needs .* train_off"),
        ({"train_off": PNG_OFF.astype(float)}, "needs .* train_off"),
        ({"train_off": PNG_OFF[:-1]}, "has to rise strictly from 0 to"),
        ({"train_off": PNG_OFF[1:]}, "has to rise strictly from 0 to"),
        ({"train_off": DECREASING}, "2 of its steps do not rise|1 of its steps do not rise"),
        ({"train_png": PNG.astype(np.int64)}, "type int64"),
        ({"train_png": np.concatenate([PNG[:100], PNG[100:] * 0])}, "image 0 in train_png of .* is no readable PNG"),
        ({"train_png": JPEG, "train_off": JPEG_OFF}, "image 0 in train_png of .* is no readable PNG"),
        (dict(zip(("train_png", "train_off"), RECTANGLES, strict=True)), "image 0 in .* measures 8x4"),
        (
            {
                "train_png": np.concatenate([MIXED[0][0], MIXED[1][0]]),
                "train_off": np.concatenate([MIXED[0][1], MIXED[1][1][1:] + len(MIXED[0][0])]),
            },
            "image 1 in .* measures 4x4",
        ),
    ],
)
def test_a_malformed_pack_of_encoded_images_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    """Offsets that do not rise, bytes that are no image, and sizes that differ: one line says which image."""
    path = pack(tmp_path / "p.npz", **{"train_png": PNG, "train_off": PNG_OFF, "train_y": LABELS} | changes)
    with pytest.raises(InputError, match=message):
        load_images(path)


def test_a_file_that_is_no_pack_is_refused(tmp_path: Path) -> None:
    """Text, a cut pack, and a single array are refused, with the path; nothing is left in the cache."""
    whole = pack(tmp_path / "whole.npz", train_images=IMAGES, train_y=LABELS).read_bytes()
    buffer = io.BytesIO()
    np.save(buffer, IMAGES)
    for content in (b"", b"text", whole[: len(whole) // 2], buffer.getvalue(), pickle.dumps({"train_y": LABELS})):
        path = tmp_path / "bad.npz"
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"bad\.npz"):
            load_images(path)
    assert not cache_folder().exists()


@pytest.mark.shared_data
def test_real_cifar_10_is_read_from_a_pack_of_jpegs(shared_data: Path) -> None:
    """The development pack: CIFAR-10's order, balance and statistics, and Pillow's own decoding of sampled images."""
    path = shared_data / "cifar10_real_jpeg.npz"
    images = load_images(path)
    assert images.labels[:10].tolist() == [6, 9, 9, 4, 1, 1, 2, 7, 8, 3]  # as every CIFAR-10 reader shows them
    assert images.describe()["train_per_class"] == [5000] * 10
    assert images.describe()["test_images"] == 10_000
    np.testing.assert_allclose(images.mean, (0.4914, 0.4822, 0.4465), atol=5e-4)
    np.testing.assert_allclose(images.std, (0.2470, 0.2435, 0.2616), atol=3e-3)  # JPEG smooths a little
    with np.load(path) as arrays:
        offsets, encoded = arrays["train_off"], arrays["train_jpeg"]
    for i in (0, 1, 12_345, 49_999):
        theirs = np.asarray(Image.open(io.BytesIO(encoded[offsets[i] : offsets[i + 1]].tobytes())).convert("RGB"))
        np.testing.assert_array_equal(images.images[i].transpose(1, 2, 0), theirs)
