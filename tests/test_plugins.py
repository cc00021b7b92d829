from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from dartboard.harness.cli import main
from dartboard.harness.plugins import catalogues

DOC = Path(__file__).resolve().parents[1] / "docs" / "plugins.md"


def blocks(language: str) -> list[str]:
    """The code blocks of the page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", DOC.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """The page's example as a file."""
    (code,) = blocks("python")
    path = tmp_path / "my_methods.py"
    path.write_text(code, encoding="utf-8")
    return path


def call(*arguments: object) -> int:
    """Run the command line; its exit code."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.mark.parametrize("kind_and_name", ["searcher annealed-darts", "selector alone", "selector alone-quick"])
def test_the_pages_example_keeps_the_contract(
    kind_and_name: str, example: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`dartboard verify` finds nothing in the example as it stands on the page."""
    assert call("verify", *kind_and_name.split(), "--plugin", example) == 0
    assert "failed" not in capsys.readouterr().out


def test_the_pages_grid_runs(example: Path, tmp_path: Path) -> None:
    """The page's grid ends in a record for each of its runs, and the folder remembers the plug-in and its digest."""
    grid, _ = blocks("toml")
    (tmp_path / "grid.toml").write_text(grid + "\n[search]\nepochs = 1\n", encoding="utf-8")
    run = ["run", tmp_path / "grid.toml", "--plugin", example, "--device", "cpu", "--out", tmp_path / "run"]
    run += ["--table", "analog", "--no-report"]
    assert call(*run) == 0
    lines = (tmp_path / "run" / "records.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    assert [(r["searcher"], r["selector"], r["status"]) for r in records] == [
        ("annealed-darts", "alone", "ok"),
        ("annealed-darts", "magnitude", "ok"),
    ]
    options = json.loads((tmp_path / "run" / "grid.json").read_text(encoding="utf-8"))["options"]
    assert options["searchers"]["annealed-darts"]["first_temperature"] == 3.0
    assert options["selectors"]["alone"]["batches"] == 2
    assert options["selectors"]["alone"]["origin"].startswith("the plug-in my_methods.py (sha256 ")
    assert "origin" not in options["selectors"]["magnitude"]


