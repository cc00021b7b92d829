"""The benchmark's own files: NAS-Bench-201-v1_*.pth, and NATS-Bench's topology table as a folder or as one file.

All of them hold, for each cell and for 12 and for 200 epochs, the state of an `ArchResults` of the package
`nas-bench-201`: every trial with all its epochs. The states are read safely and one at a time (see
`dartboard.benchmark.tables.pickles`) and handed to that class; its own means over the trials are what the table keeps.
So the numbers are the package's.
"""

from __future__ import annotations

import bz2
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

from dartboard.benchmark.errors import InputError
from dartboard.benchmark.ground_truth import GroundTruth, Provenance
from dartboard.benchmark.pickles import restricted_load
from dartboard.benchmark.space import SPACE_SIZE, Cell
from dartboard.benchmark.tables.assemble import CellResults, Progress, assemble_cells, sha256_of, silent
from dartboard.benchmark.tables.pickles import load_reducing

EPOCHS: Final = {"less": 12, "full": 200, "12": 12, "200": 200}
"""A training's length, by the key of NAS-Bench-201's files (less, full) and by that of NATS-Bench's (12, 200)."""

SETS: Final = {
    # our data set: (theirs, {our split: their set of images})
    "cifar10-valid": ("cifar10-valid", {"train": "train", "valid": "x-valid", "test": "ori-test"}),
    "cifar10": ("cifar10", {"train": "train", "test": "ori-test"}),
    "cifar100": ("cifar100", {"train": "train", "valid": "x-valid", "test": "x-test"}),
    "imagenet16-120": ("ImageNet16-120", {"train": "train", "valid": "x-valid", "test": "x-test"}),
}
"""Which images count as which split: the package's own mapping. `cifar10` has no validation images."""

MEAN: Final = "mean over the 1 to 3 trials of each cell, at the last epoch, by the package nas-bench-201"


def read_pth(path: Path, *, progress: Progress = silent) -> GroundTruth:
    """The table of a NAS-Bench-201-v1_*.pth, streamed.

    Raises:
        InputError: when the file is not that, or not whole.
    """
    version = _version(path)
    provenance = Provenance(
        name=f"nb201-{version}",
        title=f"NAS-Bench-201, official results, file version {version}",
        source=f"{path.name}, X. Dong and Y. Yang, ICLR 2020",
        version=version,
        licence="MIT",
        sha256=sha256_of(path),
        aggregation=MEAN,
        official=True,
    )
    return assemble_cells(read_pth_cells(path, progress=progress), provenance)


def read_pth_cells(path: Path, *, progress: Progress = silent) -> list[CellResults]:
    """The results in a NAS-Bench-201-v1_*.pth, streamed; of as many cells as it has.

    Raises:
        InputError: when the file is not that.
    """
    with _main_pickle(path) as stream:
        return read_document(stream, progress=progress)


def read_nats(path: Path, *, progress: Progress = silent) -> GroundTruth:
    """The table of NATS-Bench's topology space: the "simple" folder, or the one file, streamed.

    Raises:
        InputError: when it is not that, or not whole.
    """
    version = _version(path)
    provenance = Provenance(
        name="nats-tss",
        title=f"NATS-Bench topology space, official results, {version}",
        source=f"{path.name}, X. Dong, L. Liu, K. Musial and B. Gabrys, TPAMI 2021",
        version=version,
        licence="MIT",
        sha256=sha256_of(path),
        aggregation=MEAN,
        official=True,
    )
    if path.is_dir():
        files = sorted(path.glob("[0-9]*.pickle.pbz2"))
        if len(files) != SPACE_SIZE:
            raise InputError(
                f"the folder {path} is incomplete: it has {len(files):,} of the {SPACE_SIZE:,} cells' files"
            )
        results = []
        for done, file in enumerate(files, start=1):
            results.append(read_nats_cell(file))
            progress(done, SPACE_SIZE)
        return assemble_cells(results, provenance)
    with bz2.open(path) if path.suffix == ".pbz2" else path.open("rb") as stream:
        return assemble_cells(read_document(stream, progress=progress), provenance)


