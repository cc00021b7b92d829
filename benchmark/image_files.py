"""The files that images come in, each read into an `ImageSet`, or refused with a reason. No torch here.

CIFAR-10 and CIFAR-100 in the binary form, ImageNet16's batch files, packs of images (`.npz`), scikit-learn's digits.
"""

from __future__ import annotations

import hashlib
import io
import math
import pickle
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Cifar:
    """A data set in CIFAR's binary form: records of label bytes (the last one counts) and 3 x 32 x 32 pixels."""

    name: str
    title: str
    archive: str
    url: str
    md5: str  # of the official archive, from the data set's own page
    files: Mapping[str, int]  # name -> records; the last file is for testing
    label_bytes: int
    num_classes: int
    mean: Channels  # the benchmark's own
    std: Channels


CIFAR10: Final = Cifar(
    name="cifar10",
    title="CIFAR-10",
    archive="cifar-10-binary.tar.gz",
    url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    md5="c32a1d4ab5d03f1284b67883e8d87530",
    files={**{f"data_batch_{i}.bin": 10_000 for i in range(1, 6)}, "test_batch.bin": 10_000},
    label_bytes=1,
    num_classes=10,
    mean=(125.3 / 255, 123.0 / 255, 113.9 / 255),
    std=(63.0 / 255, 62.1 / 255, 66.7 / 255),
)
CIFAR100: Final = Cifar(
    name="cifar100",
    title="CIFAR-100",
    archive="cifar-100-binary.tar.gz",
    url="https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
    md5="03b5dce01913d631647c71ecec9e9cb8",
    files={"train.bin": 50_000, "test.bin": 10_000},
    label_bytes=2,  # the coarse label, then the fine one
    num_classes=100,
    mean=(129.3 / 255, 124.1 / 255, 112.4 / 255),
    std=(68.2 / 255, 65.4 / 255, 70.4 / 255),
)


def read_cifar(path: Path, kind: Cifar) -> ImageSet:
    """The data set `kind`, from its archive, or from a folder that holds the archive or the extracted files.

    Raises:
        InputError: when a file is missing, has another length than the data set's, or a label out of range.
    """
    folders = [path, *sorted(entry for entry in path.iterdir() if entry.is_dir())] if path.is_dir() else []
    extracted = next((folder for folder in folders if all((folder / file).is_file() for file in kind.files)), None)
    if extracted is not None:
        contents = {file: (extracted / file).read_bytes() for file in kind.files}
        told = "extracted binary files"
    else:
        archive = path / kind.archive if path.is_dir() else path
        if not archive.is_file():
            raise InputError(f"{path} holds neither {kind.archive} nor its extracted files {', '.join(kind.files)}")
        contents = _archived(archive, kind)
        official = file_digest(archive, "md5") == kind.md5
        told = "binary archive, " + ("the official one by its checksum" if official else "not the official one")
    digest = hashlib.sha256()
    parts = []
    for file, records in kind.files.items():
        raw = np.frombuffer(contents[file], dtype=np.uint8)
        length = kind.label_bytes + 3 * 32 * 32
        if len(raw) != records * length:
            raise InputError(
                f"{file} of {kind.title} has {len(raw):,} bytes instead of {records * length:,} "
                f"({records:,} records of {length:,}): {path} is incomplete or another data set"
            )
        digest.update(contents.pop(file))
        table = raw.reshape(records, length)
        labels = table[:, kind.label_bytes - 1].astype(np.int64)
        _check_labels(labels, kind.num_classes, file)
        parts.append((table[:, kind.label_bytes :].reshape(-1, 3, 32, 32), labels))
    return ImageSet(
        name=kind.name,
        images=np.concatenate([images for images, _ in parts[:-1]]),
        labels=np.concatenate([labels for _, labels in parts[:-1]]),
        num_classes=kind.num_classes,
        mean=kind.mean,
        std=kind.std,
        crop_padding=4,
        flip=True,
        source=f"{kind.title}, {told}",
        sha256=digest.hexdigest(),
        test_images=parts[-1][0],
        test_labels=parts[-1][1],
    )


