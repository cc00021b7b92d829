"""Which tables there are: those imported into the cache, and the embedded one. One compact file each."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from dartboard.benchmark.cache import cache_folder
from dartboard.benchmark.errors import InputError, reading, unknown
from dartboard.benchmark.ground_truth import GroundTruth, Provenance
from dartboard.benchmark.npz import BROKEN
from dartboard.benchmark.tables import analog
from dartboard.benchmark.tables.assemble import Progress, named_columns, of_columns, silent

FORMAT: Final = 1
PREFERRED: Final = ("nb201-v1_1", "nats-tss")
"""Of several imported official tables, which comes first; the others by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """A table that was read from a file, and the file's columns that were not used."""

    table: GroundTruth
    unused: tuple[str, ...] = ()


def load_table(choice: str | None = None, *, progress: Progress = silent) -> GroundTruth:
    """The table of that name or file; without a choice, an imported official one, else the embedded one.

    Args:
        choice: None or "auto"; the name of an imported table, or "analog"; or the path of any file `read_table` reads.
        progress: as `read_table`'s.

    Raises:
        InputError: when there is no such table, or the file is malformed.
    """
    names = imported_names()
    if choice in (None, "auto"):
        for name in sorted(names, key=lambda name: (*(name != first for first in PREFERRED), name)):
            if provenance_of(_place(name)).official:
                return load_compact(_place(name))
        return load_embedded()
    assert choice is not None
    if choice == analog.NAME:
        return load_embedded()
    if choice in names:
        return load_compact(_place(choice))
    if Path(choice).exists() or os.sep in choice or Path(choice).suffix:
        return read_table(Path(choice), progress=progress).table
    raise unknown("table", choice, [analog.NAME, *names])


def available_tables() -> list[Provenance]:
    """The embedded table and the imported ones, by name; no column is read."""
    return [
        analog.embedded_provenance(*analog.embedded_bytes()),
        *(provenance_of(_place(name)) for name in imported_names()),
    ]


def imported_names() -> list[str]:
    """The names of the tables in the cache."""
    return sorted(file.stem for file in _folder().glob("*.npz"))


def read_table(
    path: Path,
    *,
    columns: Mapping[str, str] | None = None,
    variant: str | None = None,
    progress: Progress = silent,
) -> Imported:
    """The table in a file of any kind that is understood, by the end of its name.

    Args:
        path: `.pth` (NAS-Bench-201), a folder or `.pickle.pbz2`/`.pickle` (NATS-Bench), `.csv`, `.csv.gz`, `.parquet`,
            or our own compact `.npz`.
        columns: for CSV and Parquet, from the file's column names to ours.
        variant: of the merged NAS-Bench-201 CSV, "v1_1" or "nats".
        progress: told after each cell of the benchmark's own files.

    Raises:
        InputError: when the file is of another kind, malformed or incomplete.
    """
    from dartboard.benchmark.tables import columns as by_columns
    from dartboard.benchmark.tables import official

    if not path.exists():
        raise InputError(f"there is no file {path}")
    by_column = path.name.endswith((".csv", ".csv.gz", ".parquet"))
    if not by_column and (columns is not None or variant is not None):
        raise InputError(f"--columns and --variant are for CSV and Parquet files; {path.name} is neither")
    with reading(path):
        if by_column:
            table, unused = by_columns.read_columns(path, columns=columns, variant=variant)
            return Imported(table=table, unused=unused)
        if path.suffix == ".pth":
            return Imported(table=official.read_pth(path, progress=progress))
        if path.is_dir() or path.name.endswith((".pickle.pbz2", ".pickle", ".pkl")):
            return Imported(table=official.read_nats(path, progress=progress))
        if path.suffix == ".npz":
            return Imported(table=load_compact(path))
    raise InputError(
        f"{path.name} is of no known kind: a table is a .pth, a NATS-Bench folder or .pickle.pbz2, a .csv, .csv.gz or"
        " .parquet, or a compact .npz"
    )


def import_table(table: GroundTruth, *, name: str | None = None) -> GroundTruth:
    """Keep the table in the cache under its name or another; one of the same name is replaced.

    Raises:
        InputError: when the name is taken by the embedded table or is not made of letters, digits, `-`, `_` and `.`.
    """
    name = name or table.provenance.name
    if name in (analog.NAME, "auto") or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise InputError(f"a table cannot be named {name!r}: letters, digits, - _ . and not {analog.NAME!r} or 'auto'")
    named = replace(table, provenance=replace(table.provenance, name=name))
    save_compact(named, _place(name))
    return named


def load_embedded() -> GroundTruth:
    """The embedded table; from its compact copy in the cache, once that is there."""
    data, version = analog.embedded_bytes()
    provenance = analog.embedded_provenance(data, version)
    place = cache_folder() / "embedded" / f"{analog.NAME}-{provenance.sha256[:16]}-{FORMAT}.npz"
    try:
        return replace(load_compact(place), provenance=provenance)
    except InputError:
        table = analog.read_embedded(data, provenance)
    with suppress(InputError):  # a cache that cannot be written costs half a second each time, nothing else
        save_compact(table, place)
    return table


def save_compact(table: GroundTruth, path: Path) -> None:
    """Write the table as a numpy archive without pickles: `header` (JSON), `columns` and `official_index`; atomically.

    Raises:
        InputError: when the folder cannot be written.
    """
    columns = named_columns(table)
    header = {"format": FORMAT, "provenance": asdict(table.provenance), "columns": list(columns)}
    arrays: dict[str, Any] = {
        "header": np.frombuffer(json.dumps(header).encode(), dtype=np.uint8),
        "columns": np.stack(list(columns.values())),  # (columns, 15625)
    }
    if table.official_index is not None:
        arrays["official_index"] = table.official_index
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            np.savez(file, **arrays)
        part.replace(path)
    except OSError as error:
        raise InputError(
            f"cannot keep a table in {path.parent} ({error}): set DARTBOARD_CACHE to another folder"
        ) from error


def load_compact(path: Path) -> GroundTruth:
    """The inverse of `save_compact`.

    Raises:
        InputError: when the file is not that.
    """
    try:
        with path.open("rb") as stream, np.load(stream) as archive:
            header = json.loads(archive["header"].tobytes())
            columns = archive["columns"]
            index = archive.get("official_index")
        _check_format(header)
        named = dict(zip(header["columns"], columns, strict=True))
        return of_columns(named, Provenance(**header["provenance"]), index=index)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (*BROKEN, TypeError) as error:
        raise InputError(f"{path} is not a table of ours ({error}): import it again") from error


def provenance_of(path: Path) -> Provenance:
    """Where a compact file's table comes from; no column is read.

    Raises:
        InputError: when the file is not one of ours.
    """
    try:
        with path.open("rb") as stream, np.load(stream) as archive:
            header = json.loads(archive["header"].tobytes())
        _check_format(header)
        return Provenance(**header["provenance"])
    except (*BROKEN, TypeError) as error:
        raise InputError(f"{path} is not a table of ours ({error}): import it again") from error


def _check_format(header: Mapping[str, object]) -> None:
    if header["format"] != FORMAT:
        raise ValueError(f"its format is {header['format']}, this version writes {FORMAT}")


def _folder() -> Path:
    return cache_folder() / "tables"


def _place(name: str) -> Path:
    return _folder() / f"{name}.npz"
