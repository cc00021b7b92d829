"""CIFAR's files, read and downloaded. Truth: files written here byte by byte, and a web server of our own."""

from __future__ import annotations

import dataclasses
import functools
import gzip
import hashlib
import io
import lzma
import shutil
import tarfile
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dartboard.benchmark import image_sources
from dartboard.benchmark.cifar import CIFAR10, CIFAR100, Cifar, read_cifar
from dartboard.benchmark.errors import InputError
from dartboard.benchmark.image_sources import available_images, fetch_images, load_images

SMALL10 = dataclasses.replace(CIFAR10, files=dict.fromkeys(CIFAR10.files, 6), url="http://127.0.0.1:9/none.tar.gz")
SMALL100 = dataclasses.replace(CIFAR100, files={"train.bin": 9, "test.bin": 4})


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and CIFAR with few records."""
    monkeypatch.setenv("DARTBOARD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(image_sources, "_CIFARS", {"cifar10": SMALL10, "cifar100": SMALL100})
    return tmp_path / "cache"


def records(kind: Cifar) -> dict[str, bytes]:
    """The binary files of a small CIFAR, written record by record: label bytes, then red, green, blue rows."""
    rng = np.random.default_rng(kind.num_classes)
    written = {}
    for file, count in kind.files.items():
        rows = b""
        for _ in range(count):
            coarse = bytes(rng.integers(20, size=kind.label_bytes - 1, dtype=np.uint8))
            rows += coarse + bytes([int(rng.integers(kind.num_classes))]) + rng.bytes(3072)
        written[file] = rows
    return written


def archive(path: Path, files: dict[str, bytes], folder: str) -> Path:
    """`files` in a folder of a .tar.gz, with the page's own extra file among them."""
    with tarfile.open(path, "w:gz") as tar:
        for name, content in {"readme.html": b"<html>", **files}.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def pixel(files: dict[str, bytes], kind: Cifar, file: str, image: int, place: tuple[int, int, int]) -> int:
    """One byte of the binary form, found by hand."""
    channel, row, column = place
    return files[file][image * (kind.label_bytes + 3072) + kind.label_bytes + 1024 * channel + 32 * row + column]


@pytest.mark.parametrize(("kind", "folder"), [(SMALL10, "cifar-10-batches-bin"), (SMALL100, "cifar-100-binary")])
def test_cifar_is_read_from_its_archive_and_from_its_folder(tmp_path: Path, kind: Cifar, folder: str) -> None:
    """Archive, extracted folder and the folder around either give the same images; labels are the last label byte."""
    files = records(kind)
    path = archive(tmp_path / kind.archive, files, folder)
    (tmp_path / "extracted" / folder).mkdir(parents=True)
    for file, content in files.items():
        (tmp_path / "extracted" / folder / file).write_bytes(content)
    sources = [path, tmp_path, tmp_path / "extracted", tmp_path / "extracted" / folder]
    sets = [read_cifar(source, kind) for source in sources]
    *train, test = kind.files
    for images in sets:
        assert images.sha256 == hashlib.sha256(b"".join(files.values())).hexdigest()
        assert len(images.labels) == sum(kind.files[file] for file in train)
        count = kind.files[train[0]]
        for image in (0, count - 1):
            for place in ((0, 0, 0), (1, 5, 31), (2, 31, 7)):
                assert images.images[(image, *place)] == pixel(files, kind, train[0], image, place)
        assert images.test_images is not None
        assert images.test_labels is not None
        assert images.test_images[2, 1, 3, 4] == pixel(files, kind, test, 2, (1, 3, 4))
        assert images.test_labels[2] == files[test][2 * (kind.label_bytes + 3072) + kind.label_bytes - 1]
        assert images.labels[-1] == files[train[-1]][-3073]
        assert (images.crop_padding, images.flip) == (4, True)
    assert "not the official one" in sets[0].source
    assert "extracted" in sets[2].source
    official = dataclasses.replace(kind, md5=hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest())
    assert "the official one by its checksum" in read_cifar(path, official).source


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda files: files | {"data_batch_2.bin": files["data_batch_2.bin"][:-1]},
            "data_batch_2.bin of CIFAR-10 has",
        ),
        (lambda files: files | {"test_batch.bin": b""}, "has 0 bytes instead of 18,438"),
        (lambda files: {k: v for k, v in files.items() if k != "data_batch_5.bin"}, "does not hold data_batch_5.bin"),
        (lambda files: files | {"data_batch_1.bin": b"\x0a" + files["data_batch_1.bin"][1:]}, "label 10 of image 0 in"),
    ],
)
def test_a_wrong_cifar_archive_is_refused(
    tmp_path: Path, spoil: Callable[[dict[str, bytes]], dict[str, bytes]], message: str
) -> None:
    """A short, empty or missing file and a label out of range are refused, with the name of the file."""
    with pytest.raises(InputError, match=message):
        read_cifar(archive(tmp_path / "c.tar.gz", spoil(records(SMALL10)), "cifar-10-batches-bin"), SMALL10)


