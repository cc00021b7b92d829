"""Which images a search sees: the training images in two halves, cut short and scaled down as asked for."""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from dartboard.benchmark.errors import InputError
from dartboard.benchmark.image_sets import ImageSet
from dartboard.benchmark.images import ImageSplit


def search_halves(
    image_set: ImageSet,
    *,
    split: str | Path = "contiguous",
    seed: int = 0,
    train_images: int | None = None,
    valid_images: int | None = None,
    image_size: int | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> tuple[ImageSplit, ImageSplit]:
    """The training images in two: for the weights, and for the architecture. Test images are never among them.

    Args:
        image_set: where the images come from.
        split: `contiguous` (the first half for the weights: the DARTS-PT family), `random` (by `seed`), or the path
            of a split file (see `read_split`).
        seed: of a random split; nothing else uses it.
        train_images: keep only the first so many of the weights' half.
        valid_images: keep only the first so many of the architecture's half.
        image_size: scale the images down to this side (see `downscale`); the crop's padding shrinks alike.
        device: where the images go.
        dtype: of the batches.

    Raises:
        InputError: when the split is unknown, more images are asked for than a half has, or the images would grow.
    """
    n = len(image_set.labels)
    if split == "contiguous":
        parts, told = np.split(np.arange(n), [n // 2]), "contiguous halves"
    elif split == "random":
        shuffled = torch.randperm(n, generator=torch.Generator().manual_seed(seed)).numpy()
        parts, told = np.split(shuffled, [n // 2]), f"random halves, seed {seed}"
    else:
        *parts, told = read_split(split, n)
    for part, wanted, name in zip(parts, (train_images, valid_images), ("first", "second"), strict=True):
        if not 0 < (len(part) if wanted is None else wanted) <= len(part):
            asked = "at least one is needed" if wanted is None else f"{wanted} are asked for"
            raise InputError(f"the {name} half of {image_set.name!r} has {len(part)} images; {asked}")
    train, valid = (
        _split(
            image_set,
            image_set.images[part[:wanted]],
            image_set.labels[part[:wanted]],
            image_size=image_size,
            device=device,
            dtype=dtype,
            split=told,
        )
        for part, wanted in zip(parts, (train_images, valid_images), strict=True)
    )
    return train, valid


def whole_split(
    image_set: ImageSet,
    part: Literal["train", "test"],
    *,
    image_size: int | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> ImageSplit:
    """All training images, or all test images: for training one cell from scratch and measuring it, not for a search.

    Raises:
        InputError: when the data set has no test images, or they would grow.
    """
    images, labels = image_set.images, image_set.labels
    if part == "test":
        if image_set.test_images is None or image_set.test_labels is None:
            raise InputError(f"the data set {image_set.name!r} has no test images: choose one that has")
        images, labels = image_set.test_images, image_set.test_labels
    told = f"all {part} images"
    return _split(image_set, images, labels, image_size=image_size, device=device, dtype=dtype, split=told)


def _split(
    image_set: ImageSet,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    *,
    image_size: int | None,
    device: torch.device | str,
    dtype: torch.dtype,
    split: str,
) -> ImageSplit:
    """Some images of a set, scaled down and moved to the device."""
    size = image_set.image_size if image_size is None else image_size
    padding = image_set.crop_padding
    return ImageSplit.of(
        torch.from_numpy(downscale(images, size)),
        torch.from_numpy(np.array(labels, dtype=np.int64)),
        num_classes=image_set.num_classes,
        mean=image_set.mean,
        std=image_set.std,
        padding=max(1, padding * size // image_set.image_size) if padding else 0,
        flip=image_set.flip,
        device=device,
        dtype=dtype,
        about={
            "name": image_set.name,
            "image_size": size,
            "original_size": image_set.image_size,
            "num_classes": image_set.num_classes,
            "split": split,
            "source": image_set.source,
            "sha256": image_set.sha256,
        },
    )


def describe(train: ImageSplit, valid: ImageSplit) -> dict[str, Any]:
    """What a record keeps of a search's images: JSON values."""
    return {"n_train": len(train), "n_valid": len(valid), **train.about}


def downscale(images: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """(n, 3, size, size): square images scaled down by area, in a new array.

    Where `size` divides the side, a pixel is the exact mean of its box, rounded to the nearest integer, halves up;
    elsewhere it is torch's `interpolate(mode="area")` in float32, rounded to the nearest integer, halves to even.

    Raises:
        InputError: when `size` is below 1 or above the images' own side.
    """
    n, channels, side, _ = images.shape
    if not 1 <= size <= side:
        raise InputError(f"images of side {side} can be scaled to a side of 1 to {side}; got {size}")
    if size == side:
        return np.array(images)
    out = np.empty((n, channels, size, size), dtype=np.uint8)
    box = side // size
    for start in range(0, n, 1000):  # keeps the temporary arrays small
        some = images[start : start + 1000]
        if side % size == 0:
            boxes = some.reshape(len(some), channels, size, box, size, box)
            out[start : start + 1000] = (boxes.sum(axis=(3, 5), dtype=np.uint32) + box * box // 2) // (box * box)
        else:
            scaled = F.interpolate(torch.from_numpy(np.array(some)).float(), size=(size, size), mode="area")
            out[start : start + 1000] = scaled.round().byte().numpy()
    return out


def read_split(path: str | Path, images: int) -> tuple[NDArray[np.int64], NDArray[np.int64], str]:
    """Two lists of indices into the training images, and what to say of them, from a JSON file (`.gz` or not).

    The file is an object with `train` and `valid`, each a list of indices (numbers, or strings of digits) or the
    benchmark's own form of one, `["int", [indices]]`.

    Raises:
        InputError: when the file cannot be read, or an index is no index, out of range, or there twice.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"unknown split {str(path)!r}: neither 'contiguous' nor 'random', nor an existing file")
    try:
        raw = path.read_bytes()
        content = json.loads(gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw)
    except (OSError, EOFError, zlib.error, ValueError, RecursionError) as error:
        raise InputError(f"the split file {path} is not readable JSON: {error}") from error
    parts = [_indices(content, part, images, path) for part in ("train", "valid")]
    both = np.intersect1d(parts[0], parts[1])
    if len(both):
        raise InputError(f"the split file {path} has {len(both)} image(s) in both halves, such as {both[0]}")
    return parts[0], parts[1], f"file {path.name} (sha256 {hashlib.sha256(raw).hexdigest()})"


def _indices(content: object, part: str, images: int, path: Path) -> NDArray[np.int64]:
    """One half of a split file, checked."""
    listed = content.get(part) if isinstance(content, dict) else None
    if isinstance(listed, list) and len(listed) == 2 and listed[0] == "int":
        listed = listed[1]
    if not isinstance(listed, list) or not listed:
        raise InputError(f"the split file {path} has no list {part!r} of indices")
    for value in listed:
        number = isinstance(value, int) and not isinstance(value, bool)
        if not number and not (isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19):
            raise InputError(f"the split file {path} has {value!r} among the indices of {part!r}")
    indices = [int(value) for value in listed]
    for value in indices:
        if not 0 <= value < images:
            raise InputError(f"the split file {path} has index {value} in {part!r}, but there are {images} images")
    array = np.array(indices, dtype=np.int64)
    values, counts = np.unique(array, return_counts=True)
    if counts.max() > 1:
        raise InputError(f"the split file {path} has index {values[counts.argmax()]} twice in {part!r}")
    return array
