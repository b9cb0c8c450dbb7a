"""Themes, and which colour a value or a series has."""

import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from picture.errors import Unsupported


@dataclass(frozen=True)
class Theme:
    """Colours of what is around the data, and Grafana's names for those of data."""

    canvas: str
    panel: str
    border: str
    text: str
    faint: str
    grid: str
    unfilled: str
    named: Mapping[str, str]
    # What a heat map goes through, from little to much.
    heat: tuple[str, ...]


DARK = Theme(
    canvas="#111217",
    panel="#181b1f",
    border="#2a2d33",
    text="#d5d6de",
    faint="#9a9ca6",
    grid="#25282e",
    unfilled="#24272d",
    named={
        "green": "#73bf69",
        "yellow": "#fade2a",
        "orange": "#ff9830",
        "red": "#f2495c",
        "blue": "#5794f2",
        "purple": "#b877d9",
    },
    heat=("#1d2b42", "#1f60c4", "#5794f2", "#c0d8ff"),
)
LIGHT = Theme(
    canvas="#f4f5f5",
    panel="#ffffff",
    border="#dfe0e3",
    text="#24292e",
    faint="#6a6d75",
    grid="#ececee",
    unfilled="#f0f1f2",
    named={
        "green": "#3d9a35",
        "yellow": "#d9a70a",
        "orange": "#e8710a",
        "red": "#d81f3a",
        "blue": "#3274d9",
        "purple": "#9350b8",
    },
    heat=("#e4eefc", "#8ab8ff", "#3274d9", "#123f8f"),
)
THEMES = {"light": LIGHT, "dark": DARK}

# Colours of series which go well with one another on both themes.
PALETTE = (
    "#73bf69", "#e0b400", "#5794f2", "#ff9830", "#b877d9", "#2fb5c7", "#f2495c", "#8f9bb3",
    "#37872d", "#c4632b", "#8ab8ff", "#d683ce", "#447ebc", "#a3d039", "#705da0", "#96d98d",
)  # fmt: skip


def color(name: str, theme: Theme) -> str:
    """A colour by Grafana's name, or as `#rrggbb`. `dark-` and the like are the theme's choice.

    Raises `Unsupported` for other names.
    """
    if name == "text":
        return theme.text
    if name.startswith("#"):
        return name
    plain = name.rpartition("-")[2]
    if plain not in theme.named:
        raise Unsupported(f"the colour {name!r}")
    return theme.named[plain]


def by_threshold(value: float, steps: Sequence[Mapping]) -> str:
    """The name of the colour of the last step that the value reaches; the first has no value."""
    reached = "text"
    for step in steps:
        if step.get("value") is None or value >= step["value"]:
            reached = step["color"]
    return reached


def of_series(names: Iterable[str]) -> dict[str, str]:
    """A colour for each name, mostly the same in all panels, and never twice in one as long as there are enough."""
    found: dict[str, str] = {}
    for name in names:
        if name in found:
            continue
        first = zlib.crc32(name.encode()) % len(PALETTE)
        places = [PALETTE[(first + index) % len(PALETTE)] for index in range(len(PALETTE))]
        # Colours that are hard to tell apart only where there are no others left.
        for apart in (110, 85, 60, 40, 1, 0):
            far = [place for place in places if all(_distance(place, taken) >= apart for taken in found.values())]
            if far:
                found[name] = far[0]
                break
    return found


def _distance(one: str, other: str) -> float:
    return math.dist(_channels(one), _channels(other))


def _channels(shade: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(shade[1:]))
