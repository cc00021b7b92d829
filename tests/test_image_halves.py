"""The halves of a search: splits, subsets, scaling. Truth: Pillow, NumPy, sums by hand."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dartboard.benchmark.errors import InputError
from dartboard.benchmark.image_halves import describe, downscale, read_split, search_halves, whole_split
from dartboard.benchmark.image_sets import ImageSet
from dartboard.benchmark.image_sources import load_images

MEAN, STD = (0.49, 0.48, 0.44), (0.25, 0.24, 0.26)


def image_set(n: int = 20, side: int = 8, **changes: Any) -> ImageSet:
    """Random training images below 255, and test images that are all 255."""
    rng = np.random.default_rng(0)
    facts: dict[str, Any] = {
        "name": "made",
        "images": rng.integers(255, size=(n, 3, side, side), dtype=np.uint8),
        "labels": np.arange(n) % 4,
        "num_classes": 4,
        "mean": MEAN,
        "std": STD,
        "crop_padding": side // 8,
        "flip": True,
        "source": "a test",
        "sha256": "0" * 64,
        "test_images": np.full((6, 3, side, side), 255, dtype=np.uint8),
        "test_labels": np.arange(6) % 4,
    }
    return ImageSet(**facts | changes)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), size=st.integers(1, 5), box=st.integers(1, 5), n=st.integers(1, 3))
def test_downscaling_by_a_whole_factor_is_the_mean_of_each_box(seed: int, size: int, box: int, n: int) -> None:
    """Each pixel is the mean of its box in exact arithmetic, halves up."""
    images = np.random.default_rng(seed).integers(256, size=(n, 3, size * box, size * box), dtype=np.uint8)
    small = downscale(images, size)
    for index in np.ndindex(small.shape):
        i, c, y, x = index
        total = sum(int(v) for v in images[i, c, y * box : (y + 1) * box, x * box : (x + 1) * box].ravel())
        assert small[index] == (2 * total + box * box) // (2 * box * box)  # floor(mean + 1/2)


def test_downscaling_agrees_with_pillow() -> None:
    """Pillow's box reduction of a picture by 2 gives the same pixels."""
    image = np.random.default_rng(1).integers(256, size=(32, 32, 3), dtype=np.uint8)
    theirs = np.asarray(Image.fromarray(image).reduce(2))
    np.testing.assert_array_equal(downscale(image.transpose(2, 0, 1)[None], 16)[0].transpose(1, 2, 0), theirs)


def test_downscaling_by_a_broken_factor_averages_the_area() -> None:
    """3 pixels to 2: each is the mean of the two it touches, to the nearest integer."""
    row = np.array([0, 100, 201], dtype=np.uint8)
    image = np.broadcast_to(row, (1, 3, 3, 3))
    np.testing.assert_array_equal(downscale(image, 2)[0, 0], [[50, 150], [50, 150]])  # 150.5 goes to the even 150


@pytest.mark.parametrize("size", [0, 9])
def test_images_never_grow(size: int) -> None:
    """A side of 0 or above the images' own is refused, with the value."""
    with pytest.raises(InputError, match=f"got {size}"):
        search_halves(image_set(), image_size=size)


def test_contiguous_halves_are_the_first_and_the_second() -> None:
    """The first half trains the weights, the rest the architecture, in the data set's own order."""
    made = image_set(21)
    train, valid = search_halves(made)
    np.testing.assert_array_equal(train.images.numpy(), made.images[:10])
    np.testing.assert_array_equal(valid.images.numpy(), made.images[10:])
    np.testing.assert_array_equal(valid.labels.numpy(), made.labels[10:])
    assert (train.padding, train.flip, train.num_classes, train.image_size) == (1, True, 4, 8)


