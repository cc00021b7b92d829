from __future__ import annotations

import io
import os
import pickle
import pickletools
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dartboard.benchmark.errors import InputError
from dartboard.benchmark.pickles import restricted_load
from dartboard.benchmark.tables import pickles
from dartboard.benchmark.tables.pickles import load_reducing


def unchanged(cell: dict[Any, Any]) -> dict[Any, Any]:
    """The reduction that reduces nothing."""
    return cell


def read_whole(data: bytes) -> Any:
    """The machine of our own, on all of a pickle."""
    return load_reducing(io.BytesIO(data), unchanged)


def read_standard(data: bytes) -> Any:
    """The standard library's machine, restricted."""
    return restricted_load(io.BytesIO(data))


READERS = pytest.mark.parametrize("read", [read_whole, read_standard])

leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats(allow_nan=False)
    | st.text(max_size=300)
    | st.binary(min_size=1, max_size=100)
)
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.lists(inner, max_size=5).map(tuple)
        | st.dictionaries(st.text(max_size=5) | st.integers(0, 70000), inner, max_size=5)
        | st.dictionaries(st.text(max_size=5), inner, max_size=5).map(OrderedDict)
        | st.sets(st.integers(0, 300), max_size=5)
    ),
    max_leaves=30,
)


@settings(max_examples=200, deadline=None)
@given(value=values, protocol=st.sampled_from([2, 3, 4]))
def test_machine_equals_pickle(value: Any, protocol: int) -> None:
    """Our machine reads any containers of plain values as the standard library does, in each protocol it takes."""
    found = read_whole(pickle.dumps([value, value], protocol=protocol))
    assert found == [value, value]
    assert type(found[0]) is type(value)


@READERS
@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("value", [np.float64(0.802426), np.float32(1.5), np.int64(-3), np.bool_(True)])
def test_numpy_numbers(read: Callable[[bytes], Any], protocol: int, value: Any) -> None:
    """numpy's numbers come back with their type and value."""
    found = read(pickle.dumps({"a": [value, value]}, protocol=protocol))["a"]
    assert found == [value, value]
    assert type(found[0]) is type(value)


class _Attack:
    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@READERS
@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize(
    ("attack", "named"),
    [
        (_Attack(os.system, "true"), "system"),
        (_Attack(eval, "1"), "eval"),
        (_Attack(getattr, "a", "upper"), "getattr"),
        (_Attack(np.load, "x"), "numpy"),
    ],
)
def test_other_names_refused(read: Callable[[bytes], Any], protocol: int, attack: _Attack, named: str) -> None:
    """A pickle that names anything outside the allow-list is refused, and the refusal names it."""
    with pytest.raises(InputError, match=named):
        read(pickle.dumps({"arch2infos": {0: {"full": attack}}}, protocol=protocol))


@READERS
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80\x02}q\x00",  # no STOP
        b"\x80\x02Kx\x05",
        b"not a pickle at all",
        b"\x80\x02h\x05.",  # refers to what is not there
        b"\x80\x02K\x01)R.",  # calls a number
        b"\x80\x02)u.",  # no mark
        b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x04\x00\x00\x00nope\x86R.",
    ],
)
def test_malformed(read: Callable[[bytes], Any], data: bytes) -> None:
    """A malformed or cut pickle is refused in one line."""
    with pytest.raises(InputError) as refused:
        read(data)
    assert "\n" not in str(refused.value)


@READERS
def test_objects_refused(read: Callable[[bytes], Any]) -> None:
    """A numpy value that is no number is refused."""
    with pytest.raises(InputError, match="plain numbers"):
        read(pickle.dumps(np.datetime64("2020-01-01"), protocol=2))


def cells(count: int, **extra: Any) -> dict[str, Any]:
    """A document in the benchmark's layout."""
    return {
        "meta_archs": [f"cell {i}" for i in range(count)],
        "arch2infos": {
            i: {"full": OrderedDict((f"x@{e}", i + e / 7) for e in range(20)), "less": {"name": "y"} | extra}
            for i in range(count)
        },
        "evaluated_indexes": set(range(count)),
    }


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("count", [2, 1000, 1001, 2500])
def test_each_cell_is_reduced_once(protocol: int, count: int) -> None:
    """Every cell is handed to the reduction once, in order, whole, and replaced by what that returns."""
    document = cells(count)
    seen = []

    def reduce(cell: dict[Any, Any]) -> int:
        seen.append(cell)
        return len(seen) - 1

    found = load_reducing(io.BytesIO(pickle.dumps(document, protocol=protocol)), reduce)
    assert seen == list(document["arch2infos"].values())
    assert found == document | {"arch2infos": {i: i for i in range(count)}}


def test_cells_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """When a cell is reduced, at most the first cell and this one are still in memory."""
    monkeypatch.setattr(pickles, "WINDOW", 1 << 14)
    alive: list[weakref.ref[Any]] = []
    most = 0

    def reduce(cell: dict[Any, Any]) -> None:
        nonlocal most
        alive.append(weakref.ref(cell["full"]))
        most = max(most, sum(ref() is not None for ref in alive))

    load_reducing(io.BytesIO(pickle.dumps(cells(300), protocol=2)), reduce)
    assert len(alive) == 300
    assert most <= 2


@pytest.mark.parametrize("protocol", [2, 4])
def test_objects_shared_between_cells(protocol: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cell may refer to an object of an earlier, forgotten cell, even in a chain: it is read again."""
    monkeypatch.setattr(pickles, "WINDOW", 1 << 14)
    document = cells(1500)
    infos = document["arch2infos"]
    for i in range(3, 1500, 7):
        infos[i]["less"]["shared"] = [infos[i - 2]["less"], infos[i // 2]["full"]]
    for i in range(1200, 1400):
        infos[i]["less"]["far"] = infos[1100]["full"]
    data = pickle.dumps(document, protocol=protocol)
    found: list[Any] = []
    load_reducing(io.BytesIO(data), lambda cell: found.append(cell))
    assert found == list(pickle.loads(data)["arch2infos"].values())


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_cell_cannot_refer_ahead(protocol: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reference to an object that is still to come is refused, without reading cells again in search of it."""
    monkeypatch.setattr(pickles, "WINDOW", 1 << 14)
    document = cells(300)
    document["arch2infos"][200]["less"]["shared"] = document["arch2infos"][150]["full"]
    data = pickle.dumps(document, protocol=protocol)
    references = (place for operation, _, place in pickletools.genops(data) if operation.name == "LONG_BINGET")
    place = next(place for place in references if place > data.index(b"shared"))
    ahead = data[: place + 1] + (10**6).to_bytes(4, "little") + data[place + 5 :]
    with pytest.raises(InputError, match="refers to object 1000000, which it does not hold"):
        read_whole(ahead)


def test_too_large_a_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cell larger than the window is told apart from a file that was cut."""
    monkeypatch.setattr(pickles, "WINDOW", 1 << 10)
    data = pickle.dumps(cells(50, long=list(range(5000))), protocol=2)
    with pytest.raises(InputError, match="one cell in it has more than"):
        load_reducing(io.BytesIO(data), unchanged)
    with pytest.raises(InputError, match="ends too early"):
        load_reducing(io.BytesIO(data[:1500]), unchanged)


def test_reads_on_after_the_pickle() -> None:
    """The stream is left behind the pickle, so that several can follow one another."""
    stream = io.BytesIO(b"".join(pickle.dumps(value, protocol=2) for value in (1, "two", {"three": 3})))
    assert [load_reducing(stream, unchanged) for _ in range(3)] == [1, "two", {"three": 3}]
