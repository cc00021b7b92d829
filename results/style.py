"""One look for all figures: the same colour for the same thing everywhere, told apart by colour-blind readers too."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

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

# One for each seed, in turn: dark enough to be seen alone, told apart by line style first.
SEED_LINES: Final[tuple[dict[str, Any], ...]] = (
    {"color": "#332288", "linestyle": "-"},
    {"color": "#cc6677", "linestyle": (0, (5, 1.5))},
    {"color": "#117733", "linestyle": (0, (5, 1.5, 1, 1.5))},
    {"color": "#882255", "linestyle": (0, (9, 1.5, 1, 1.5, 1, 1.5))},
    {"color": "#44aa99", "linestyle": "-"},
    {"color": "#999933", "linestyle": (0, (5, 1.5))},
)

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