def test_random_halves_depend_on_their_seed_and_share_no_image() -> None:
    """A random split is a partition, the same for the same seed and another for another."""
    made = image_set(60, labels=np.arange(60), num_classes=60)
    first, again, other = (search_halves(made, split="random", seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first[0].labels, again[0].labels)
    assert not torch.equal(first[0].labels, other[0].labels)
    assert sorted(torch.cat([half.labels for half in first]).tolist()) == list(range(60))
    assert [len(half) for half in first] == [30, 30]


def test_a_subset_is_the_beginning_of_each_half_scaled_down() -> None:
    """`train_images` and `valid_images` keep the first ones; scaling shrinks the padding in proportion."""
    made = image_set(40, side=32)
    train, valid = search_halves(made, train_images=8, valid_images=3, image_size=16, dtype=torch.float64)
    np.testing.assert_array_equal(train.images.numpy(), downscale(made.images[:8], 16))
    np.testing.assert_array_equal(valid.images.numpy(), downscale(made.images[20:23], 16))
    assert (train.padding, search_halves(made)[0].padding) == (2, 4)
    assert next(iter(train.in_order(2)))[0].dtype == torch.float64


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"train_images": 11}, "first half of 'made' has 10 images; 11 are asked for"),
        ({"valid_images": 0}, "second half of 'made' has 10 images; 0 are asked for"),
        ({"split": "contigous"}, "unknown split 'contigous'"),
    ],
)
def test_impossible_halves_are_refused(arguments: dict[str, Any], message: str) -> None:
    """More images than there are, none at all, or an unknown split is refused with the value."""
    with pytest.raises(InputError, match=message):
        search_halves(image_set(20), **arguments)


def test_one_image_has_no_halves() -> None:
    """A set too small to halve is refused."""
    with pytest.raises(InputError, match="has 0 images; at least one is needed"):
        search_halves(image_set(1))


@pytest.mark.parametrize("split", ["contiguous", "random"])
def test_no_search_sees_a_test_image(split: str) -> None:
    """The white test images are in neither half, and `whole_split` gives them only when asked for them."""
    made = image_set()
    for half in search_halves(made, split=split):
        assert (half.images.amin(dim=(1, 2, 3)) < 255).all()
    assert (whole_split(made, "test").images == 255).all()
    np.testing.assert_array_equal(whole_split(made, "train").images.numpy(), made.images)
    with pytest.raises(InputError, match="'made' has no test images"):
        whole_split(image_set(test_images=None, test_labels=None), "test")


def test_the_description_is_json_that_names_every_reduction() -> None:
    """A record learns the set, the split, the subset, the scale and the checksum."""
    told = describe(*search_halves(image_set(40, side=32), split="random", seed=5, train_images=8, image_size=16))
    assert json.loads(json.dumps(told)) == {
        "n_train": 8,
        "n_valid": 20,
        "name": "made",
        "image_size": 16,
        "original_size": 32,
        "num_classes": 4,
        "split": "random halves, seed 5",
        "source": "a test",
        "sha256": "0" * 64,
    }


def write_json(path: Path, content: Any) -> Path:
    """`content` as a JSON file."""
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("form", ["numbers", "strings", "tagged", "gz"])
def test_a_split_file_is_read_in_every_form(tmp_path: Path, form: str) -> None:
    """Lists of numbers, of strings, with the benchmark's `int` tag, compressed or not: the same halves."""
    halves: dict[str, Any] = {"train": [3, 0, 7], "valid": [1, 2]}
    path = tmp_path / "split.json"
    if form != "numbers":
        halves = {part: [str(i) for i in indices] for part, indices in halves.items()}
    if form == "tagged":
        halves = {part: ["int", indices] for part, indices in halves.items()}
    text = json.dumps(halves).encode()
    path.write_bytes(gzip.compress(text) if form == "gz" else text)
    train, valid = search_halves(image_set(8), split=path)
    made = image_set(8)
    np.testing.assert_array_equal(train.images.numpy(), made.images[[3, 0, 7]])
    np.testing.assert_array_equal(valid.images.numpy(), made.images[[1, 2]])
    assert train.about["split"].startswith("file split.json (sha256 ")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "no list 'train'"),
        ({"train": [1]}, "no list 'valid'"),
        ({"train": [], "valid": [1]}, "no list 'train'"),
        ({"train": [1.5], "valid": [1]}, "1.5 among the indices"),
        ({"train": [True], "valid": [1]}, "True among the indices"),
        ({"train": ["-1"], "valid": [1]}, "'-1' among the indices"),
        ({"train": [-1], "valid": [1]}, "index -1 in 'train'"),
        ({"train": [8], "valid": [1]}, "index 8 in 'train', but there are 8 images"),
        ({"train": [10**30], "valid": [1]}, f"index {10**30}"),
        ({"train": ["1" * 5000], "valid": [1]}, "'1{5000}' among the indices"),
        ({"train": [4, 4], "valid": [1]}, "index 4 twice in 'train'"),
        ({"train": [0, 5], "valid": [5]}, r"1 image\(s\) in both halves, such as 5"),
    ],
)
def test_a_wrong_split_file_is_refused(tmp_path: Path, content: Any, message: str) -> None:
    """Whatever is no pair of disjoint lists of indices is refused, with the value."""
    with pytest.raises(InputError, match=message):
        read_split(write_json(tmp_path / "split.json", content), 8)


