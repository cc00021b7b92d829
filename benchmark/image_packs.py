"""Packs of images: a user's own data set in one `.npz` (docs/images.md says how one is made). No torch here."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dartboard.benchmark.errors import InputError
from dartboard.benchmark.image_sets import Channels, ImageSet, as_channels, check_labels, file_digest, measure
from dartboard.benchmark.npz import BROKEN

PACK_KEYS: Final = (
    *(f"{part}_{key}" for part in ("train", "test") for key in ("images", "jpeg", "png", "off", "y")),
    *("classes", "num_classes", "mean", "std", "crop_padding", "flip", "source"),
)
"""Every array that a pack may hold; docs/images.md says what each is."""


def read_pack(path: Path) -> ImageSet:
    """A pack of images: an `.npz` of uint8 arrays, or of JPEG or PNG bytes with offsets, and labels.

    Raises:
        InputError: quoting what is missing, of the wrong type or shape, out of range, or undecodable.
    """
    arrays = _arrays(path)
    foreign = sorted(set(arrays) - set(PACK_KEYS))
    if foreign:
        raise InputError(f"{path} holds {foreign[0]!r}, which no pack of images has (known: {', '.join(PACK_KEYS)})")
    images, labels = _pack_part(arrays, "train", path)
    test = _pack_part(arrays, "test", path) if any(key.startswith("test_") for key in arrays) else None
    side = images.shape[-1]
    if test is not None and test[0].shape[-1] != side:
        raise InputError(f"{path} has training images of side {side} and test images of side {test[0].shape[-1]}")
    named = len(arrays["classes"]) if "classes" in arrays and arrays["classes"].ndim == 1 else int(labels.max()) + 1
    num_classes = _whole_number(arrays, "num_classes", named, path)
    if not 2 <= num_classes <= len(labels):
        raise InputError(
            f"{path} has {num_classes:,} class(es) and {len(labels):,} training images: at least two classes are "
            "needed, and at least as many images as classes (without num_classes and classes, the largest label counts)"
        )
    check_labels(labels, num_classes, f"train_y of {path}")
    if test is not None:
        check_labels(test[1], num_classes, f"test_y of {path}")
    mean, std = measure(images)
    return ImageSet(
        name=path.stem,
        images=images,
        labels=labels,
        num_classes=num_classes,
        mean=_pack_channels(arrays, "mean", mean, path),
        std=_pack_channels(arrays, "std", std, path),
        crop_padding=_whole_number(arrays, "crop_padding", side // 8, path, most=side),
        flip=bool(_whole_number(arrays, "flip", 1, path)),
        source=str(arrays["source"]) if "source" in arrays else f"the pack {path.name}",
        sha256=file_digest(path, "sha256"),
        test_images=None if test is None else test[0],
        test_labels=None if test is None else test[1],
    )


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Everything in an .npz; no pickles."""
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ValueError("it is a single array")
            return {key: archive[key] for key in archive.files}
    except BROKEN as error:
        raise InputError(f"{path} is not a readable .npz pack of images: {error}") from error


