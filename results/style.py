"""One look for all figures: the same colour for the same thing everywhere, told apart by colour-blind readers too."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, ParamSpec, TypeVar

from dartboard.benchmark.space import CONV1X1, CONV3X3, EDGES, NONE, POOL, SKIP

if TYPE_CHECKING:
    from matplotlib.colors import Colormap
    from matplotlib.typing import RcKeyType

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

OPERATION_COLOURS: Final = {
    # Okabe and Ito's palette: the warm ones have no parameters, the blue ones have.
    NONE: "#8a8a8a",
    SKIP: "#d55e00",
    CONV1X1: "#56b4e9",
    CONV3X3: "#0072b2",
    POOL: "#e69f00",
}

OPERATION_LINES: Final[dict[int, Any]] = {
    # A second mark beside the colour, for print without colour.
    NONE: (0, (1, 1.5)),
    SKIP: "-",
    CONV1X1: (0, (4, 1.5)),
    CONV3X3: "-",
    POOL: (0, (5, 1.5, 1, 1.5)),
}

OPERATION_LABELS: Final = {NONE: "none", SKIP: "skip", CONV1X1: "conv 1×1", CONV3X3: "conv 3×3", POOL: "pool 3×3"}

EDGE_LABELS: Final = tuple(f"edge {source} → {target}" for target, source in EDGES)

# Paul Tol's "muted" palette without its grey, and eight markers, both in turn: 72 selectors are told apart.
_COLOURS = ("#332288", "#cc6677", "#117733", "#88ccee", "#882255", "#ddcc77", "#44aa99", "#999933", "#aa4499")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h")

INK: Final = "#222222"
FAINT: Final = "#b5b5b5"
BEST_LINE: Final[dict[str, Any]] = {"color": "#222222", "linestyle": "--", "linewidth": 1.0}
PRIOR_LINE: Final[dict[str, Any]] = {"color": "#222222", "linestyle": ":", "linewidth": 1.3}

# From little to much in a heat map: up to the muted palette's indigo.
_SCALE = ("#f1eff8", "#b3a8d6", "#6f5fb0", "#332288")

# Likewise where much is bad: up to a burnt orange.
_BAD_SCALE = ("#f7f3ee", "#fbd0a9", "#ec8b4c", "#a63a0a")

# One for each seed, in turn: dark enough to be seen alone, told apart by line style first.
SEED_LINES: Final[tuple[dict[str, Any], ...]] = (
    {"color": "#332288", "linestyle": "-"},
    {"color": "#cc6677", "linestyle": (0, (5, 1.5))},
    {"color": "#117733", "linestyle": (0, (5, 1.5, 1, 1.5))},
    {"color": "#882255", "linestyle": (0, (9, 1.5, 1, 1.5, 1, 1.5))},
    {"color": "#44aa99", "linestyle": "-"},
    {"color": "#999933", "linestyle": (0, (5, 1.5))},
)

COLOURS: Final = {
    # On paper, and in the dark: every colour that a web page may set anew.
    INK: "#e8e6e3",
    FAINT: "#6b6b70",
    "#ffffff": "#17171b",
    "#444444": "#b9b7b3",
    "#666666": "#8d8b88",
    "#777777": "#9a9895",
    "#e6e6e6": "#34343b",
    OPERATION_COLOURS[NONE]: "#9c9c9c",
    OPERATION_COLOURS[SKIP]: "#ff8a3d",
    OPERATION_COLOURS[CONV1X1]: "#7cc8f2",
    OPERATION_COLOURS[CONV3X3]: "#3f9ede",
    OPERATION_COLOURS[POOL]: "#f2b632",
    "#332288": "#9d8ff0",
    "#cc6677": "#e58a99",
    "#117733": "#56bd7c",
    "#88ccee": "#88ccee",
    "#882255": "#d879ab",
    "#ddcc77": "#ddcc77",
    "#44aa99": "#5fc7b5",
    "#999933": "#c0c05a",
    "#aa4499": "#d684c8",
}

RC: Final[dict[RcKeyType, Any]] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that the same figure comes out everywhere
    "text.parse_math": False,  # a name may hold a dollar sign
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.labelsize": 9.0,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "legend.fontsize": 8.0,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#666666",
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "figure.facecolor": "white",
    "savefig.dpi": 150,
}


def styled(draw: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Run a drawing function under our settings, leaving matplotlib's own as they were."""

    @functools.wraps(draw)
    def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        import matplotlib as mpl

        with mpl.rc_context():
            mpl.rcdefaults()
            mpl.rcParams.update(RC)
            return draw(*args, **kwargs)

    return run


def shade_colour(shade: float, tone: Literal["good", "bad"] = "good") -> tuple[str, str]:
    """A heat map's square, from 0 to 1: its colour, and whichever of ink and white is read better on it."""
    scale = _SCALE if tone == "good" else _BAD_SCALE
    place = min(max(shade, 0.0), 1.0) * (len(scale) - 1)
    low = min(int(place), len(scale) - 2)
    ends = [[int(colour[start : start + 2], 16) for start in (1, 3, 5)] for colour in scale[low : low + 2]]
    mixed = [round(a + (b - a) * (place - low)) for a, b in zip(*ends, strict=True)]
    light = sum(part * (value / 255) ** 2.2 for part, value in zip((0.2126, 0.7152, 0.0722), mixed, strict=True))
    return "#" + "".join(f"{value:02x}" for value in mixed), "#ffffff" if light < 0.25 else INK


def colour_scale() -> Colormap:
    """The colours of a heat map's squares, dark for much."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("dartboard", _SCALE)


def selector_marks(selectors: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Colour and marker of each selector, by its place in the report: the same in every figure of it."""
    return {
        name: {"color": _COLOURS[place % len(_COLOURS)], "marker": _MARKERS[place % len(_MARKERS)]}
        for place, name in enumerate(selectors)
    }
