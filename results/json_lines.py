"""Flat dataclasses as JSON: to and from it, and files of it that survive a power cut.

A file of JSON lines grows by one whole line at a time, synchronised to the disk. A power cut can leave the last line
torn: readers pass over it, and the next append removes it.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import types
import typing
from collections.abc import Callable, Collection, Hashable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from dartboard.benchmark.errors import InputError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

ACCURACY_PREFIX: Final = "accuracy_"

Row = TypeVar("Row", bound="DataclassInstance")


# Accuracies: "cifar10/test/200" in the code, accuracy_cifar10_test_200 in the files.

_METRIC = re.compile(r"([a-z0-9-]+)/([a-z]+)/(\d+)")
_FIELD = re.compile(ACCURACY_PREFIX + r"([a-z0-9_]+)_([a-z]+)_(\d+)")


def accuracy_field(metric: str) -> str:
    """The flat field of a metric: `accuracy_field("imagenet16-120/test/200") == "accuracy_imagenet16_120_test_200"`."""
    match = _METRIC.fullmatch(metric)
    if match is None:
        raise InputError(f"a metric is <dataset>/<split>/<epochs>, like cifar10/test/200; got {metric!r}")
    dataset, split, epochs = match.groups()
    return f"{ACCURACY_PREFIX}{dataset.replace('-', '_')}_{split}_{epochs}"


def accuracy_metric(name: str) -> str:
    """The inverse of `accuracy_field`."""
    match = _FIELD.fullmatch(name)
    if match is None:
        raise InputError(f"not an accuracy_<dataset>_<split>_<epochs> field: {name!r}")
    dataset, split, epochs = match.groups()
    return f"{dataset.replace('_', '-')}/{split}/{epochs}"


# To and from JSON.


def to_json(row: DataclassInstance) -> dict[str, Any]:
    """The flat JSON object of a record; a number that is not finite becomes None."""
    values: dict[str, Any] = {}
    for entry in dataclasses.fields(row):
        value = getattr(row, entry.name)
        if entry.name == "accuracies":
            values |= {accuracy_field(metric): _plain(value[metric]) for metric in sorted(value)}
        else:
            values[entry.name] = _plain(value)
    return values


def from_json(kind: type[Row], values: object) -> Row:
    """The inverse of `to_json`.

    Raises:
        InputError: when a field is missing, unknown or of the wrong type, or the schema is of another version than the
            default of the field `schema_version`.
    """
    if not isinstance(values, dict):
        raise InputError(f"expected a JSON object; got {_excerpt(values)}")
    entries = {entry.name: entry for entry in dataclasses.fields(kind)}
    if "schema_version" in entries:
        known = entries["schema_version"].default
        version = values.get("schema_version", known)
        if version != known:
            raise InputError(f"schema_version is {version!r}; this dartboard reads version {known}")
    hints = _hints(kind)
    given: dict[str, Any] = {}
    accuracies: dict[str, float] = {}
    for name, value in values.items():
        if name.startswith(ACCURACY_PREFIX) and "accuracies" in entries:
            accuracies[accuracy_metric(name)] = _typed(name, value, float)
        elif name not in entries or name == "accuracies":
            raise InputError(f"unknown field {name!r}")
        else:
            given[name] = _typed(name, value, hints[name])
    if "accuracies" in entries:
        given["accuracies"] = accuracies
    missing = [
        name
        for name, entry in entries.items()
        if name not in given and entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise InputError(f"missing field(s): {', '.join(missing)}")
    return kind(**given)


@cache
def _hints(kind: type[DataclassInstance]) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _plain(value: Any) -> Any:
    """`value` in JSON's own types; numpy's scalars and arrays are understood without importing it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Collection) and not isinstance(value, str):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _typed(name: str, value: Any, hint: Any) -> Any:
    """`value` as the type that a field declares; JSON's lists become tuples."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        if value is None and types.NoneType in arguments:
            return None
        (hint,) = (argument for argument in arguments if argument is not types.NoneType)
        return _typed(name, value, hint)
    if origin is Literal and value in arguments:
        return value
    if origin is tuple and isinstance(value, list):
        return tuple(_typed(name, item, arguments[0]) for item in value)
    if isinstance(origin, type) and issubclass(origin, Mapping) and isinstance(value, dict):
        return {key: item if arguments[1] is Any else _typed(name, item, arguments[1]) for key, item in value.items()}
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return from_json(hint, value)
    if hint is float and type(value) in (int, float):
        return float(value)
    if isinstance(hint, type) and type(value) is hint:
        return value
    raise InputError(f"field {name!r} cannot be {_excerpt(value)}")


def _excerpt(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "..."


# Files.


def append_line(path: Path, values: dict[str, Any]) -> None:
    """Add a line of JSON to a file, durably, making the file and its folder where they are missing."""
    append_encoded(path, encoded(values))


def encoded(values: dict[str, Any]) -> bytes:
    """A line of JSON with its end.

    Raises:
        TypeError, ValueError: when a value is none of JSON's.
    """
    return json.dumps(values, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def append_encoded(path: Path, line: bytes) -> None:
    """`append_line`, of a line that is `encoded` already."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    with path.open("ab") as file:
        if not new:
            _mend(path, file.fileno())
        file.write(line)
        file.flush()
        os.fsync(file.fileno())
    if new:
        _sync_folder(path.parent)


def _mend(path: Path, descriptor: int) -> None:
    """Cut a torn last line off, and end with a newline a whole one that lacks it."""
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        tail = content[content.rfind(b"\n") + 1 :]
        if _is_json(tail):
            os.write(descriptor, b"\n")
        else:
            os.ftruncate(descriptor, len(content) - len(tail))


def _whole_lines(content: bytes) -> list[bytes]:
    """The lines of a file but for a torn last one."""
    lines = content.split(b"\n")
    tail = lines.pop()
    return [*lines, tail] if _is_json(tail) else lines


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def read_lines(path: Path, kind: type[Row]) -> list[tuple[int, Row]]:
    """The records in a file of JSON lines, each with its line's number (from 1); [] where there is no file.

    Raises:
        InputError: with the file and line, when a line before the last is malformed.
    """
    if not path.exists():
        return []
    rows = []
    for number, line in enumerate(_whole_lines(path.read_bytes()), start=1):
        try:
            rows.append((number, from_json(kind, json.loads(line))))
        except ValueError as error:
            raise InputError(f"{path}: line {number}: {error}") from None
    return rows


def read_latest(path: Path, kind: type[Row], key: Callable[[Row], Hashable]) -> list[tuple[int, Row]]:
    """`read_lines`, but of the records of one key the last alone, in the place of the last."""
    latest: dict[Hashable, tuple[int, Row]] = {}
    for number, row in read_lines(path, kind):
        latest.pop(key(row), None)
        latest[key(row)] = (number, row)
    return list(latest.values())


def keep_lines(path: Path, keep: Callable[[int], bool]) -> None:
    """Drop the lines of a file for which `keep(number from 1)` is false, and a torn last one, atomically."""
    if path.exists():
        numbered = enumerate(_whole_lines(path.read_bytes()), start=1)
        _replace(path, b"".join(line + b"\n" for number, line in numbered if keep(number)))


def write_json(path: Path, value: object) -> None:
    """Write `value` as readable JSON in place of what was there, atomically and durably."""
    text = json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False)
    _replace(path, text.encode() + b"\n")


def _replace(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