def _pack_part(
    arrays: Mapping[str, NDArray[Any]], part: str, path: Path
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The images (n, 3, H, H) and labels (n,) of the training or the test part of a pack."""
    forms = [form for form in ("images", "jpeg", "png") if f"{part}_{form}" in arrays]
    if len(forms) != 1:
        raise InputError(f"{path} holds {len(forms)} of {part}_images, {part}_jpeg and {part}_png; one is needed")
    key = f"{part}_{forms[0]}"
    pixels = arrays[key]
    if pixels.dtype != np.uint8:
        raise InputError(f"{key} of {path} has type {pixels.dtype}; uint8 is needed")
    if forms[0] == "images":
        images = _channels_first(pixels, key, path)
    else:
        images = _decode(pixels, _offsets(arrays, part, pixels, path), forms[0].upper(), key, path)
    labels = arrays.get(f"{part}_y")
    if labels is None or labels.dtype.kind not in "iu" or labels.shape != (len(images),):
        found = "nothing" if labels is None else f"{labels.dtype} of shape {labels.shape}"
        raise InputError(f"{part}_y of {path} has to be {len(images):,} integers, one for each image; got {found}")
    return images, labels.astype(np.int64)


def _channels_first(pixels: NDArray[np.uint8], key: str, path: Path) -> NDArray[np.uint8]:
    """(n, 3, H, H) from (n, C, H, H), (n, H, H, C) or (n, H, H), C = 1 or 3; grey becomes three equal channels."""
    if pixels.ndim == 3:
        pixels = pixels[:, None]
    elif pixels.ndim == 4 and pixels.shape[1] not in (1, 3):
        pixels = np.moveaxis(pixels, 3, 1)
    n, channels, height, width = pixels.shape if pixels.ndim == 4 else (0, 0, 0, 0)
    if channels not in (1, 3) or height != width or not n or not height:
        raise InputError(
            f"{key} of {path} has shape {pixels.shape}; (n, 3, H, H), (n, H, H, 3) or (n, H, H) is needed, n and H > 0"
        )
    return np.ascontiguousarray(np.broadcast_to(pixels, (n, 3, height, width)))


def _offsets(
    arrays: Mapping[str, NDArray[Any]], part: str, encoded: NDArray[np.uint8], path: Path
) -> NDArray[np.int64]:
    """Where each encoded image begins, and where the last one ends."""
    offsets = arrays.get(f"{part}_off")
    if offsets is None or offsets.dtype.kind not in "iu" or offsets.ndim != 1 or len(offsets) < 2 or encoded.ndim != 1:
        raise InputError(f"{path} needs its encoded {part} images as one row of bytes, and {part}_off: n + 1 integers")
    offsets = offsets.astype(np.int64)
    if offsets[0] != 0 or offsets[-1] != len(encoded) or (np.diff(offsets) <= 0).any():
        raise InputError(
            f"{part}_off of {path} has to rise strictly from 0 to {len(encoded)}, the bytes there are; it goes from "
            f"{offsets[0]} to {offsets[-1]}, and {np.count_nonzero(np.diff(offsets) <= 0)} of its steps do not rise"
        )
    return offsets


def _decode(
    encoded: NDArray[np.uint8], offsets: NDArray[np.int64], form: str, key: str, path: Path
) -> NDArray[np.uint8]:
    """(n, 3, H, H): every encoded image, in red, green and blue."""
    from PIL import Image

    images: NDArray[np.uint8] | None = None
    for i in range(len(offsets) - 1):
        try:
            with Image.open(io.BytesIO(encoded[offsets[i] : offsets[i + 1]].tobytes()), formats=[form]) as image:
                side = image.width if images is None else images.shape[-1]
                if image.size != (side, side):
                    raise InputError(
                        f"image {i} in {key} of {path} measures {image.width}x{image.height}; "
                        f"all have to be squares of one size, and here that is {side}x{side}"
                    )
                pixels = np.asarray(image.convert("RGB"))
        except InputError:
            raise
        except Exception as error:  # Pillow raises many kinds for broken images
            raise InputError(f"image {i} in {key} of {path} is no readable {form}: {error}") from error
        if images is None:
            images = np.empty((len(offsets) - 1, 3, side, side), dtype=np.uint8)
        images[i] = pixels.transpose(2, 0, 1)
    assert images is not None  # there are at least two offsets
    return images


def _whole_number(arrays: Mapping[str, NDArray[Any]], key: str, default: int, path: Path, *, most: int = 2**31) -> int:
    """One integer (or truth value) of a pack, from 0 to `most`."""
    if key not in arrays:
        return default
    value = arrays[key]
    if value.shape != () or value.dtype.kind not in "iub" or not 0 <= value <= most:
        raise InputError(f"{key} of {path} has to be one whole number from 0 to {most:,}; got {value!r}")
    return int(value)


def _pack_channels(arrays: Mapping[str, NDArray[Any]], key: str, default: Channels, path: Path) -> Channels:
    """Mean or standard deviation per channel, as the pack has them or as measured."""
    values = np.asarray(arrays.get(key, default))
    if values.shape != (3,) or values.dtype.kind not in "fiu" or not np.isfinite(values).all():
        raise InputError(f"{key} of {path} has to be three finite numbers, one for each channel; got {values!r}")
    if (values < 0).any() or (values > 1).any() or (key == "std" and (values == 0).any()):
        told = "above 0 and up to 1" if key == "std" else "from 0 to 1"
        raise InputError(f"{key} of {path} has to be {told} (pixels count from 0 to 1); got {values.tolist()}")
    return as_channels(values)
