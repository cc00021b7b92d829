"""Images by name, and the cache they are kept in."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dartboard.benchmark import image_packs, image_sources
from dartboard.benchmark.cache import cache_folder
from dartboard.benchmark.errors import InputError
from dartboard.benchmark.image_sources import available_images, fetch_images, load_images


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("DARTBOARD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


IMAGES = np.random.default_rng(0).integers(256, size=(12, 8, 8, 3), dtype=np.uint8)
LABELS = np.arange(12) % 3


def pack(path: Path, **arrays: Any) -> Path:
    """An .npz of these arrays."""
    np.savez(path, **arrays)
    return path


def test_a_pack_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second load of the same bytes, wherever they lie, maps the kept arrays; other bytes are read anew."""
    path = pack(tmp_path / "p.npz", train_images=IMAGES, train_y=LABELS)
    first = load_images(path)
    copy = Path(shutil.copy(path, tmp_path / "copy.npz"))
    read: list[Path] = []
    monkeypatch.setattr(image_sources, "read_pack", lambda path: read.append(path) or image_packs.read_pack(path))
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


def test_a_file_that_cannot_be_read_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system denies a file, the line names it and the reason."""

    def denied(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(image_sources, "read_pack", denied)
    with pytest.raises(InputError, match=r"p\.npz cannot be read: .*Permission denied"):
        load_images(pack(tmp_path / "p.npz", train_images=IMAGES, train_y=LABELS))


def test_the_cache_is_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DARTBOARD_CACHE, else XDG_CACHE_HOME/dartboard, else ~/.cache/dartboard."""
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("DARTBOARD_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "dartboard"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for unset in ("", "relative/path"):
        monkeypatch.setenv("XDG_CACHE_HOME", unset)
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