DAMAGED = bytearray(gzip.compress(json.dumps({"train": list(range(99)), "valid": [100]}).encode()))
DAMAGED[20] ^= 255


@pytest.mark.parametrize("raw", [b"{", b"\xff\xfe\x00", b"\x1f\x8b\x08broken", b"", bytes(DAMAGED), b"[" * 100_000])
def test_an_unreadable_split_file_is_refused(tmp_path: Path, raw: bytes) -> None:
    """What is neither JSON nor compressed JSON is refused, with the path."""
    path = tmp_path / "split.json"
    path.write_bytes(raw)
    with pytest.raises(InputError, match=r"split\.json is not readable JSON"):
        read_split(path, 8)


def test_the_digits_are_scikit_learns() -> None:
    """Every digit of scikit-learn is there once, with its label, its grey levels spread over 0..255, never mirrored."""
    from sklearn.datasets import load_digits

    digits, bunch = load_images("digits"), load_digits()
    assert digits.test_images is not None
    assert digits.test_labels is not None
    assert (len(digits.labels), len(digits.test_labels), digits.image_size) == (1500, 297, 8)
    images = np.concatenate([digits.images, digits.test_images])
    labels = np.concatenate([digits.labels, digits.test_labels])
    assert (images[:, 0] == images[:, 1]).all()
    assert (images[:, 0] == images[:, 2]).all()
    levels = np.round(images[:, 0].astype(float) * 16 / 255).reshape(-1, 64)
    ours = np.column_stack([levels, labels])
    theirs = np.column_stack([bunch.data, bunch.target])
    np.testing.assert_array_equal(ours[np.lexsort(ours.T)], theirs[np.lexsort(theirs.T)])
    assert set(np.unique(images)) == {int(level * 255 / 16 + 0.5) for level in range(17)}
    assert not digits.flip
    assert digits.crop_padding == 1
    np.testing.assert_allclose(digits.mean, digits.images.mean(axis=(0, 2, 3)) / 255, rtol=1e-12)
    np.testing.assert_allclose(digits.std, digits.images.std(axis=(0, 2, 3)) / 255, rtol=1e-12)


def test_both_halves_of_the_digits_hold_all_digits_alike() -> None:
    """The digits are mixed: each class has its share of the first 200 images and of both halves."""
    train, valid = search_halves(load_images("digits"))
    for labels in (train.labels, valid.labels, train.labels[:200]):
        share = np.bincount(labels.numpy(), minlength=10) / len(labels)
        assert (abs(share - 0.1) < 4 * (0.09 / len(labels)) ** 0.5).all()


@pytest.mark.shared_data
def test_the_benchmarks_own_split_is_read(shared_data: Path) -> None:
    """AutoDL-Projects' split: 25,000 and 25,000 indices that make up 0..49,999, beginning 0, 5, 7, 11."""
    train, valid, told = read_split(shared_data / "cifar-split.txt.gz", 50_000)
    assert train[:4].tolist() == [0, 5, 7, 11]
    assert (len(train), len(valid)) == (25_000, 25_000)
    np.testing.assert_array_equal(np.sort(np.concatenate([train, valid])), np.arange(50_000))
    assert told.startswith("file cifar-split.txt.gz")
