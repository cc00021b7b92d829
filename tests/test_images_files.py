"""Image files and the cache. Truth: files written here byte by byte, Pillow, and real CIFAR-10."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import io
import json
import pickle
import shutil
import tarfile
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dartboard.benchmark import image_files, image_sources
from dartboard.benchmark.cache import cache_folder
from dartboard.benchmark.errors import InputError
from dartboard.benchmark.image_files import CIFAR10, CIFAR100, IMAGENET16_120, measure, read_cifar, read_imagenet16
from dartboard.benchmark.image_sources import available_images, fetch_images, load_images

SMALL10 = dataclasses.replace(CIFAR10, files=dict.fromkeys(CIFAR10.files, 6), url="http://127.0.0.1:9/none.tar.gz")
SMALL100 = dataclasses.replace(CIFAR100, files={"train.bin": 9, "test.bin": 4})
SMALL16 = dataclasses.replace(IMAGENET16_120, num_classes=3, counts=(30, 3))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and CIFAR with few records."""
    monkeypatch.setenv("DARTBOARD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(image_sources, "_CIFARS", {"cifar10": SMALL10, "cifar100": SMALL100})
    return tmp_path / "cache"


def records(kind: image_files.Cifar) -> dict[str, bytes]:
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


def pixel(files: dict[str, bytes], kind: image_files.Cifar, file: str, image: int, place: tuple[int, int, int]) -> int:
    """One byte of the binary form, found by hand."""
    channel, row, column = place
    return files[file][image * (kind.label_bytes + 3072) + kind.label_bytes + 1024 * channel + 32 * row + column]


@pytest.mark.parametrize(("kind", "folder"), [(SMALL10, "cifar-10-batches-bin"), (SMALL100, "cifar-100-binary")])
def test_cifar_is_read_from_its_archive_and_from_its_folder(
    tmp_path: Path, kind: image_files.Cifar, folder: str
) -> None:
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


def batch(seed: int, labels: list[int], **changes: Any) -> dict[str, Any]:
    """The content of an ImageNet16 batch file."""
    data = np.random.default_rng(seed).integers(256, size=(len(labels), 768), dtype=np.uint8)
    return {"data": data, "labels": labels, "mean": np.zeros(768)} | changes


def as_python_2(data: NDArray[np.uint8], labels: list[int]) -> bytes:
    """The same batch as Python 2 and NumPy 1 pickled it: byte strings, and the array's parts by their old names."""

    def text(value: bytes) -> bytes:
        return b"T" + len(value).to_bytes(4, "little") + value

    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00t" + text(b"b") + b"tR"
        b"(K\x01(" + b"".join(b"M" + n.to_bytes(2, "little") for n in data.shape) + b"t"
        b"cnumpy\ndtype\n("
        + text(b"u1")
        + b"K\x00K\x01tR(K\x03"
        + text(b"|")
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"I00\n" + text(data.tobytes()) + b"tb"
    )
    numbers = b"(" + b"".join(b"M" + n.to_bytes(2, "little") for n in labels) + b"l"
    return b"\x80\x02}(" + text(b"data") + array + text(b"labels") + numbers + b"u."


def imagenet16(folder: Path, write: Callable[[dict[str, Any]], bytes] = pickle.dumps) -> dict[str, dict[str, Any]]:
    """Ten training batches and a test batch in `folder`, of classes 1 to 3, and others that do not count."""
    folder.mkdir(exist_ok=True)
    batches = {}
    for seed, file in enumerate(IMAGENET16_120.files):
        labels = [1, 900, 3, 4, 1000, 2]
        batches[file] = batch(seed, labels)
        (folder / file).write_bytes(write(batches[file]))
    return batches


@pytest.mark.parametrize(
    "write",
    [
        *(functools.partial(pickle.dumps, protocol=protocol) for protocol in range(5)),
        lambda content: pickle.dumps(content, protocol=2).replace(b"numpy._core.", b"numpy.core."),
        lambda content: as_python_2(content["data"], content["labels"]),
    ],
    ids=["0", "1", "2", "3", "4", "numpy1", "python2"],
)
def test_imagenet16_keeps_the_first_classes(tmp_path: Path, write: Callable[[dict[str, Any]], bytes]) -> None:
    """Classes 1 to 3 of each batch, numbered from 0, in the files' order, however the batches were pickled."""
    batches = imagenet16(tmp_path / "in16", write)
    images = read_imagenet16(tmp_path / "in16", SMALL16)
    assert images.labels.tolist() == [0, 2, 1] * 10
    expected = np.concatenate([batches[f"train_data_batch_{i}"]["data"][[0, 2, 5]] for i in range(1, 11)])
    np.testing.assert_array_equal(images.images.reshape(30, 768), expected)
    np.testing.assert_array_equal(images.images[4, 1, 0], expected[4, 256:272])  # green follows 256 bytes of red
    assert images.test_labels is not None
    assert images.test_labels.tolist() == [0, 2, 1]
    assert (images.image_size, images.crop_padding, images.flip) == (16, 2, True)
    assert "not the published files" in images.source


