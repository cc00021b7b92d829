"""What a labelled set of images is, whatever file it came in; and the digits, which are always here. No torch here."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dartboard.benchmark.errors import InputError

Channels = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageSet:
    """A labelled set of square images as loaded, and how the field augments it.

    The test images stand apart: nothing hands them to a search.
    """

    name: str
    images: NDArray[np.uint8]  # (n, 3, H, H), the training images
    labels: NDArray[np.int64]  # (n,), in 0..num_classes - 1
    num_classes: int
    mean: Channels  # pixels counting from 0 to 1
    std: Channels
    crop_padding: int  # black pixels on every side before a random crop
    flip: bool  # whether a mirror image keeps its label
    source: str  # where the images come from, in plain words
    sha256: str  # of the files read (see docs/images.md)
    test_images: NDArray[np.uint8] | None = None  # (m, 3, H, H)
    test_labels: NDArray[np.int64] | None = None  # (m,)

    @property
    def image_size(self) -> int:
        """H, the side of an image."""
        return int(self.images.shape[-1])

    def describe(self) -> dict[str, Any]:
        """What `dartboard data info --json` prints: JSON values."""
        return {
            "name": self.name,
            "train_images": len(self.labels),
            "test_images": 0 if self.test_labels is None else len(self.test_labels),
            "image_size": self.image_size,
            "num_classes": self.num_classes,
            "train_per_class": np.bincount(self.labels, minlength=self.num_classes).tolist(),
            "mean": list(self.mean),
            "std": list(self.std),
            "crop_padding": self.crop_padding,
            "flip": self.flip,
            "source": self.source,
            "sha256": self.sha256,
        }


def measure(images: NDArray[np.uint8]) -> tuple[Channels, Channels]:
    """Mean and standard deviation of each channel of (n, 3, H, W) over all pixels, which count from 0 to 1."""
    histogram = np.zeros((3, 256), dtype=np.int64)
    for start in range(0, len(images), 1000):  # keeps the temporary arrays small
        for channel in range(3):
            histogram[channel] += np.bincount(images[start : start + 1000, channel].ravel(), minlength=256)
    # In whole numbers up to the last step, so that no machine's order of summation shows.
    counts = [[int(count) for count in row] for row in histogram]
    n = sum(counts[0])
    sums = [sum(level * count for level, count in enumerate(row)) for row in counts]
    squares = [sum(level**2 * count for level, count in enumerate(row)) for row in counts]
    mean = as_channels(total / (255 * n) for total in sums)
    return mean, as_channels(
        math.sqrt((n * square - total**2) / (255 * n) ** 2) for square, total in zip(squares, sums, strict=True)
    )


def as_channels(values: Iterable[float]) -> Channels:
    """Three numbers, one for each channel."""
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def read_digits() -> ImageSet:
    """Scikit-learn's handwritten digits, in an order of their own, so that every part of them is a fair sample."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    # The file goes by writer. Ordered by the digest of their pixels, the images are mixed, and the same everywhere.
    grey = ((bunch.images * 255 + 8) // 16).astype(np.uint8)  # 0..16 to 0..255, halves up
    order = sorted(range(len(grey)), key=lambda i: hashlib.sha256(grey[i].tobytes()).digest())
    images = np.repeat(grey[order][:, None], 3, axis=1)
    labels = bunch.target[order].astype(np.int64)
    mean, std = measure(images[:1500])
    return ImageSet(
        name="digits",
        images=images[:1500],
        labels=labels[:1500],
        num_classes=10,
        mean=mean,
        std=std,
        crop_padding=1,
        flip=False,  # a mirrored digit is none
        source="scikit-learn's load_digits: 1,797 handwritten digits (8x8, grey), mixed; the last 297 are for testing",
        sha256=hashlib.sha256(images.tobytes() + labels.astype("<i8").tobytes()).hexdigest(),
        test_images=images[1500:],
        test_labels=labels[1500:],
    )


def check_labels(labels: NDArray[np.int64], num_classes: int, where: str) -> None:
    """Refuse a label outside 0..num_classes - 1.

    Raises:
        InputError: quoting the first one, and `where` it stands.
    """
    wrong = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if len(wrong):
        raise InputError(
            f"label {labels[wrong[0]]} of image {wrong[0]} in {where} is outside 0..{num_classes - 1} "
            f"({len(wrong):,} such label(s))"
        )


def file_digest(path: Path, algorithm: str) -> str:
    """The checksum of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
