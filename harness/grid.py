"""A grid of runs: what a TOML file, a preset and the command line together ask for, checked before anything starts."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from dartboard.benchmark.catalogue import Catalogue, Entry
from dartboard.benchmark.errors import InputError, unknown
from dartboard.harness.diagnostics._catalogue import Diagnostic, choose
from dartboard.harness.presets import PRESETS

KEYS: Final[Mapping[str, tuple[type, ...]]] = {
    "name": (str,),
    "preset": (str,),
    "searchers": (list,),
    "selectors": (list,),
    "datasets": (list,),
    "seeds": (str, int, list),
    "table": (str,),
    "metric": (str,),
    "precision": (str,),
    "compile": (bool,),
    "budget": (int,),
    "supernet": (dict,),
    "images": (dict,),
    "search": (dict,),
    "searcher": (dict,),
    "selector": (dict,),
    "dataset": (dict,),
    "thresholds": (dict,),
    "diagnostics": (str, list),
    "diagnostic": (dict,),
}
TYPES: Final[Mapping[type, str]] = {
    str: "a text",
    int: "a whole number",
    bool: "true or false",
    list: "a list",
    dict: "a section",
}
OPTIONS: Final[Mapping[str, str]] = {
    # the command line's options that stand in for a grid key, by the key
    **{key: f"--{key.removesuffix('s')}" for key in ("searchers", "selectors", "datasets")},
    **{key: f"--{key}" for key in ("preset", "seeds", "table", "diagnostics", "budget", "compile")},
}
MOST_SEEDS: Final = 100_000
SUPERNET_KEYS: Final = ("channels", "cells_per_stage")
IMAGE_KEYS: Final = ("image_size", "train_images", "valid_images")


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A searcher or selector of the grid."""

    label: str  # what records call it
    entry: Entry  # of the catalogue
    options: Mapping[str, Any]  # as the grid, the preset and the catalogue's entry set them

    @property
    def name(self) -> str:
        """What the catalogue calls it."""
        return self.entry.name

    @property
    def names(self) -> tuple[str, ...]:
        """Under which of the grid's sections its options may stand."""
        return (self.label, self.name, (self.entry.of or self.entry).name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A data set of the grid."""

    label: str  # what records call it
    source: str  # a known name, or a path


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedDiagnostic:
    """A diagnostic of the grid."""

    diagnostic: Diagnostic
    options: Mapping[str, Any]  # as the grid and the preset set them


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Everything that a run folder's records follow from, but for the data themselves."""

    name: str
    preset: str
    searchers: tuple[Method, ...]
    selectors: tuple[Method, ...]
    datasets: tuple[Dataset, ...]
    seeds: tuple[int, ...]
    table: str | None  # a name or path; None: the official table where one is imported, else the embedded one
    metric: str | None  # None: the table's default for the data set
    precision: str  # float32 or float64
    compile: bool  # whether the search cells are compiled while the supernet is trained
    channels: int
    cells_per_stage: int
    images: Mapping[str, int]  # of image_size, train_images and valid_images: what the grid asks for exactly
    at_most: Mapping[str, int]  # of the same three: the preset's bounds, where the grid asks for nothing
    diagnostics: tuple[AskedDiagnostic, ...] = ()  # what is measured besides
    budget: int | None = None  # images that a selection may push; None: as many as its configuration makes it
    thresholds: Mapping[str, float] = field(default_factory=dict)  # of failure modes, where they are not the defaults


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """What the command line puts in place of the grid's own."""

    preset: str | None = None
    searchers: Sequence[str] = ()
    selectors: Sequence[str] = ()
    datasets: Sequence[str] = ()
    seeds: str | None = None
    table: str | None = None
    diagnostics: str | None = None  # "cheap", "all", "none", or names between commas
    budget: int | None = None  # images
    compile: bool | None = None
    settings: Sequence[str] = ()  # "search.epochs=5"


def builtin_grids() -> dict[str, str]:
    """The text of each grid that ships with the package, by name."""
    # Not importlib.resources, which cannot read the namespace package of an editable installation.
    folder = Path(__file__).resolve().parents[1] / "grids"
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.toml"))}


def read_grid(choice: str, overrides: Overrides, *, searchers: Catalogue, selectors: Catalogue) -> Grid:
    """Read the grid called or stored at `choice`, and put the overrides over it.

    Raises:
        InputError: for whatever cannot be used, naming the place in the file.
    """
    path = Path(choice)
    if path.suffix == ".toml" or path.is_file():
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise InputError(f"cannot read the grid {choice!r}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise InputError(f"the grid {choice!r} is not a text file") from None
    else:
        grids = builtin_grids()
        if choice not in grids:
            raise unknown("grid", choice, grids)
        text = grids[choice]
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"the grid {choice!r} is not TOML: {error}") from None
    for setting in overrides.settings:
        _put(content, setting)
    content.setdefault("name", path.stem)
    grid = resolve(content, overrides, searchers=searchers, selectors=selectors)
    for setting in overrides.settings:
        _require_heeded(setting, overrides, grid)
    return grid


def resolve(content: Mapping[str, Any], overrides: Overrides, *, searchers: Catalogue, selectors: Catalogue) -> Grid:
    """Build the grid that the parsed TOML `content` and the overrides describe."""
    for key, value in content.items():
        if key not in KEYS:
            raise unknown("grid key", key, KEYS)
        if not isinstance(value, KEYS[key]):
            expected = " or ".join(TYPES[kind] for kind in KEYS[key])
            raise InputError(f"grid key {key!r} has the wrong type: {value!r}; it is {expected}")
    name = content["name"]
    if not name.strip() or name.strip(".") == "" or "/" in name or "\\" in name:
        raise InputError(f"a grid's name can be that of a folder; got {name!r}")
    preset_name = content.get("preset", "laptop") if overrides.preset is None else overrides.preset
    if preset_name not in PRESETS:
        raise unknown("preset", preset_name, PRESETS)
    preset = PRESETS[preset_name]
    table = content.get("table") if overrides.table is None else overrides.table
    if table == "":
        raise InputError("a table is a name of `dartboard list tables` or a path; got ''")
    precision = content.get("precision", "float32")
    if precision not in ("float32", "float64"):
        raise unknown("precision", precision, ("float32", "float64"))
    budget = content.get("budget") if overrides.budget is None else overrides.budget
    if budget is not None and (budget < 1 or isinstance(budget, bool)):
        raise InputError(f"budget is a whole number of images, at least 1; got {budget!r}")
    compiled = content.get("compile", False) if overrides.compile is None else overrides.compile
    supernet = _section(content, "supernet", SUPERNET_KEYS)
    images = _section(content, "images", IMAGE_KEYS)
    for key, value in {**supernet, **images}.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise InputError(f"{key} is a whole number of at least 1; got {value!r}")
    common = {**preset.search, **content.get("search", {})}
    methods = _methods(content, "searcher", overrides.searchers, searchers, common, preset.searchers)
    if compiled and all(method.entry.queries for method in methods):
        raise InputError("compile has no use: no supernet is trained")
    return Grid(
        name=name,
        preset=preset_name,
        searchers=methods,
        selectors=_methods(content, "selector", overrides.selectors, selectors, {}, preset.selectors),
        datasets=_datasets(content, overrides.datasets),
        seeds=parse_seeds(overrides.seeds if overrides.seeds is not None else content.get("seeds", "0")),
        table=table,
        metric=content.get("metric"),
        precision=precision,
        compile=compiled,
        budget=budget,
        thresholds=_thresholds(content),
        channels=supernet.get("channels", preset.channels),
        cells_per_stage=supernet.get("cells_per_stage", preset.cells_per_stage),
        images=images,
        at_most={key: bound for key in IMAGE_KEYS if key not in images and (bound := getattr(preset, key)) is not None},
        diagnostics=_diagnostics(content, overrides.diagnostics, preset.diagnostics),
    )


def parse_seeds(value: str | int | Iterable[int]) -> tuple[int, ...]:
    """Read seeds: 3, [0, 1], "0-3", "0,2,5-7".

    Raises:
        InputError: quoting what cannot be read, or a seed that stands twice.
    """
    if isinstance(value, bool):
        raise InputError(f"seeds are whole numbers like 0-3 or 0,2,5; got {value!r}")
    seeds: list[int] = []
    if isinstance(value, int):
        seeds = [value]
    elif isinstance(value, str):
        for part in value.split(","):
            first, dash, last = part.strip().partition("-")
            if not first.isdecimal() or (dash and not last.isdecimal()) or (dash and int(last) < int(first)):
                raise InputError(f"seeds are whole numbers like 0-3 or 0,2,5; got {value!r}")
            if int(last or first) - int(first) >= MOST_SEEDS:
                raise InputError(f"seeds are at most {MOST_SEEDS:,} at a time; got {value!r}")
            seeds.extend(range(int(first), int(last or first) + 1))
    else:
        seeds = list(value)
        if any(not isinstance(seed, int) or isinstance(seed, bool) or seed < 0 for seed in seeds):
            raise InputError(f"seeds are whole numbers from 0; got {seeds!r}")
    if not seeds or len(set(seeds)) != len(seeds):
        raise InputError(f"seeds are one or more different numbers; got {value!r}")
    return tuple(seeds)


def _section(content: Mapping[str, Any], name: str, known: Iterable[str]) -> dict[str, Any]:
    section: dict[str, Any] = dict(content.get(name, {}))
    for key in section:
        if key not in known:
            raise unknown(f"key of [{name}]", key, known)
    return section


def _thresholds(content: Mapping[str, Any]) -> dict[str, float]:
    """The thresholds of failure modes that the grid sets, found to be some."""
    section: dict[str, float] = dict(content.get("thresholds", {}))
    if section:
        from dartboard.results.failure_modes.thresholds import thresholds

        thresholds(section)
    return section


def _methods(
    content: Mapping[str, Any],
    kind: str,
    chosen: Sequence[str],
    catalogue: Catalogue,
    shared: Mapping[str, Any],
    preset: Mapping[str, Mapping[str, Any]] | None = None,
) -> tuple[Method, ...]:
    """The grid's methods of one kind: `[kind.LABEL]` holds options, and `method` where the label is not its name.

    A method made of another has that one's options, and its section counts for both.
    """
    sections: Mapping[str, Any] = content.get(kind, {})
    for label, section in sections.items():
        if not isinstance(section, dict):
            raise InputError(f"[{kind}.{label}] holds options; got {section!r}")
    labels = list(chosen) or list(content.get(f"{kind}s", ()))
    if not labels:
        raise InputError(f"the grid names no {kind}: write {kind}s = [...] (known: {_names(catalogue)})")
    if labels == ["all"]:
        labels = [entry.name for entry in catalogue]
    methods: list[Method] = []
    for label in labels:
        if not isinstance(label, str):
            raise InputError(f"{kind}s holds names; got {label!r}")
        if label in (method.label for method in methods):
            raise InputError(f"the grid names the {kind} {label!r} twice")
        options = dict(sections.get(label, {}))
        name = options.pop("method", label)
        entry = catalogue[name]
        source = (entry.of or entry).name
        theirs = {k: v for k, v in sections.get(source, {}).items() if k != "method"} if entry.of else {}
        common = {} if entry.queries else shared  # a supernet's; a search that trains single cells has none
        merged = {**(preset or {}).get(source, {}), **entry.options, **common, **theirs, **options}
        methods.append(Method(label=_label(label, kind), entry=entry, options=merged))
    for label in sections:
        if (
            label not in content.get(f"{kind}s", ())
            and label not in labels
            and label not in {e.name for e in catalogue}
        ):
            raise InputError(f"[{kind}.{label}] sets options of a {kind} that the grid does not name")
    return tuple(methods)


def _datasets(content: Mapping[str, Any], chosen: Sequence[str]) -> tuple[Dataset, ...]:
    sections: Mapping[str, Any] = content.get("dataset", {})
    listed = list(content.get("datasets", ("digits",)))
    labels = list(chosen) or listed
    if not labels:
        raise InputError("the grid names no data set: write datasets = [...], or leave the line out for digits")
    if not all(isinstance(label, str) for label in labels):
        raise InputError(f"datasets holds names or paths; got {labels!r}")
    if len(set(labels)) != len(labels):
        raise InputError(f"the grid names a data set twice: {labels!r}")
    for label, section in sections.items():
        if not isinstance(section, dict) or set(section) != {"path"} or not isinstance(section["path"], str):
            raise InputError(f"[dataset.{label}] holds a path only; got {section!r}")
        if label not in (*listed, *labels):
            raise InputError(f"[dataset.{label}] is of a data set that the grid does not name")
    datasets: dict[str, Dataset] = {}
    for label in labels:
        source = sections[label]["path"] if label in sections else label
        short = _label(Path(label).stem if "/" in label or label.endswith(".npz") else label, "data set")
        if short in datasets:
            raise InputError(
                f"records would call two data sets {short!r}, {datasets[short].source!r} and {source!r}: give one a"
                " name of its own by [dataset.NAME] with a path"
            )
        datasets[short] = Dataset(label=short, source=source)
    return tuple(datasets.values())


def ask_diagnostics(which: str, settings: Sequence[str], preset: str) -> tuple[AskedDiagnostic, ...]:
    """The diagnostics that a command line asks for outside of a grid.

    Args:
        which: see `choose`.
        settings: "rank-correlation.cells=1000".
        preset: whose sizes they have otherwise.

    Raises:
        InputError: when one is unknown, or a setting cannot be read.
    """
    content: dict[str, Any] = {}
    for setting in settings:
        if len(_parts(setting)) != 2:
            raise InputError(f"a setting is NAME.OPTION=VALUE, like rank-correlation.cells=1000; got {setting!r}")
        _put(content, f"diagnostic.{setting}")
    if preset not in PRESETS:
        raise unknown("preset", preset, PRESETS)
    for name in content.get("diagnostic", {}):
        if name not in (diagnostic.name for diagnostic in choose(which)):
            raise unknown("diagnostic to set options of", name, (diagnostic.name for diagnostic in choose(which)))
    return _diagnostics(content, which, PRESETS[preset].diagnostics)


def _diagnostics(
    content: Mapping[str, Any], chosen: str | None, preset: Mapping[str, Mapping[str, Any]]
) -> tuple[AskedDiagnostic, ...]:
    """The grid's diagnostics: `[diagnostic.NAME]` holds options."""
    sections: Mapping[str, Any] = content.get("diagnostic", {})
    known = [diagnostic.name for diagnostic in choose("all")]
    for name, section in sections.items():
        if name not in known:
            raise unknown("diagnostic", name, known)
        if not isinstance(section, dict):
            raise InputError(f"[diagnostic.{name}] holds options; got {section!r}")
    asked = choose(chosen if chosen is not None else content.get("diagnostics", "cheap"))
    return tuple(
        AskedDiagnostic(diagnostic=d, options={**preset.get(d.name, {}), **sections.get(d.name, {})}) for d in asked
    )


def _label(label: str, kind: str) -> str:
    """A label that may stand in a folder's name."""
    if not label or not all(c.isalnum() or c in "-_.+:@" for c in label) or label.startswith(".") or "--" in label:
        raise InputError(f"a {kind}'s label has letters, digits and -_.+:@ only, and no double dash; got {label!r}")
    return label


def _names(catalogue: Catalogue) -> str:
    return ", ".join(entry.name for entry in catalogue)


def _require_heeded(setting: str, overrides: Overrides, grid: Grid) -> None:
    """Refuse a `--set` that another option overrides, or whose method, data set or diagnostic is not run."""
    kind, *rest = _parts(setting)
    if kind in OPTIONS and getattr(overrides, kind) not in (None, ()):
        raise InputError(f"--set {setting} and {OPTIONS[kind]} are for the same grid key: give one of them")
    run = {
        "searcher": [name for method in grid.searchers for name in method.names],
        "selector": [name for method in grid.selectors for name in method.names],
        "dataset": [dataset.label for dataset in grid.datasets],
        "diagnostic": [asked.diagnostic.name for asked in grid.diagnostics],
    }
    if kind in ("search", "supernet", "images", "compile") and all(method.entry.queries for method in grid.searchers):
        raise InputError(f"--set {setting} has no use: no supernet is trained")
    if kind in run and rest and rest[0] not in run[kind]:
        told = ", ".join(dict.fromkeys(run[kind])) or "none"
        raise InputError(f"--set {setting} has no use: no {kind} {rest[0]!r} is run (those that are: {told})")


def _parts(setting: str) -> list[str]:
    """The keys of a setting `key.key=value`."""
    keys, equals, _ = setting.partition("=")
    parts = keys.strip().split(".")
    if not equals or not all(parts):
        raise InputError(f"a setting is KEY=VALUE, like search.epochs=5; got {setting!r}")
    return parts


def _put(content: dict[str, Any], setting: str) -> None:
    """Put one setting of the command line into the parsed grid; the value is TOML, or else a bare word."""
    parts, value = _parts(setting), setting.partition("=")[2]
    try:
        parsed: Any = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value.strip()
    table = content
    for part in parts[:-1]:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise InputError(f"{part!r} of the setting {setting!r} is a value, not a section")
    table[parts[-1]] = parsed