def test_a_changed_plug_in_does_not_add_to_a_folder(
    example: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """After the file changed, the same run folder is refused, whatever changed."""
    run = ["run", "smoke", "--plugin", example, "--searcher", "darts-v1", "--selector", "alone-quick", "--seeds", "0"]
    run += ["--device", "cpu", "--out", tmp_path / "run", "--set", "search.epochs=1", "--no-report"]
    assert call(*run) == 0
    assert call(*run) == 0
    example.write_text(example.read_text(encoding="utf-8") + "# another version\n", encoding="utf-8")
    capsys.readouterr()
    assert call(*run) == 2
    assert "holds records of another grid: its selector alone-quick is" in capsys.readouterr().err


def test_the_pages_entry_points_bring_the_methods_of_a_package(
    example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A distribution with the page's entry points is found without `--plugin`, after the built-in methods."""
    points = tomllib.loads(blocks("toml")[1])["project"]["entry-points"]
    folder = tmp_path / "my_methods-1.5.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: my-methods\nVersion: 1.5\n", encoding="utf-8")
    lines = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in names.items()) for group, names in points.items()]
    (folder / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = catalogues()
    entry = list(found.searchers)[-1]
    assert (entry.name, entry.origin) == ("annealed-darts", "the package my-methods 1.5")
    assert entry.load().paper == "my own"
    assert [e.name for e in found.selectors][-2:] == ["alone", "alone-quick"]
    (folder / "entry_points.txt").write_text("[dartboard.searchers]\nmine = my_methods:GONE\n", encoding="utf-8")
    with pytest.raises(
        ValueError, match=r"the package my-methods 1\.5 cannot be loaded: AttributeError: .*uninstall it"
    ):
        catalogues()
    monkeypatch.delitem(sys.modules, "my_methods")


def test_a_plug_ins_criterion_has_a_shuffled_control(example: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`shuffled:NAME` works for a criterion from elsewhere, keeps its origin, and keeps the contract."""
    entry = catalogues([example]).selectors["shuffled:alone-quick"]
    assert entry.origin
    assert entry.origin.startswith("the plug-in my_methods.py (sha256 ")
    assert entry.options == {"batches": 1}
    assert call("verify", "selector", "shuffled:alone", "--plugin", example) == 0
    assert {line.split()[0] for line in capsys.readouterr().out.splitlines()} == {"ok", "skipped"}


def test_list_tells_of_plug_ins(example: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`dartboard list --plugin` has the plug-in's methods last, with their origin in the JSON form."""
    assert call("list", "selectors", "--plugin", example) == 0
    assert capsys.readouterr().out.splitlines()[-1].split(maxsplit=1) == [
        "alone-quick",
        "the same on one batch of images",
    ]
    assert call("list", "searchers", "--plugin", example, "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows[0]["origin"] is None
    assert rows[-1]["name"] == "annealed-darts"
    assert rows[-1]["origin"].startswith("the plug-in my_methods.py (sha256 ")
    assert call("list", "datasets", "--plugin", example) == 2
    assert "it goes with those, not with 'datasets'" in capsys.readouterr().err


def test_listing_methods_imports_no_torch() -> None:
    """`dartboard list searchers` and `list selectors` stay quick: the methods' own modules are not imported."""
    code = (
        "import sys; from dartboard.harness.cli import cli\n"
        "for kind in ('searchers', 'selectors'): cli.main(['list', kind], standalone_mode=False)\n"
        "print(sorted({'torch', 'numpy', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


HEAD = "from dartboard.benchmark.catalogue import Entry\n"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def", r"the plug-in .*bad\.py cannot be loaded: SyntaxError: invalid syntax"),
        ("x = 1\n1 / 0", r"the plug-in .*bad\.py cannot be loaded: ZeroDivisionError: division by zero \(line 2\)$"),
        ("import sys\nsys.exit()", r"the plug-in .*bad\.py cannot be loaded: SystemExit \(line 2\)$"),
        ("import no_such_module", r"cannot be loaded: ModuleNotFoundError: No module named 'no_such_module'"),
        ("x = 1", r"gives no method: it needs a list called SEARCHERS or SELECTORS"),
        ("SEARCHERS = ['mine']", r"SEARCHERS of the plug-in bad\.py .* is not a list of .*Entry; got \['mine'\]"),
        ("SELECTORS = 3", r"SELECTORS of the plug-in bad\.py .* is not a list of .*Entry; got 3"),
        (
            HEAD + "SEARCHERS = [Entry(name='darts-v1', place=f'{__name__}:Mine', summary='mine')]",
            r"two searchers are called 'darts-v1': one of Dartboard itself \(.*:DartsV1\), one of the plug-in bad\.py",
        ),
        (
            HEAD + "SELECTORS = 2 * [Entry(name='mine', place=f'{__name__}:Mine', summary='mine')]",
            r"two selectors are called 'mine': one of the plug-in bad\.py .*, one of the plug-in bad\.py",
        ),
        (
            HEAD + "SEARCHERS = [Entry(name='mine', place=f'{__name__}:Mine', summary='mine')]",
            r"'mine' of the plug-in bad\.py .* is not at '.*:Mine': AttributeError: ",
        ),
        (
            HEAD + "SEARCHERS = [Entry(name='mine', place='nowhere:Mine', summary='mine')]",
            r"is not at 'nowhere:Mine': ModuleNotFoundError: No module named 'nowhere'",
        ),
        (
            HEAD + "class Mine:\n    name = 'mine'\n"
            "SEARCHERS = [Entry(name='mine', place=f'{__name__}:Mine', summary='mine')]",
            r"is no searcher: it has no paper, config_class, mixture, .* \(see docs/plugins\.md\)",
        ),
    ],
)
def test_a_broken_plug_in_ends_in_one_clear_line(
    code: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever is wrong with a plug-in, the command ends with exit code 2 and one line that says which and why."""
    path = tmp_path / "bad.py"
    path.write_text(code, encoding="utf-8")
    assert call("verify", "searcher", "mine", "--plugin", path) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(message, line), line


def test_a_plug_in_whose_selector_cannot_be_made_ends_in_one_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An error of its constructor names the selector and the error, before anything is trained."""
    path = tmp_path / "bad.py"
    path.write_text(
        HEAD + "from dartboard.selectors.magnitude import Magnitude\n"
        "class Mine(Magnitude):\n    def __init__(self, config):\n        {}['gone']\n"
        "SELECTORS = [Entry(name='mine', place=f'{__name__}:Mine', summary='mine')]",
        encoding="utf-8",
    )
    out = tmp_path / "out"
    assert call("run", "smoke", "--selector", "mine", "--plugin", path, "--out", out, "--device", "cpu") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "Error: selector mine cannot be made: KeyError: 'gone'"
    assert not out.exists()


def test_a_missing_plug_in_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A path that is no file, and a folder, end in one line each."""
    for path, why in ((tmp_path / "none.py", "No such file or directory"), (tmp_path, "Is a directory")):
        assert call("list", "searchers", "--plugin", path) == 2
        assert capsys.readouterr().err == f"Error: cannot read the plug-in {str(path)!r}: {why}\n"
