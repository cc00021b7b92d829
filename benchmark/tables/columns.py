"""Tables as CSV or Parquet: one row for each cell, columns by name.

`cell` holds the official string, `index` (optional) the official index; the other names are those of `assemble`. A file
with other names is read through a mapping, and one such file is known: the merged NAS-Bench-201 columns which several
projects share (`arch_str`, `c10_test_200`, ...). That file holds the means of two versions of the benchmark, which
differ in 2,569 cells; a table is made from one of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from dartboard.benchmark.errors import InputError, unknown
from dartboard.benchmark.ground_truth import DATASETS, SPLITS, GroundTruth, Metric, Provenance
from dartboard.benchmark.space import SPACE_SIZE, Cell
from dartboard.benchmark.tables.assemble import COSTS, assemble, sha256_of

if TYPE_CHECKING:
    import pandas as pd

_SHORT: Final = {"c10valid": "cifar10-valid", "c10": "cifar10", "c100": "cifar100", "in16": "imagenet16-120"}

_V1_1: Final = {"arch_str": "cell", "index": "index"} | {
    f"{short}_{split}_{epochs}": f"{dataset}/{split}/{epochs}"
    for short, dataset in _SHORT.items()
    for split in SPLITS
    for epochs in (12, 200)
}
_NATS: Final = {"arch_str": "cell", "index": "index"} | {
    f"{short}_test_200_nats": f"{dataset}/test/200" for short, dataset in _SHORT.items()
}
_COSTS: Final = {
    f"{theirs}_M_{short}": f"{ours}/{dataset}"
    for theirs, ours in (("params", "parameters"), ("flops", "flops"))
    for short, dataset in _SHORT.items()
}

VARIANTS: Final = {
    # of the merged file: (columns, what the table is)
    "v1_1": (
        _V1_1 | _COSTS,
        Provenance(
            name="nb201-v1_1",
            title="NAS-Bench-201, official results, file version v1_1",
            source="merged columns of NAS-Bench-201, X. Dong and Y. Yang, ICLR 2020",
            version="v1_1",
            licence="MIT (the benchmark)",
            sha256="",
            aggregation="mean over the 1 to 3 trials of each cell, at the last epoch",
            official=True,
        ),
    ),
    "nats": (
        _NATS | _COSTS,
        Provenance(
            name="nats-tss",
            title="NATS-Bench topology space, official results, test accuracies only",
            source="merged columns of NATS-Bench, X. Dong, L. Liu, K. Musial and B. Gabrys, TPAMI 2021",
            version="v1_0",
            licence="MIT (the benchmark)",
            sha256="",
            aggregation="mean over the trials of each cell, at the last epoch",
            official=True,
        ),
    ),
}


def read_columns(
    path: Path, *, columns: Mapping[str, str] | None = None, variant: str | None = None
) -> tuple[GroundTruth, tuple[str, ...]]:
    """The table in a CSV or Parquet file, and the file's columns that were not used.

    Args:
        path: the file.
        columns: from the file's names to ours; without it, the file's own names are ours or those of the merged file.
        variant: which of the merged file's two versions, by a key of `VARIANTS`; v1_1 if not given.

    Raises:
        InputError: when a row or a name is wrong, or not all cells are there once.
    """
    frame = _frame(path)
    merged = columns is None and {"arch_str", "c10_test_200"} <= set(frame.columns)
    if variant is not None and not merged:
        raise InputError(
            f"{path.name} has no variants: it is not the merged NAS-Bench-201 file, or --columns was given"
        )
    if variant is not None and variant not in VARIANTS:
        raise unknown("variant", variant, VARIANTS)
    provenance = Provenance(
        name=path.name.partition(".")[0].lower(),
        title=f"the file {path.name}",
        source=path.name,
        version="not stated",
        licence="not stated",
        sha256="",
        aggregation="not stated",
        official=False,
    )
    if merged:
        columns, provenance = VARIANTS[variant or "v1_1"]
        provenance = replace(provenance, source=f"{path.name}: {provenance.source}")
    elif columns is None:
        columns = {name: name for name in frame.columns if _is_ours(name)}
    elif absent := sorted(set(columns) - set(frame.columns)):
        raise unknown(f"column of {path.name}", absent[0], frame.columns)
    mapping = {theirs: ours for theirs, ours in columns.items() if theirs in frame.columns}
    return _table(frame, mapping, replace(provenance, sha256=sha256_of(path))), tuple(
        name for name in frame.columns if name not in mapping
    )


def _table(frame: pd.DataFrame, mapping: Mapping[str, str], provenance: Provenance) -> GroundTruth:
    by_name = {ours: theirs for theirs, ours in mapping.items()}
    if len(by_name) < len(mapping):
        raise InputError(f"two columns are mapped to one: {', '.join(f'{a}={b}' for a, b in mapping.items())}")
    if "cell" not in by_name or not by_name.keys() - {"cell", "index"}:
        raise InputError(
            f"{provenance.source} has no column 'cell' and no accuracy such as 'cifar10/test/200'; its columns are"
            f" {', '.join(map(str, frame.columns))}: name them with --columns THEIRS=OURS,..."
        )
    cells = []
    for row, text in enumerate(frame[by_name["cell"]], start=1):
        try:
            cells.append(Cell.parse(str(text)))
        except InputError as error:
            raise InputError(f"row {row}: {error}") from error
    numbers = {}
    for ours, theirs in by_name.items():
        if ours != "cell":
            try:
                numbers[ours] = frame[theirs].to_numpy(dtype=float)
            except (TypeError, ValueError) as error:
                raise InputError(f"column {theirs!r} holds what is not a number: {error}") from error
    index = numbers.pop("index", None)
    if index is not None and (index != np.floor(index)).any():
        wrong = index[(index != np.floor(index)).argmax()]
        raise InputError(f"column {by_name['index']!r} holds {wrong}; an index is one of 0 to {SPACE_SIZE - 1}")
    return assemble(cells, numbers, provenance, index=index)


def _frame(path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        frame = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    except Exception as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    return frame.rename(columns=str)


def _is_ours(name: str) -> bool:
    """Whether it is one of the documented names."""
    if name in ("cell", "index") or name in {f"{cost}/{dataset}" for cost in COSTS for dataset in DATASETS}:
        return True
    try:
        Metric.parse(name)
    except InputError:
        return False
    return True
