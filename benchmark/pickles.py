"""Pickles from strangers, read without running anything of theirs.

A pickle is a program: it may import and call whatever it names. Here it may name only what stands in an allow-list; any
other name is refused before it is imported. NumPy's own types are not on any list, since a pickle can set their inner
state: what stands for them is made of plain numbers and of their bytes.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from dartboard.benchmark.errors import InputError

Allowed = Mapping[tuple[str, str], Callable[..., Any]]


class PickledType:
    """What stands for numpy's dtype: numbers only, and of its state only the byte order."""

    def __init__(self, code: str, *_flags: object) -> None:
        self.dtype = np.dtype(code)
        if self.dtype.kind not in "biuf":
            raise InputError(f"the pickle holds a numpy value of type {code!r}; only plain numbers are read")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.dtype = self.dtype.newbyteorder(state[1])


def _scalar(dtype: PickledType, data: bytes) -> Any:
    return np.frombuffer(data, dtype.dtype, count=1)[0]


def _encode(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes in protocols 0 to 2.

    Raises:
        InputError: for another encoding than the one that it writes them in.
    """
    if encoding != "latin1":
        raise InputError(f"the pickle holds bytes in the encoding {encoding!r}; latin1 is how they are written")
    return text.encode("latin1")


class PickledArray:
    """What stands for a NumPy array, of numbers only."""

    array: NDArray[Any] | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _version, shape, dtype, by_column, data = state
        raw = data.encode("latin1") if isinstance(data, str) else data  # the bytes of Python 2 come as text
        self.array = np.frombuffer(raw, dtype.dtype).reshape(shape, order="F" if by_column else "C")


def _reconstruct(*_empty: object) -> PickledArray:
    return PickledArray()


CONTAINERS_AND_NUMBERS: Final[Allowed] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
    ("_codecs", "encode"): _encode,
    ("numpy", "dtype"): PickledType,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy._core.multiarray", "scalar"): _scalar,
}
"""All that the benchmark's own files name; none of it can do more than build a value."""

ARRAYS: Final[Allowed] = {
    ("_codecs", "encode"): _encode,
    ("numpy", "dtype"): PickledType,
    ("numpy", "ndarray"): PickledArray,
    # The names differ between NumPy 1 and 2.
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
}
"""What a pickle of plain containers and arrays names; an array is read as a `PickledArray`."""


def find(allowed: Allowed, module: str, name: str) -> Callable[..., Any]:
    """What is read in the place of `module.name`.

    Raises:
        InputError: when it is not `allowed`.
    """
    if (module, name) not in allowed:
        raise InputError(f"the pickle names {module}.{name}, which plain numbers have no need of: refused, unread")
    return allowed[module, name]


class _Restricted(pickle.Unpickler):
    def __init__(self, source: IO[bytes], allowed: Allowed, encoding: str) -> None:
        super().__init__(source, encoding=encoding)
        self.allowed = allowed

    def find_class(self, module: str, name: str) -> Any:
        return find(self.allowed, module, name)


def restricted_load(source: IO[bytes], allowed: Allowed = CONTAINERS_AND_NUMBERS, *, encoding: str = "ASCII") -> Any:
    """The one object pickled in `source`, which may name only what is `allowed`.

    Args:
        source: read by the standard library's machine, to the end of the pickle.
        allowed: what is read in the place of each name.
        encoding: of the byte strings of Python 2.

    Raises:
        InputError: naming what is not allowed, or saying that this is no whole pickle.
    """
    try:
        return _Restricted(source, allowed, encoding).load()
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"not a readable pickle: {error or type(error).__name__}") from error