class _Evil:
    """A pickle that would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_pickle_that_would_run_something_is_refused(tmp_path: Path) -> None:
    """Nothing that a batch file names is called, save what an array is made of."""
    imagenet16(tmp_path)
    (tmp_path / "val_data").write_bytes(pickle.dumps(batch(0, [1, 2, 3]) | {"mean": _Evil(tmp_path / "made")}))
    with pytest.raises(InputError, match=r"val_data is not a readable batch file: it asks for .*only arrays are read"):
        read_imagenet16(tmp_path, SMALL16)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (batch(0, [1, 2, 3], data=np.zeros((3, 768))), "no 'data' of shape"),
        (batch(0, [1, 2, 3], data=np.zeros((3, 3072), dtype=np.uint8)), "no 'data' of shape"),
        (batch(0, [1, 2, 3]) | {"labels": [1, 2]}, "no 'labels'"),
        (batch(0, [1, 2, 3]) | {"labels": [1, 2, 2.0]}, "no 'labels'"),
        (batch(0, [1, 2, 0]), "label -1 of image 2"),
        (batch(0, [1, 2, 1001]), "label 1000 of image 2"),
        (batch(0, [1, 2, 2, 3]), "30 training and 4 test images"),
        ([1, 2], "no 'data'"),
    ],
)
def test_a_wrong_batch_file_is_refused(tmp_path: Path, content: Any, message: str) -> None:
    """Wrong types, shapes, labels and counts are refused, with the path."""
    imagenet16(tmp_path)
    (tmp_path / "val_data").write_bytes(pickle.dumps(content))
    with pytest.raises(InputError, match=message):
        read_imagenet16(tmp_path, SMALL16)


def test_a_missing_or_broken_batch_file_is_refused(tmp_path: Path) -> None:
    """A folder without a file, and a file that is no pickle, are refused by name."""
    imagenet16(tmp_path)
    for content in (b"", b"text", pickle.dumps(batch(0, [1, 2, 3]))[:-100]):
        (tmp_path / "val_data").write_bytes(content)
        with pytest.raises(InputError, match="val_data is not a readable batch file"):
            read_imagenet16(tmp_path, SMALL16)
    (tmp_path / "train_data_batch_7").unlink()
    with pytest.raises(InputError, match="does not hold train_data_batch_7"):
        read_imagenet16(tmp_path, SMALL16)
    with pytest.raises(InputError, match="imagenet16-120 cannot be downloaded"):
        load_images("imagenet16-120")


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
        ({"crop_padding": -1}, "crop_padding of .* not below 0"),
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


def test_a_pack_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second load of the same bytes, wherever they lie, maps the kept arrays; other bytes are read anew."""
    path = pack(tmp_path / "p.npz", train_images=IMAGES, train_y=LABELS)
    first = load_images(path)
    copy = Path(shutil.copy(path, tmp_path / "copy.npz"))
    read: list[Path] = []
    monkeypatch.setattr(image_sources, "read_pack", lambda path: read.append(path) or image_files.read_pack(path))
    again = load_images(copy)
    assert not read
    assert again.describe() == first.describe() | {"name": "copy"}
    assert isinstance(again.images, np.memmap)
    pack(path, train_images=255 - IMAGES, train_y=LABELS)
    np.testing.assert_array_equal(load_images(path).images, 255 - IMAGES.transpose(0, 3, 1, 2))
    assert read == [path]


def test_a_registered_pack_is_known_by_its_name(tmp_path: Path) -> None:
    """After `fetch_images(path, register=name)` the file is no longer needed, and the list tells of it."""
    path = pack(tmp_path / "p.npz", train_images=IMAGES, train_y=LABELS, source="my camera")
    fetch_images(path, register="my-images")
    path.unlink()
    assert load_images("my-images").name == "my-images"
    last = available_images()[-1]
    assert (last.name, last.present, last.summary) == ("my-images", True, "my camera")
    fetch_images(pack(path, train_images=255 - IMAGES, train_y=LABELS), register="my-images")
    np.testing.assert_array_equal(load_images("my-images").images, 255 - IMAGES.transpose(0, 3, 1, 2))