def test_a_file_that_claims_to_be_larger_is_refused_unread(tmp_path: Path) -> None:
    """An archive's word for a file's length is held against the data set's before any of the file is read."""
    path = tmp_path / "c.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        member = tarfile.TarInfo("cifar-10-batches-bin/data_batch_1.bin")
        member.size = 10**12
        tar.addfile(member)
    with pytest.raises(InputError, match=r"data_batch_1\.bin of CIFAR-10 has 1,000,000,000,000 bytes instead"):
        read_cifar(path, SMALL10)


def test_a_damaged_xz_archive_is_refused(tmp_path: Path) -> None:
    """What the decompressor of an .xz finds wrong on the way is one line, too."""
    gz = archive(tmp_path / "c.tar.gz", records(SMALL10), "x").read_bytes()
    whole = bytearray(lzma.compress(gzip.decompress(gz)))
    whole[len(whole) // 2] ^= 255
    path = tmp_path / "c.tar.xz"
    path.write_bytes(whole)
    with pytest.raises(InputError, match=r"c\.tar\.xz is not a readable archive"):
        read_cifar(path, SMALL10)


def test_a_broken_archive_is_refused(tmp_path: Path) -> None:
    """A file that is no archive, a cut one, and a folder without one are refused, with the path."""
    whole = archive(tmp_path / "c.tar.gz", records(SMALL10), "x").read_bytes()
    for content in (b"no archive", whole[:-3000], b""):
        path = tmp_path / "broken.tar.gz"
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"broken\.tar\.gz"):
            read_cifar(path, SMALL10)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds neither cifar-10-binary"):
        read_cifar(tmp_path / "empty", SMALL10)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A web server of our own: its address and the folder it serves."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))) as web:
        thread = threading.Thread(target=web.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{web.server_port}", folder
        web.shutdown()
        thread.join()


def test_cifar_is_downloaded_once_and_then_works_offline(
    server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    """The first load downloads and checks the archive; later loads, and fetches, need neither network nor archive."""
    address, folder = server
    path = archive(folder / SMALL10.archive, records(SMALL10), "cifar-10-batches-bin")
    md5 = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    kind = dataclasses.replace(SMALL10, url=f"{address}/{SMALL10.archive}", md5=md5)
    monkeypatch.setattr(image_sources, "_CIFARS", {"cifar10": kind})
    present = {images.name: images.present for images in available_images()}
    assert present == {"digits": True, "cifar10": False, "cifar100": False, "imagenet16-120": False}
    first = load_images("cifar10")
    assert "official" in first.source
    path.unlink()
    shutil.rmtree(cache / "downloads")
    for again in (load_images("cifar10"), fetch_images("cifar10")):
        np.testing.assert_array_equal(again.images, first.images)
        np.testing.assert_array_equal(again.labels, first.labels)
        assert again.describe() == first.describe()
    assert next(images.present for images in available_images() if images.name == "cifar10")


def test_a_download_with_a_wrong_checksum_is_refused(
    server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    """What the server sends is used only when its checksum is the official one."""
    address, folder = server
    archive(folder / SMALL10.archive, records(SMALL10), "cifar-10-batches-bin")
    kind = dataclasses.replace(SMALL10, url=f"{address}/{SMALL10.archive}")
    monkeypatch.setattr(image_sources, "_CIFARS", {"cifar10": kind})
    with pytest.raises(InputError, match="its checksum is wrong"):
        load_images("cifar10")
    assert not list(cache.rglob("*.npy"))


def test_a_failed_download_says_what_to_put_where(cache: Path) -> None:
    """Without a network one line names the file, the place for it, and the command for a copy elsewhere."""
    with pytest.raises(InputError) as caught:
        load_images("cifar10")
    message = str(caught.value)
    assert f"put cifar-10-binary.tar.gz at {cache / 'downloads' / 'cifar-10-binary.tar.gz'}" in message
    assert "dartboard data fetch cifar10 --from PATH" in message
    assert "\n" not in message


def test_an_archive_put_by_hand_is_used_without_a_network(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The official archive in the place that the message names needs no download."""
    (cache / "downloads").mkdir(parents=True)
    path = archive(cache / "downloads" / SMALL10.archive, records(SMALL10), "cifar-10-batches-bin")
    md5 = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    monkeypatch.setattr(image_sources, "_CIFARS", {"cifar10": dataclasses.replace(SMALL10, md5=md5)})
    assert len(load_images("cifar10").labels) == 30
