"""What draws: rectangles, lines and text at pixels counted from the top left, as in a browser."""

import functools
import io
import pathlib

from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle
from PIL import Image

from picture.colors import Theme
from picture.palette import reduced

# Pixels to the inch, before scaling: a point of text is 1/72 inch.
DPI = 100
# Grafana's own typeface, where Debian has it; matplotlib's else.
INTER = pathlib.Path("/usr/share/fonts/opentype/inter")
WEIGHTS = {"normal": "Regular", "medium": "Medium", "bold": "SemiBold"}


@functools.cache
def font(weight: str) -> font_manager.FontProperties:
    if weight == "mono":
        return font_manager.FontProperties(family="DejaVu Sans Mono")
    file = INTER / f"Inter-{WEIGHTS[weight]}.otf"
    if file.exists():
        return font_manager.FontProperties(fname=file)
    return font_manager.FontProperties(family="DejaVu Sans", weight="bold" if weight == "bold" else "normal")


class Canvas:
    """A page so many pixels wide and high; `scale` is how many pixels of the file one of them is."""

    def __init__(self, width: float, height: float, scale: float, theme: Theme) -> None:
        self.width, self.height, self.theme = width, height, theme
        self._figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI * scale, facecolor=theme.canvas)
        self._scale = scale
        self.axes = self._figure.add_axes((0, 0, 1, 1))
        self.axes.set_axis_off()
        self.axes.set_xlim(0, width)
        self.axes.set_ylim(height, 0)
        self.axes.autoscale(False)
        self._renderer = FigureCanvasAgg(self._figure).get_renderer()
        self._measured = functools.cache(self._measure)

    def box(self, x, y, width, height, color, *, border=None, radius=0.0, alpha=None, order=1.0) -> None:
        """A filled rectangle."""
        look = {"facecolor": color, "edgecolor": border or "none", "linewidth": 0.72 if border else 0}
        if radius:
            style = f"round,pad=0,rounding_size={radius}"
            patch = FancyBboxPatch((x, y), width, height, boxstyle=style, alpha=alpha, zorder=order, **look)
        else:
            patch = Rectangle((x, y), width, height, alpha=alpha, zorder=order, **look)
        self.axes.add_patch(patch)

    def line(self, xs, ys, color, width=1.0, order=3.0) -> None:
        """A line through points; it is broken where a value is NaN."""
        self.axes.plot(
            xs, ys, color=color, linewidth=width * 0.72, zorder=order, solid_joinstyle="round", solid_capstyle="butt"
        )

    def lines(self, segments, color, width=1.0, order=1.5) -> None:
        """Straight lines, from a point to a point each."""
        self.axes.add_collection(LineCollection(segments, colors=color, linewidths=width * 0.72, zorder=order))

    def text(self, x, y, text, size=12.0, color=None, *, weight="normal", across="left", along="center", order=6.0):
        """Text whose middle, top, or baseline is at `y`; `$` is a dollar, and starts no formula."""
        self.axes.text(
            x,
            y,
            text,
            color=color or self.theme.text,
            fontproperties=_sized(weight, size),
            ha=across,
            va="center_baseline" if along == "center" else along,
            parse_math=False,
            zorder=order,
        )

    def text_width(self, text: str, size: float = 12.0, weight: str = "normal") -> float:
        return self._measured(text, size, weight)

    def _measure(self, text: str, size: float, weight: str) -> float:
        width, _, _ = self._renderer.get_text_width_height_descent(text, _sized(weight, size), False)
        return width / self._scale

    def fitting(self, text: str, width: float, size: float = 12.0, weight: str = "normal") -> str:
        """The text, or as much of its beginning as there is room for."""
        text = " ".join(text.split())
        if self.text_width(text, size, weight) <= width:
            return text
        low, high = 0, len(text)
        while low < high:
            middle = (low + high + 1) // 2
            if self.text_width(text[:middle].rstrip() + "…", size, weight) <= width:
                low = middle
            else:
                high = middle - 1
        return text[:low].rstrip() + "…"

    def wrapped(self, text: str, width: float, size: float = 12.0, weight: str = "normal") -> list[str]:
        """The text in lines, broken between words; words that are too long are broken where they must."""
        lines = [""]
        for word in text.split():
            candidate = f"{lines[-1]} {word}".strip()
            if self.text_width(candidate, size, weight) <= width:
                lines[-1] = candidate
                continue
            if lines[-1]:
                lines.append("")
            while self.text_width(word, size, weight) > width:
                part = self.fitting(word, width, size, weight).removesuffix("…")
                if not part:
                    break
                lines[-1] = part
                lines.append("")
                word = word[len(part) :]
            lines[-1] = word
        return lines

    def save(self, file: str) -> None:
        """Writes a PNG that is small."""
        drawn = io.BytesIO()
        self._figure.savefig(drawn, format="png", facecolor=self.theme.canvas)
        drawn.seek(0)
        with Image.open(drawn) as image:
            reduced(image).save(file, format="PNG", optimize=True)


@functools.cache
def _sized(weight: str, size: float) -> font_manager.FontProperties:
    sized = font(weight).copy()
    sized.set_size(size * 72 / DPI)
    return sized
