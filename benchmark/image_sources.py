"""Where images are found by name, and where they are kept once read. No torch here.

Whatever takes time to read (archives, pickles, encoded packs) is read once and kept in the cache:

    images/<sha256>-<version>/    set.json, train_images.npy, train_labels.npy, test_images.npy, test_labels.npy
    images/<name>.json            which of those folders a name stands for
    downloads/                    archives as downloaded
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dartboard.benchmark.cache import cache_folder
from dartboard.benchmark.cifar import CIFAR10, CIFAR100, Cifar, read_cifar
from dartboard.benchmark.errors import InputError, reading, unknown
from dartboard.benchmark.image_packs import read_pack
from dartboard.benchmark.image_sets import ImageSet, as_channels, file_digest, read_digits
from dartboard.benchmark.imagenet16 import read_imagenet16

VERSION: Final = 1
"""Of the kept form; a new one where reading gives other pixels than before."""

SUMMARIES: Final = {
    "digits": "scikit-learn's handwritten digits: 1,797 of 8x8, 10 classes; part of the installation",
    "cifar10": "CIFAR-10: 60,000 of 32x32, 10 classes; downloaded (170 MB)",
    "cifar100": "CIFAR-100: 60,000 of 32x32, 100 classes; downloaded (169 MB)",
    "imagenet16-120": "ImageNet16-120: 157,700 of 16x16, 120 classes; from your copy of ImageNet16's batch files",
}
_CIFARS: Final = {"cifar10": CIFAR10, "cifar100": CIFAR100}


@dataclass(frozen=True, slots=True, kw_only=True)
class AvailableImages:
    """A data set that can be asked for by name."""

    name: str
    present: bool  # usable now, without a download
    summary: str  # one line


def available_images() -> list[AvailableImages]:
    """Every data set that has a name: the built-in ones, then the registered packs."""
    registered = sorted(path.stem for path in _folder().glob("*.json") if path.stem not in SUMMARIES)
    return [
        *(
            AvailableImages(name=name, present=name == "digits" or _pointer(name).is_file(), summary=summary)
            for name, summary in SUMMARIES.items()
        ),
        *(
            AvailableImages(name=name, present=True, summary=str(_read_json(_pointer(name)).get("source")))
            for name in registered
        ),
    ]


def load_images(name: str | Path) -> ImageSet:
    """The data set of that name (downloaded where it has to be), or the pack of images at that path.

    Raises:
        InputError: when there is no such data set or file, or it is malformed, or cannot be downloaded.
    """
    if name == "digits":
        return read_digits()
    if isinstance(name, str) and _is_name(name) and _pointer(name).is_file():
        return _kept(_pointed(name), name)
    if name in SUMMARIES or Path(name).is_file():
        return fetch_images(name)
    if str(name).endswith(".npz") or Path(name).name != str(name):
        raise InputError(f"there is no pack of images at {name}")
    raise unknown("data set", str(name), [images.name for images in available_images()])


def fetch_images(name: str | Path, *, source: Path | None = None, register: str | None = None) -> ImageSet:
    """Read a data set and keep it in the cache, so that `load_images` is quick from then on.

    Args:
        name: a built-in data set, or the path of a pack.
        source: where the files of a built-in data set are; without it CIFAR is downloaded.
        register: the name that a pack is to have.

    Raises:
        InputError: when the files are not there or malformed, or the name is taken or no name.
    """
    if name in SUMMARIES:
        if register is not None:
            raise InputError(f"{name!r} has its name already: only a pack of images is registered as {register!r}")
        return _fetch_builtin(str(name), source)
    path = Path(name)
    if not path.is_file():
        if source is not None:
            raise InputError(
                f"unknown data set {str(name)!r} (known: {', '.join(SUMMARIES)}); a pack of your own is "
                f"registered with `dartboard data fetch {source} --name {name}`"
            )
        if path.suffix == ".npz" or path.name != str(name):
            raise InputError(f"there is no pack of images at {name}")
        raise unknown("data set", str(name), SUMMARIES)
    if source is not None:
        raise InputError(f"{name} is a file already: leave out --from {source}")
    if register is not None and (register in SUMMARIES or not _is_name(register)):
        raise InputError(
            f"{register!r} cannot be a pack's name: take small letters, digits, '-', '_' and '.', beginning with a "
            f"letter or digit, and none of {', '.join(SUMMARIES)}"
        )
    with reading(path):
        folder = _folder() / f"{file_digest(path, 'sha256')}-{VERSION}"
        pack = None if folder.is_dir() else read_pack(path)
    if pack is not None:
        _keep(pack)
    if register is not None:
        _point(register, folder)
    return _kept(folder, register or path.stem)


def _fetch_builtin(name: str, source: Path | None) -> ImageSet:
    """Read a built-in data set from `source`, or download it, and keep it under its name."""
    if source is not None and not source.exists():
        raise InputError(f"there is nothing at {source}")
    if name == "digits":
        if source is not None:
            raise InputError("the digits come with scikit-learn: leave out --from")
        return read_digits()
    if source is None and _pointer(name).is_file() and _pointed(name).is_dir():
        return _kept(_pointed(name), name)
    if name in _CIFARS:
        place = source or _download(_CIFARS[name])
        with reading(place):
            images = read_cifar(place, _CIFARS[name])
    elif source is None:
        raise InputError(
            f"{name} cannot be downloaded: put ImageNet16's batch files (train_data_batch_1 to train_data_batch_10 and "
            f"val_data) into a folder and call `dartboard data fetch {name} --from FOLDER`"
        )
    else:
        with reading(source):
            images = read_imagenet16(source)
    folder = _keep(images)
    _point(name, folder)
    return _kept(folder, name)


def _download(kind: Cifar) -> Path:
    """The official archive, downloaded unless it is there already."""
    import pooch

    folder = cache_folder() / "downloads"
    try:
        return Path(pooch.retrieve(kind.url, known_hash=f"md5:{kind.md5}", fname=kind.archive, path=folder))
    except (OSError, ValueError) as error:  # what requests and pooch raise
        reason = "its checksum is wrong" if isinstance(error, ValueError) else type(error).__name__
        raise InputError(
            f"cannot download {kind.url} ({reason}): put {kind.archive} at {folder / kind.archive}, or call "
            f"`dartboard data fetch {kind.name} --from PATH` with the archive or its extracted folder"
        ) from error


def _folder() -> Path:
    return cache_folder() / "images"


def _pointer(name: str) -> Path:
    """The file that says which folder holds the data set of that name."""
    return _folder() / f"{name}.json"


def _pointed(name: str) -> Path:
    """The folder that holds the data set of that name, which was fetched before."""
    return _folder() / str(_read_json(_pointer(name)).get("folder"))


def _is_name(text: str) -> bool:
    return re.fullmatch(r"[a-z0-9][a-z0-9_.-]*", text) is not None and not text.endswith(".npz")


def _keep(images: ImageSet) -> Path:
    """Write a data set into the cache, whole or not at all, and say where."""
    folder = _folder() / f"{images.sha256}-{VERSION}"
    arrays: dict[str, NDArray[Any]] = {"train_images": images.images, "train_labels": images.labels}
    if images.test_images is not None and images.test_labels is not None:
        arrays |= {"test_images": images.test_images, "test_labels": images.test_labels}
    facts = ("num_classes", "mean", "std", "crop_padding", "flip", "source", "sha256")
    shapes = {key: list(array.shape) for key, array in arrays.items()}
    with _writing(folder.parent):
        partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder.parent))
        try:
            for key, array in arrays.items():
                with (partial / f"{key}.npy").open("wb") as file:
                    np.save(file, array)
                    os.fsync(file.fileno())
            _write_json(partial / "set.json", {fact: getattr(images, fact) for fact in facts} | {"shapes": shapes})
            try:
                partial.rename(folder)
            except OSError:
                if not folder.is_dir():  # else it was kept before, perhaps just now by another process
                    raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return folder


def _point(name: str, folder: Path) -> None:
    """From now on `name` stands for that kept data set."""
    source = _read_json(folder / "set.json")["source"]
    with _writing(folder.parent):
        partial = folder.parent / f".partial-{name}-{os.getpid()}"
        _write_json(partial, {"folder": folder.name, "source": source})
        partial.replace(_pointer(name))


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Make `folder`, and turn a refusal of the disk into one clear line."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise InputError(f"cannot keep images in {folder} ({error}): set DARTBOARD_CACHE to another folder") from error


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    with path.open("w") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
        if not isinstance(content, dict):
            raise ValueError(f"it holds {type(content).__name__}, not an object")
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is damaged ({error}): remove it and fetch the data set again") from error
    return content


def _kept(folder: Path, name: str) -> ImageSet:
    """A data set as `_keep` wrote it, its images mapped into memory instead of read."""
    try:
        facts = _read_json(folder / "set.json")
        arrays = {
            key: np.load(folder / f"{key}.npy", mmap_mode="r" if key.endswith("_images") else None)
            for key in facts["shapes"]
        }
        for key, array in arrays.items():
            if list(array.shape) != facts["shapes"][key]:
                raise ValueError(f"{key}.npy has shape {array.shape}")
        return ImageSet(
            name=name,
            images=arrays["train_images"],
            labels=arrays["train_labels"],
            test_images=arrays.get("test_images"),
            test_labels=arrays.get("test_labels"),
            num_classes=facts["num_classes"],
            mean=as_channels(facts["mean"]),
            std=as_channels(facts["std"]),
            crop_padding=facts["crop_padding"],
            flip=facts["flip"],
            source=facts["source"],
            sha256=facts["sha256"],
        )
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise InputError(
            f"the images kept in {folder} are damaged ({error}): remove that folder and fetch {name!r} again"
        ) from error
