"""Axes: which values and times are marked."""

import math
from datetime import datetime, timezone

from picture.times import STEPS

# Times that a reader expects below an axis, in seconds.
MARKED = (1, 2, 5, 10, 15, 30, 60, 120, 180, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
# A tick is one of these, times a power of ten; of two for bytes, of sixty for minutes.
ROUND = (1, 2, 5, 10)


def tick_step(most: float, ticks: int, unit: str) -> float:
    """How far ticks are apart, so that there are at most about so many up to the highest value."""
    wanted = most / max(ticks, 1)
    if unit in ("bytes", "binBps"):
        return 2.0 ** math.ceil(math.log2(wanted))
    if unit == "s" and wanted > 10:
        return float(next((step for step in STEPS if step >= wanted), math.ceil(wanted / 86400) * 86400))
    power = 10.0 ** math.floor(math.log10(wanted))
    return next(step * power for step in ROUND if step * power >= wanted * 0.999999)


def value_ticks(least: float, most: float, ticks: int, unit: str) -> list[float]:
    """The values that are marked; the last is at `most` or above it."""
    if most <= least:
        most = least + 1
    step = tick_step(most - least, ticks, unit)
    # Counts of whole things have no halves between them.
    first, last = math.floor(least / step + 1e-9), math.ceil(most / step - 1e-9)
    return [index * step for index in range(first, last + 1)]


def time_ticks(start: float, end: float, ticks: int) -> list[float]:
    """The times that are marked, at whole steps."""
    wanted = (end - start) / max(ticks, 1)
    step = next((step for step in MARKED if step >= wanted), MARKED[-1])
    first = math.ceil(start / step)
    return [index * step for index in range(first, math.floor(end / step) + 1)]


def clock(at: float, step: float, seconds: float) -> str:
    """A time below an axis: as exact as the steps, and with the day where there are several."""
    moment = datetime.fromtimestamp(at, timezone.utc)
    if step < 60:
        return f"{moment:%H:%M:%S}"
    return f"{moment:%m-%d %H:%M}" if seconds > 86400 else f"{moment:%H:%M}"
