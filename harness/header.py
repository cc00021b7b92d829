"""The header of a run folder: whether a grid may be added to what is there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar

from dartboard.benchmark.errors import InputError
from dartboard.results.json_lines import to_json
from dartboard.results.records import RunHeader

Item = TypeVar("Item")

PARTS: Final = ("searchers", "selectors", "diagnostics")
"""The options of a header that hold settings by label."""

FIXED: Final = ("channels", "cells_per_stage", "metric", "precision")
"""The options without which nobody can tell how a folder's records came about."""


def merged(new: RunHeader, old: RunHeader | None, folder: Path) -> RunHeader:
    """The header of a folder that `new` is added to.

    Raises:
        InputError: when the folder's records came about otherwise, or its header does not tell how.
    """
    if old is None:
        return new
    lacking = [name for name in FIXED if name not in old.options]
    if lacking:
        raise InputError(
            f"{folder} was begun by an older Dartboard, whose grid.json has no {', '.join(lacking)}:"
            " nothing can be added to it; choose another --out"
        )
    one, other = _settled(old), _settled(new)
    for name in sorted(one.keys() & other.keys()):
        if one[name] != other[name]:
            was, now = _apart(one[name], other[name])
            raise InputError(
                f"{folder} holds records of another grid: its {name} is {was!r}, now it is {now!r};"
                " choose another --out, or remove that folder"
            )
    return replace(
        new,
        searchers=_union(old.searchers, new.searchers),
        selectors=_union(old.selectors, new.selectors),
        datasets=_union(old.datasets, new.datasets),
        seeds=_union(old.seeds, new.seeds),
        search_epochs={**old.search_epochs, **new.search_epochs},
        images={**old.images, **new.images},
        options={
            **new.options,
            **{part: {**old.options.get(part, {}), **new.options.get(part, {})} for part in (*PARTS, "sources")},
        },
    )


def _settled(header: RunHeader) -> dict[str, Any]:
    """What two grids of one folder must have in common, as far as both have it, as JSON values by name."""
    values = json.loads(json.dumps(to_json(header)))
    options = values.pop("options")
    named = {"name": "table", "sha256": "table's sha256"}
    facts = {"preset": values["preset"]}
    facts |= {named[field]: told for field, told in values["table"].items() if field in named}
    for name in ("channels", "cells_per_stage", "metric", "precision"):
        facts[name] = options[name]
    facts["budget"] = options.get("budget")
    facts["compile"] = options.get("compile", False)
    for part in PARTS:
        facts |= {f"{part.removesuffix('s')} {label}": option for label, option in options.get(part, {}).items()}
    for label, told in values["images"].items():
        facts[f"data set {label}"] = told
        if told.get("split", "").startswith(("contiguous halves", "random halves")):
            del told["split"]  # the first searcher's; each one's own is in its protocol
    return facts


def _apart(one: Any, other: Any) -> tuple[Any, Any]:
    """Two different JSON values without what they have in common."""
    if not (isinstance(one, dict) and isinstance(other, dict)):
        return one, other
    shared = {key for key in one.keys() & other.keys() if one[key] == other[key]}
    parts = {key: _apart(one[key], other[key]) for key in (one.keys() & other.keys()) - shared}
    was, now = ({key: value for key, value in both.items() if key not in shared} for both in (one, other))
    return was | {key: pair[0] for key, pair in parts.items()}, now | {key: pair[1] for key, pair in parts.items()}


def _union(old: tuple[Item, ...], new: tuple[Item, ...]) -> tuple[Item, ...]:
    """The items of both, the old ones first."""
    return (*old, *(item for item in new if item not in old))
