"""The report as a web page, opened in a headless Chromium. Truth: what the browser says of it."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from dartboard.results.html import _inline
from dartboard.results.report import write_report
from dartboard.results.samples import sample_run

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")

PROBE = """
<!DOCTYPE html><body style="margin:0"><iframe style="border:0;width:WIDTHpx;height:900px" srcdoc="PAGE"></iframe>
<script>
addEventListener("load", () => {
  const frame = document.querySelector("iframe").contentWindow, page = frame.document, found = {};
  page.querySelectorAll("details").forEach((part) => (part.open = true));
  found.width = frame.innerWidth;
  found.scroll = page.documentElement.scrollWidth;
  found.tables = [...page.querySelectorAll("table.sorts")].length;
  const button = page.querySelector("table.squares thead th:nth-child(2) button"), table = button.closest("table");
  const column = () => [...table.tBodies[0].rows].map((row) => row.cells[1].firstElementChild.textContent);
  button.focus();
  found.focused = page.activeElement === button;
  button.click();
  found.up = column();
  found.sort = button.closest("th").getAttribute("aria-sort");
  button.click();
  found.down = column();
  const images = [...page.querySelectorAll("table.sorts thead button")].find((one) => one.textContent === "images");
  const costs = images.closest("table"), place = images.closest("th").cellIndex;
  images.click();
  found.images = [...costs.tBodies[0].rows].map((row) => row.cells[place].textContent);
  found.drawn = [...page.querySelectorAll("svg.cell use")].every((use) => page.querySelector(use.getAttribute("href")));
  found.dark = getComputedStyle(page.body).backgroundColor;
  const told = document.createElement("pre");
  told.id = "found";
  told.textContent = JSON.stringify(found);
  document.body.append(told);
});
</script></body>
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of two search methods with a failed run."""
    folder = tmp_path_factory.mktemp("run")
    some = {"magnitude": None, "a-rather-long-criterion-name(order=random)": None, "prior": "blind"}
    sample_run(
        folder,
        searchers=("darts", "gdas"),
        selectors=some,
        seeds=(0, 1),
        epochs=3,
        fails=lambda key: key[:3] == ("gdas", "digits", 1),
    )
    return write_report(folder).page


def opened(page: Path, tmp_path: Path, width: int, *flags: str) -> tuple[dict[str, Any], list[str]]:
    """What a browser finds in a frame of that width, and what it says on its console."""
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if browser is None:
        pytest.skip("no Chromium is installed")
    outer = tmp_path / "outer.html"
    text = html.escape(page.read_text(encoding="utf-8"), quote=True)
    outer.write_text(PROBE.replace("WIDTH", str(width)).replace("PAGE", text), encoding="utf-8")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", *flags]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1500,900", "--virtual-time-budget=4000"]
    done = subprocess.run([*command, "--dump-dom", outer.as_uri()], capture_output=True, text=True, timeout=120)
    found = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, flags=re.DOTALL)
    assert found is not None, done.stderr[-2000:]
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(html.unescape(found.group(1))), console


@pytest.mark.parametrize("width", [400, 1400])
def test_a_browser_opens_it_without_complaint(page: Path, tmp_path: Path, width: int) -> None:
    """At both widths: no message on the console, nothing beyond the page's right edge, tables sort, cells are drawn."""
    found, console = opened(page, tmp_path, width)
    assert console == []
    assert found["width"] == width
    assert found["scroll"] <= width
    assert found["focused"]
    assert found["sort"] == "ascending"
    numbers = [float(text) for text in found["up"]]
    assert numbers == sorted(numbers)
    assert found["down"] == found["up"][::-1]
    assert found["drawn"]
    sizes = {"k": 1e3, "M": 1e6}
    images = [float(text.rstrip("kM")) * sizes.get(text[-1], 1) for text in found["images"]]
    assert images == sorted(images)
    assert images[0] == 0 < images[-1]


def test_the_dark_has_a_page_of_its_own(page: Path, tmp_path: Path) -> None:
    """Where the reader prefers the dark, the page's paper is dark."""
    assert opened(page, tmp_path, 1400, "--blink-settings=preferredColorScheme=1")[0]["dark"] == "rgb(255, 255, 255)"
    assert opened(page, tmp_path, 1400, "--blink-settings=preferredColorScheme=0")[0]["dark"] == "rgb(23, 23, 27)"


class Elements(HTMLParser):
    """Counts a page's ids and what it would load."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.uses: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note ids, references within the page, and addresses."""
        for name, value in attrs:
            if name == "id" and value:
                self.ids.append(value)
            elif name == "href" and value and value.startswith("#"):
                self.uses.append(value[1:])
            elif name in ("href", "src") and value and tag != "a":
                self.loads.append(value)


def test_the_page_stands_alone(page: Path) -> None:
    """It loads nothing, every id is there once, every reference has its target, and known colours are variables."""
    text = page.read_text(encoding="utf-8")
    elements = Elements()
    elements.feed(text)
    assert elements.loads == ["data:,"]
    assert len(elements.ids) == len(set(elements.ids))
    assert set(elements.uses) <= set(elements.ids)
    assert not re.findall(r"@import|url\((?!#)", text)
    figures = re.findall(r'<svg class="plot".*?</svg>', text, flags=re.DOTALL)
    assert figures
    assert not any("#222222" in figure or "#ffffff" in figure for figure in figures)
    assert all("<text" in figure for figure in figures)


def test_long_names_break_and_options_do_not() -> None:
    """A name of 20 characters or more may break after its signs, but for a link's address; a flag stays whole."""
    assert _inline("darts-v1@architecture_learning_rate=1e-2") == (
        "darts-v1@<wbr>architecture_<wbr>learning_<wbr>rate=<wbr>1e-2"
    )
    assert _inline("darts-v1@1e-2, a_b and 9/10") == "darts-v1@1e-2, a_b and 9/10"
    assert _inline("[a_file_with_a_long_name.csv](a_file_with_a_long_name.csv)") == (
        '<a href="a_file_with_a_long_name.csv">a_<wbr>file_<wbr>with_<wbr>a_<wbr>long_<wbr>name.csv</a>'
    )
    assert _inline("`dartboard report DIR --only x`") == (
        '<code>dartboard report DIR <span class="flag">--only</span> x</code>'
    )


def test_the_page_is_the_same_each_time(tmp_path: Path) -> None:
    """Two reports of the same records are the same bytes."""
    folder = sample_run(tmp_path, selectors={"magnitude": None, "prior": "blind"}, seeds=(0, 1), epochs=2)
    first = write_report(folder).page.read_bytes()
    assert write_report(folder).page.read_bytes() == first


def test_a_table_inside_the_page_is_the_file(page: Path) -> None:
    """The copy of each CSV file that the page gives away is the file beside it."""
    text = page.read_text(encoding="utf-8")
    held = dict(re.findall(r'<script type="text/plain" data-file="([^"]+)">(.*?)</script>', text, flags=re.DOTALL))
    assert set(held) == {path.name for path in page.parent.glob("*.csv")}
    for name, content in held.items():
        assert content.replace("<\\/", "</") == (page.parent / name).read_text(encoding="utf-8")
