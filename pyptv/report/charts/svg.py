"""Charts as SVG inside the page: drawn by matplotlib, coloured by the page's style sheet.

Colours in a figure are placeholders; in the SVG they become CSS variables, with different values on light and dark
pages. Text remains text, in the page's font.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, SOFT, GRID, BAD = "#010203", "#010204", "#010205", "#010206"
"""Colours of text and axes; secondary text; grid lines; failures."""

SERIES = ("#010211", "#010212", "#010213", "#010214")
"""Colours of cameras, kinds, axes, which also differ by line style."""

STYLES = ("-", "--", "-.", ":")

RAMP = tuple(f"#0102{n:02x}" for n in range(0x21, 0x27))
"""Colours from low to high."""

_VARIABLES = {
    INK: "--ink",
    SOFT: "--soft",
    GRID: "--grid",
    BAD: "--bad",
    **{colour: f"--series-{n}" for n, colour in enumerate(SERIES, start=1)},
    **{colour: f"--ramp-{n}" for n, colour in enumerate(RAMP, start=1)},
}
_SETTINGS = {
    "figure.facecolor": "none",
    "figure.edgecolor": "none",
    "axes.facecolor": "none",
    "svg.fonttype": "none",
    "font.size": 14,
    "axes.titlesize": 14,
    "legend.fontsize": 13,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.useoffset": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.5,
    "legend.frameon": False,
    "text.color": INK,
    "xtick.color": SOFT,
    "xtick.labelcolor": INK,
    "xtick.major.size": 0,
    "xtick.major.pad": 7,  # clear of the lowest label of the vertical axis
    "ytick.color": SOFT,
    "ytick.labelcolor": INK,
    "ytick.major.size": 0,
}
_WIDTH, HEIGHT = 440, 310
"""Width of a figure [pt]: shown at 330 px on a telephone and 500 px in a row of three, its text is 11 to 16 px high."""


@dataclass(frozen=True)
class Chart:
    """A chart of the page."""

    name: str
    """Unique in the page."""
    title: str
    svg: str
    caption: str
    """Description of the chart with its numbers, also used as the text alternative."""


class Canvas:
    """A figure, and its SVG once it is drawn."""

    def __init__(self, figure: Figure) -> None:
        self.figure = figure
        self.svg = ""

    def axes(self, x: str, y: str) -> Axes:
        """The figure's only axes, with labels."""
        axes = self.figure.subplots()
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        return axes


@contextmanager
def canvas(name: str, height: float = HEIGHT) -> Iterator[Canvas]:
    """A figure with a name and height [pt]; in the block matplotlib has the page's settings, after it the SVG is available."""
    from matplotlib import rc_context  # an extra
    from matplotlib.figure import Figure  # no pyplot: no global state

    settings: Any = _SETTINGS | {"svg.hashsalt": name}
    with rc_context(settings):
        drawn = Canvas(Figure(figsize=(_WIDTH / 72, height / 72), layout="constrained"))
        yield drawn
        drawn.svg = _embedded(drawn.figure, name)


def legend(axes: Axes) -> None:
    """A legend in one row above the axes, where it hides nothing."""
    spacing = {"handlelength": 1.5, "handletextpad": 0.4, "columnspacing": 0.8, "borderpad": 0}
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=len(SERIES) + 1, **spacing)


def logarithmic(axes: Axes, label: str) -> None:
    """Counts on a logarithmic scale with few ticks, stated in the label."""
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.8)
    axes.set_ylabel(f"{label} (log scale)")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.minorticks_off()


def _embedded(figure: Figure, name: str) -> str:
    """The SVG element alone, as wide as its container, with the page's colours and font, and unique ids."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    buffer = io.StringIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    FigureCanvasSVG(figure).print_svg(buffer, metadata=nothing)  # type: ignore[no-untyped-call]  # savefig would draw it twice
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.DOTALL)
    used = set(re.findall(r"(?:url\(#|href=\"#)([^)\"]+)", svg))
    svg = re.sub(r' id="([^"]*)"', lambda match: f' id="{name}-{match[1]}"' if match[1] in used else "", svg)
    svg = re.sub(r"(url\(#|href=\"#)", rf"\g<1>{name}-", svg)
    svg = re.sub(r"#0102[0-9a-f]{2}", lambda match: f"var({_VARIABLES[match[0]]})", svg)
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", svg)
    head = re.sub(r' (?:width|height|version|xmlns(?::xlink)?)="[^"]*"', "", svg[: svg.index(">")])
    return re.sub(r"\n\s*", "\n", head + svg[svg.index(">") :]).strip()
