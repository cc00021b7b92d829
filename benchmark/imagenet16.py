"""ImageNet16-120 from ImageNet16's batch files, which are pickles: read without running any. No torch here."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dartboard.benchmark.errors import InputError
from dartboard.benchmark.image_sets import ImageSet
from dartboard.benchmark.pickles import ARRAYS, PickledArray, restricted_load


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageNet16:
    """ImageNet's first classes at 16x16, as batch files: pickles of `data` (n, 768) and `labels` from 1."""

    name: str
    files: Mapping[str, str]  # name -> MD5 of the published file; the last file is for testing
    num_classes: int
    counts: tuple[int, int]  # images of those classes: for training, for testing


IMAGENET16_120: Final = ImageNet16(
    name="imagenet16-120",
    files={
        "train_data_batch_1": "27846dcaa50de8e21a7d1a35f30f0e91",
        "train_data_batch_2": "c7254a054e0e795c69120a5727050e3f",
        "train_data_batch_3": "4333d3df2e5ffb114b05d2ffc19b1e87",
        "train_data_batch_4": "1620cdf193304f4a92677b695d70d10f",
        "train_data_batch_5": "348b3c2fdbb3940c4e9e834affd3b18d",
        "train_data_batch_6": "6e765307c242a1b3d7d5ef9139b48945",
        "train_data_batch_7": "564926d8cbf8fc4818ba23d2faac7564",
        "train_data_batch_8": "f4755871f718ccb653440b9dd0ebac66",
        "train_data_batch_9": "bb6dd660c38c58552125b1a92f86b5d4",
        "train_data_batch_10": "8f03f34ac4b42271a294f91bf480f29b",
        "val_data": "3410e3017fdaefba8d5073aaa65e4bd6",
    },
    num_classes=120,
    counts=(151_700, 6_000),
)


def read_imagenet16(folder: Path, kind: ImageNet16 = IMAGENET16_120) -> ImageSet:
    """The classes 1 to `kind.num_classes` of ImageNet16's batch files, renumbered from 0.

    Raises:
        InputError: when a file is missing, is not such a batch, holds anything but arrays and lists, or when the
            images of those classes are not as many as the data set's.
    """
    missing = [file for file in kind.files if not (folder / file).is_file()]
    if missing:
        raise InputError(f"{folder} does not hold {', '.join(missing)}: ImageNet16's batch files are meant")
    digest, official, parts = hashlib.sha256(), True, []
    for file, md5 in kind.files.items():
        raw = (folder / file).read_bytes()
        digest.update(raw)
        official &= hashlib.md5(raw, usedforsecurity=False).hexdigest() == md5
        parts.append(_batch(raw, folder / file, kind.num_classes))
    images = np.concatenate([some for some, _ in parts[:-1]])
    counts = (len(images), len(parts[-1][0]))
    if counts != kind.counts:
        raise InputError(
            f"{folder} has {counts[0]:,} training and {counts[1]:,} test images of the first {kind.num_classes} "
            f"classes instead of {kind.counts[0]:,} and {kind.counts[1]:,}: another data set, or incomplete"
        )
    return ImageSet(
        name=kind.name,
        images=images,
        labels=np.concatenate([some for _, some in parts[:-1]]),
        num_classes=kind.num_classes,
        mean=(122.68 / 255, 116.66 / 255, 104.01 / 255),
        std=(63.22 / 255, 61.26 / 255, 65.09 / 255),
        crop_padding=2,
        flip=True,
        source=f"ImageNet16's batch files, the first {kind.num_classes} classes; "
        + ("the published files by their checksums" if official else "not the published files"),
        sha256=digest.hexdigest(),
        test_images=parts[-1][0],
        test_labels=parts[-1][1],
    )


def _batch(raw: bytes, path: Path, num_classes: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The images and labels (from 0) of one batch file, of the first classes only."""
    try:
        batch = restricted_load(io.BytesIO(raw), ARRAYS, encoding="latin1")
    except InputError as error:
        raise InputError(f"{path} is not a readable batch file: {error}") from error
    found, labels = (batch.get("data"), batch.get("labels")) if isinstance(batch, dict) else (None, None)
    data = found.array if isinstance(found, PickledArray) else None
    if data is None or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != 768:
        raise InputError(f"{path} has no 'data' of shape (n, 768) and type uint8: not a batch file of ImageNet16")
    if not isinstance(labels, list) or len(labels) != len(data) or not all(type(label) is int for label in labels):
        raise InputError(f"{path} has no 'labels', one integer for each of its {len(data):,} images")
    for image, label in enumerate(labels):
        if not 1 <= label <= 1000:
            raise InputError(f"label {label} of image {image} in {path} is outside 1..1000")
    numbers = np.array(labels, dtype=np.int64) - 1
    kept = numbers < num_classes
    return data[kept].reshape(-1, 3, 16, 16), numbers[kept]
