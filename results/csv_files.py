"""How the tables beside a report are written."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from typing import Any

from dartboard.results.statistics import Estimate


def csv_text(rows: Iterable[Mapping[str, Any]]) -> str:
    """The rows under the union of their columns, in order of appearance; None is an empty field."""
    rows = list(rows)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    if columns:
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue()


def spread_estimate(name: str, estimate: Estimate | None) -> dict[str, float | None]:
    """The columns of an estimate: `<name>`, `<name>_low`, `<name>_high`, rounded to six decimals."""
    if estimate is None:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    parts = {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    return {part: None if value is None else round(value, 6) for part, value in parts.items()}