def read_document(stream: IO[bytes], *, progress: Progress = silent) -> list[CellResults]:
    """The results in a pickled `{"meta_archs": [...], "arch2infos": {index: states}, ...}`, as many cells as there are.

    Raises:
        InputError: when it is not that.
    """
    done = 0

    def reduce(states: dict[Any, Any]) -> CellResults:
        nonlocal done
        done += 1
        progress(done, SPACE_SIZE)
        return summarise(states)

    document = load_reducing(stream, reduce)
    try:
        strings, infos = document["meta_archs"], document["arch2infos"]
        results = [info if isinstance(info, CellResults) else summarise(info) for info in infos.values()]
        for index, result in zip(infos, results, strict=True):
            if not index == result.index < len(strings) or strings[index] != str(result.cell):
                raise InputError(f"the results under index {index!r} are those of cell {result.index}, {result.cell}")
    except (TypeError, KeyError, AttributeError, IndexError) as error:
        raise InputError(
            f"not a file of NAS-Bench-201 or NATS-Bench: expected 'meta_archs' and 'arch2infos' ({error!r})"
        ) from error
    return results


def read_nats_cell(path: Path) -> CellResults:
    """The results in one file NNNNNN.pickle.pbz2 of NATS-Bench's "simple" folder.

    Raises:
        InputError: when it is not that.
    """
    try:
        with bz2.open(path) as stream:
            result = summarise(restricted_load(stream))
    except (InputError, OSError, EOFError) as error:
        raise InputError(f"{path}: {error}") from error
    if path.name != f"{result.index:06d}.pickle.pbz2":
        raise InputError(f"{path} holds the results of cell {result.index}")
    return result


def summarise(states: Mapping[str, Mapping[str, Any]]) -> CellResults:
    """One cell's means, by the package's own class.

    Args:
        states: the `state_dict` of an `ArchResults` for each length of training, by a key of `EPOCHS`.

    Raises:
        InputError: when the states are not that.
    """
    from nas_201_api.api_utils import ArchResults

    try:
        values: dict[str, float] = {}
        identities = set()
        for key, state in states.items():
            if not isinstance(state, dict):  # of a text, the package would read the file of that name
                raise ValueError(f"a {type(state).__name__} under the key {key!r}")
            trials = ArchResults.create_from_state_dict(state)
            identities.add((trials.arch_index, trials.arch_str))
            if trials.get_total_epoch() != EPOCHS[key]:
                raise ValueError(f"{trials.get_total_epoch()} epochs under the key {key!r}")
            values |= _means(trials, EPOCHS[key])
        ((index, cell),) = identities
        return CellResults(index=index, cell=Cell.parse(cell), columns=values)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"not the results of a NAS-Bench-201 cell: {error!r}") from error


def _means(trials: Any, epochs: int) -> dict[str, float]:
    """All columns that an `ArchResults` can fill."""
    values: dict[str, float] = {}
    for dataset, (theirs, splits) in SETS.items():
        if theirs not in trials.get_dataset_names():
            continue
        for split, images in splits.items():
            try:
                found = trials.get_metrics(theirs, images)
            except KeyError:  # no such evaluation
                continue
            values[f"{dataset}/{split}/{epochs}"] = float(found["accuracy"])
            if split == "train" and epochs == max(EPOCHS.values()) and found["all_time"] is not None:
                values[f"seconds/{dataset}"] = float(found["all_time"])
        each = list(trials.query(theirs).values())
        if epochs == max(EPOCHS.values()):
            values[f"parameters/{dataset}"] = sum(float(trial.params) for trial in each) / len(each)
            values[f"flops/{dataset}"] = sum(float(trial.flop) for trial in each) / len(each)
    return values


TORCH_MAGIC: Final = 0x1950A86A20F9469CFC6C
"""How a file of torch.save before version 1.6 begins, pickled."""


@contextmanager
def _main_pickle(path: Path) -> Iterator[IO[bytes]]:
    """A torch.save file, at its pickle: in the zip of today's torch, or behind three short ones of older versions."""
    if zipfile.is_zipfile(path):
        try:
            with zipfile.ZipFile(path) as archive:
                names = [name for name in archive.namelist() if name.endswith("/data.pkl")]
                if len(names) != 1:
                    raise InputError(f"{path} is a zip file, but not of torch.save: it has no data.pkl")
                with archive.open(names[0]) as stream:
                    yield stream
        except (zipfile.BadZipFile, RuntimeError) as error:  # damaged, or locked
            raise InputError(f"{path} is not a readable file of torch.save: {error}") from error
        return
    with path.open("rb") as stream:
        try:
            head: Sequence[Any] = [load_reducing(stream, lambda cell: cell) for _ in range(3)]
        except InputError as error:
            raise InputError(f"{path} is not a file of torch.save: {error}") from error
        if head[0] != TORCH_MAGIC:
            raise InputError(f"{path} is not a file of torch.save")
        yield stream


def _version(path: Path) -> str:
    found = re.search(r"v\d+_\d+", path.name)
    return found[0] if found else "unknown"