@pytest.mark.parametrize("name", ["cifar10", "digits", "My", "", "../x", "a/b", "x.npz", "-x"])
def test_a_pack_cannot_take_a_built_in_or_impossible_name(tmp_path: Path, name: str) -> None:
    """Built-in names stay what they are, and a name never leads out of the cache."""
    path = pack(tmp_path / "p.npz", train_images=IMAGES, train_y=LABELS)
    with pytest.raises(InputError, match="cannot be a pack's name"):
        fetch_images(path, register=name)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("cifar1", {}, "unknown data set 'cifar1'; did you mean 'cifar10'"),
        ("none.npz", {}, r"no pack of images at none\.npz"),
        ("mine", {"source": Path("a.npz")}, "registered with `dartboard data fetch a.npz --name mine`"),
        ("digits", {"source": Path("/")}, "come with scikit-learn"),
        ("cifar10", {"source": Path("/nowhere")}, "nothing at /nowhere"),
        ("cifar10", {"register": "mine"}, "'cifar10' has its name already"),
    ],
)
def test_an_impossible_fetch_is_refused(name: str, arguments: dict[str, Any], message: str) -> None:
    """Unknown names, absent files and contradictions are refused, with the value and the way out."""
    with pytest.raises(InputError, match=message):
        fetch_images(name, **arguments)


@pytest.mark.parametrize("name", ["cifra10", "./digits", "none.npz", "folder/pack"])
def test_an_unknown_name_or_path_is_refused(name: str) -> None:
    """What is neither a data set nor a file is refused, quoted."""
    with pytest.raises(InputError, match=name):
        load_images(name)


def test_damaged_kept_images_are_refused(tmp_path: Path, cache: Path) -> None:
    """A cut array, a missing one, and broken JSON in the cache give one line that says what to remove."""
    path = pack(tmp_path / "p.npz", train_images=IMAGES, train_y=LABELS)
    fetch_images(path, register="mine")
    (folder,) = (entry for entry in (cache / "images").iterdir() if entry.is_dir())
    array = folder / "train_images.npy"
    array.write_bytes(array.read_bytes()[:-50])
    with pytest.raises(InputError, match=f"{folder} are damaged .*remove that folder and fetch"):
        load_images("mine")
    array.unlink()
    with pytest.raises(InputError, match="damaged"):
        load_images("mine")
    shutil.rmtree(folder)
    with pytest.raises(InputError, match="damaged"):
        load_images("mine")
    assert fetch_images(path, register="mine").labels.tolist() == LABELS.tolist()
    (cache / "images" / "mine.json").write_text("{")
    with pytest.raises(InputError, match=r"mine\.json is damaged"):
        load_images("mine")


def test_an_interrupted_write_leaves_no_half_set(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where writing stops midway nothing is kept, and the next load reads the pack again."""
    path = pack(tmp_path / "p.npz", train_images=IMAGES, train_y=LABELS)
    with monkeypatch.context() as patch:
        patch.setattr(json, "dump", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            load_images(path)
    assert list((cache / "images").iterdir()) == []
    assert len(load_images(path).labels) == 12


def test_a_cache_that_cannot_be_written_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache that is in truth a file is refused with the variable that moves it."""
    path = pack(tmp_path / "p.npz", train_images=IMAGES, train_y=LABELS)
    (tmp_path / "file").touch()
    monkeypatch.setenv("DARTBOARD_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match="set DARTBOARD_CACHE to another folder"):
        load_images(path)


def test_the_cache_is_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DARTBOARD_CACHE, else XDG_CACHE_HOME/dartboard, else ~/.cache/dartboard."""
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("DARTBOARD_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "dartboard"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "dartboard"


def test_the_listing_needs_no_torch_and_no_decoder() -> None:
    """`available_images` is cheap: it imports neither torch nor scikit-learn nor Pillow nor pooch."""
    import subprocess
    import sys

    code = (
        "import sys; from dartboard.benchmark.image_sources import available_images; available_images(); "
        "sys.exit(str({'torch', 'sklearn', 'PIL', 'pooch', 'pandas'} & set(sys.modules) or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip()) == (1, "")  # sys.exit('') is exit code 1 with nothing said


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
