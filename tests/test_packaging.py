"""The house: folders that do not break Python, floors that only look down, commands that start fast."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from dartboard.harness.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
FLOORS = {"benchmark": 1, "searchers": 2, "selectors": 2, "results": 2, "harness": 3}


def sources() -> list[Path]:
    """Every Python file of the package."""
    return [path for room in FLOORS for path in sorted((ROOT / room).rglob("*.py"))]


def imports(path: Path) -> set[str]:
    """The modules that a file imports anywhere, in functions too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def test_no_folder_shadows_the_standard_library() -> None:
    """No room has an `__init__.py`, and no file is called as a module that PyTorch or the library would import."""
    assert [path for room in FLOORS for path in (ROOT / room).rglob("__init__.py")] == []
    assert not list((ROOT / "tests").rglob("__init__.py"))
    assert not any(path.stem in {"random", "typing", "types", "select", "copy", "enum"} for path in sources())


def test_python_works_from_the_checkouts_root() -> None:
    """`subprocess` and `asyncio`, which import the standard library's `selectors`, still work there."""
    code = "import subprocess, asyncio, selectors; print(selectors.DefaultSelector.__name__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("Selector")


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_only_go_down(path: Path) -> None:
    """A room imports its own floor's modules and lower floors; searchers and selectors never import each other."""
    room = path.relative_to(ROOT).parts[0]
    for module in imports(path):
        if module.startswith("dartboard."):
            other = module.split(".")[1]
            assert other == room or FLOORS[other] < FLOORS[room], f"{path} imports {module}"


@pytest.mark.parametrize("room", ["results"])
def test_reports_need_no_torch(room: str) -> None:
    """Nothing in `results` imports torch, so that a report can be made again without it."""
    for path in (ROOT / room).rglob("*.py"):
        assert not any(name.split(".")[0] == "torch" for name in imports(path)), path


def test_setup_cfg_names_every_package() -> None:
    """Each folder with Python files, and grids, is listed as a package: a plain wheel misses none."""
    listed = set(re.findall(r"^    dartboard\.([a-z_.]+)$", (ROOT / "setup.cfg").read_text(), re.MULTILINE))
    folders = {str(path.parent.relative_to(ROOT)).replace("/", ".") for path in sources()}
    assert listed == folders | {"grids"}


def test_constraints_pin_every_direct_dependency() -> None:
    """Every requirement of setup.cfg stands in constraints.txt with one exact version."""
    text = (ROOT / "setup.cfg").read_text()
    sections = re.findall(r"(?:install_requires|test) =\n((?:    \S.*\n)+)", text)
    required = {re.split(r"[<>=!~]", line.strip())[0] for block in sections for line in block.splitlines()}
    pins = dict(re.findall(r"^([a-z0-9-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    assert required <= pins.keys()
    assert pins["torch"] == "2.13.0"


def test_the_version_is_the_changelogs() -> None:
    """The newest heading of the changelog is the installed version."""
    heading = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert heading is not None
    assert heading[1] == version("dartboard")


HEAVY = ("torch", "pandas", "matplotlib", "seaborn", "sklearn", "pyarrow", "pooch", "PIL", "scipy")


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["run", "--help"], *(["list", kind] for kind in ("searchers", "selectors", "presets", "grids"))],
    ids=" ".join,
)
def test_cheap_commands_import_nothing_heavy(arguments: list[str]) -> None:
    """Help and lists start without PyTorch, pandas, matplotlib and the like."""
    code = (
        "import sys\nfrom dartboard.harness.cli import main\n"
        f"try: main({arguments!r})\nexcept SystemExit as e: assert not e.code, e.code\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip().splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_explains_itself(name: str) -> None:
    """`dartboard COMMAND --help` exits with 0 and says more than its usage line."""
    from click.testing import CliRunner

    from dartboard.harness.cli import cli

    result = CliRunner().invoke(cli, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert len(result.output.splitlines()) > 4


def test_only_yardsticks_can_see_a_table() -> None:
    """A file of `selectors` that imports tables holds yardsticks only, and what a selector is handed has no table."""
    import dataclasses

    from dartboard.benchmark.contracts import SelectionData
    from dartboard.selectors._catalogue import SELECTORS

    reading = {
        path.stem
        for path in (ROOT / "selectors").glob("*.py")
        if any(
            name.startswith(("dartboard.benchmark.ground_truth", "dartboard.benchmark.tables"))
            for name in imports(path)
        )
    }
    yardsticks = {entry.place.split(":")[0].split(".")[-1] for entry in SELECTORS if entry.control == "truth"}
    assert reading == yardsticks
    assert not any("GroundTruth" in str(field.type) for field in dataclasses.fields(SelectionData))
