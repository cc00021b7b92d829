"""CIFAR-10 and CIFAR-100 in the binary form, from the official archive or its extracted files. No torch here."""

from __future__ import annotations

import hashlib
import lzma
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from dartboard.benchmark.errors import InputError
from dartboard.benchmark.image_sets import Channels, ImageSet, check_labels, file_digest


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

    @property
    def record_bytes(self) -> int:
        """The length of a record."""
        return self.label_bytes + 3 * 32 * 32

    def check_length(self, file: str, length: int, path: Path) -> None:
        """Refuse a file of another length than the data set's, before any of it is read.

        Raises:
            InputError: quoting both.
        """
        records = self.files[file]
        if length != records * self.record_bytes:
            raise InputError(
                f"{file} of {self.title} has {length:,} bytes instead of {records * self.record_bytes:,} "
                f"({records:,} records of {self.record_bytes:,}): {path} is incomplete or another data set"
            )


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
        for file in kind.files:
            kind.check_length(file, (extracted / file).stat().st_size, path)
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
        raw = contents.pop(file)
        digest.update(raw)
        table = np.frombuffer(raw, dtype=np.uint8).reshape(records, kind.record_bytes)
        labels = table[:, kind.label_bytes - 1].astype(np.int64)
        check_labels(labels, kind.num_classes, file)
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
                    kind.check_length(file, member.size, archive)
                    contents[file] = stream.read()
    except (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise InputError(f"{archive} is not a readable archive ({error}): download {kind.archive} again") from error
    missing = [file for file in kind.files if file not in contents]
    if missing:
        raise InputError(f"{archive} does not hold {', '.join(missing)}: {kind.archive} of {kind.title} is meant")
    return contents