def _archived(archive: Path, kind: Cifar) -> dict[str, bytes]:
    """The files of an archive, read in its own order, nothing extracted."""
    contents = {}
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                file = Path(member.name).name
                stream = tar.extractfile(member) if member.isreg() and file in kind.files else None
                if stream is not None:
                    contents[file] = stream.read()
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise InputError(f"{archive} is not a readable archive ({error}): download {kind.archive} again") from error
    missing = [file for file in kind.files if file not in contents]
    if missing:
        raise InputError(f"{archive} does not hold {', '.join(missing)}: {kind.archive} of {kind.title} is meant")
    return contents


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
        batch = _ArraysOnly(io.BytesIO(raw), encoding="latin1").load()
    except Exception as error:  # a broken pickle can raise anything
        raise InputError(f"{path} is not a readable batch file: {error}") from error
    data, labels = (batch.get("data"), batch.get("labels")) if isinstance(batch, dict) else (None, None)
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != 768:
        raise InputError(f"{path} has no 'data' of shape (n, 768) and type uint8: not a batch file of ImageNet16")
    if not isinstance(labels, list) or len(labels) != len(data) or not all(type(label) is int for label in labels):
        raise InputError(f"{path} has no 'labels', one integer for each of its {len(data):,} images")
    numbers = np.array(labels, dtype=np.int64) - 1
    _check_labels(numbers, 1000, f"{path} (less 1)")
    kept = numbers < num_classes
    return data[kept].reshape(-1, 3, 16, 16), numbers[kept]


def _latin1(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes into an old pickle."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes in the encoding {encoding!r}")
    return text.encode("latin1")


class _ArraysOnly(pickle.Unpickler):
    """Rebuilds arrays and plain containers; whatever else a pickle names is refused before it is looked up."""

    _known: Final = {
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("_codecs", "encode"): _latin1,
        # The names differ between NumPy 1 and 2; an array and a number say themselves how they are rebuilt.
        **{(f"numpy.{core}.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0] for core in ("core", "_core")},
    }

    def find_class(self, module: str, name: str) -> Any:
        """The few things that an array is made of.

        Raises:
            pickle.UnpicklingError: for anything else.
        """
        try:
            return self._known[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, and only arrays are read") from None


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
    if num_classes < 2:
        raise InputError(f"{path} has {num_classes} class(es): there is nothing to tell apart")
    _check_labels(labels, num_classes, f"train_y of {path}")
    if test is not None:
        _check_labels(test[1], num_classes, f"test_y of {path}")
    mean, std = measure(images)
    return ImageSet(
        name=path.stem,
        images=images,
        labels=labels,
        num_classes=num_classes,
        mean=_pack_channels(arrays, "mean", mean, path),
        std=_pack_channels(arrays, "std", std, path),
        crop_padding=_whole_number(arrays, "crop_padding", side // 8, path),
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
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error, KeyError) as error:
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


def _whole_number(arrays: Mapping[str, NDArray[Any]], key: str, default: int, path: Path) -> int:
    """One integer (or truth value) of a pack that is not below 0."""
    if key not in arrays:
        return default
    value = arrays[key]
    if value.shape != () or value.dtype.kind not in "iub" or value < 0:
        raise InputError(f"{key} of {path} has to be one whole number, not below 0; got {value!r}")
    return int(value)


def _pack_channels(arrays: Mapping[str, NDArray[Any]], key: str, default: Channels, path: Path) -> Channels:
    """Mean or standard deviation per channel, as the pack has them or as measured."""
    values = np.asarray(arrays.get(key, default))
    if values.shape != (3,) or values.dtype.kind != "f" or not np.isfinite(values).all():
        raise InputError(f"{key} of {path} has to be three finite numbers, one for each channel; got {values!r}")
    if (values < 0).any() or (values > 1).any() or (key == "std" and (values == 0).any()):
        told = "above 0 and up to 1" if key == "std" else "from 0 to 1"
        raise InputError(f"{key} of {path} has to be {told} (pixels count from 0 to 1); got {values.tolist()}")
    return as_channels(values)


def _check_labels(labels: NDArray[np.int64], num_classes: int, where: str) -> None:
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
