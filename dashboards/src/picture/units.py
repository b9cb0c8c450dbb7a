"""Values as text, with the names that Grafana has for units."""

import math
import time

from picture.errors import Unsupported

THOUSANDS = ("", " K", " Mil", " Bil", " Tri")
SI = ("", "k", "M", "G", "T", "P")
COUNTS = ("", "K", "M", "B", "T")
BINARY = ("", "Ki", "Mi", "Gi", "Ti", "Pi")
# From how many seconds on a time is told in what: its name, and its seconds.
TIMES = (
    (1e-6, "ns", 1e-9),
    (1e-3, "µs", 1e-6),
    (1, "ms", 1e-3),
    (60, "s", 1),
    (3600, "min", 60),
    (86400, "hours", 3600),
    (604800, "days", 86400),
    (31536000, "weeks", 604800),
    (math.inf, "years", 31536000),
)
# What is counted, a second.
RATES = {"ops": "ops/s", "reqps": "req/s", "rps": "reads/s", "wps": "writes/s", "cps": "counts/s", "eps": "events/s"}
SECONDS = {"s": 1, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9, "m": 60, "h": 3600, "d": 86400}


def text(value: float, unit: str = "short", decimals: int | None = None) -> str:
    """A value in its unit, with three digits that mean something, or with so many `decimals`.

    Raises `Unsupported` for a unit that isn't known.
    """
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if unit in ("short", "none", "string", ""):
        return _scaled(value, 1000, THOUSANDS, "", decimals) if unit == "short" else number(value, decimals)
    if unit in RATES:
        return _scaled(value, 1000, COUNTS, f" {RATES[unit]}", decimals)
    if unit in ("bytes", "decbytes", "Bps", "binBps"):
        binary = unit in ("bytes", "binBps")
        suffix = "B/s" if unit.endswith("ps") else "B"
        steps = [f" {step}" for step in (BINARY if binary else SI)]
        return _scaled(value, 1024 if binary else 1000, steps, suffix, decimals)
    if unit in ("percentunit", "percent"):
        return f"{number(value * 100 if unit == 'percentunit' else value, decimals)}%"
    if unit in SECONDS:
        return _time(value * SECONDS[unit], decimals, unit)
    if unit == "dateTimeFromNow":
        return from_now(value / 1000, time.time())
    raise Unsupported(f"the unit {unit!r}")


def number(value: float, decimals: int | None = None) -> str:
    """A plain number; without `decimals`, three digits that mean something, and no zeros at the end."""
    if decimals is not None:
        return f"{value:.{decimals}f}"
    if value == 0:
        return "0"
    if value == round(value) and abs(value) < 1e15:
        return str(round(value))
    # What is under a billionth is told by its power of ten.
    if abs(value) < 1e-9:
        return f"{value:.2e}"
    behind = max(0, 2 - math.floor(math.log10(abs(value))))
    told = f"{value:.{behind}f}"
    return told.rstrip("0").rstrip(".") if "." in told else told


def from_now(at: float, now: float) -> str:
    """How long ago a time was, or in how long it will be, in seconds since the epoch."""
    away = abs(now - at)
    if away < 45:
        words = "a few seconds"
    else:
        for least, name in ((86400, "day"), (3600, "hour"), (0, "minute")):
            if away >= least:
                count = max(1, round(away / (least or 60)))
                words = f"{count} {name}{'s' if count > 1 else ''}"
                break
    return f"{words} ago" if at <= now else f"in {words}"


def _scaled(value: float, base: int, steps, suffix: str, decimals: int | None) -> str:
    power = 0
    # What would be rounded up to the next step is told in the next step.
    while power + 1 < len(steps) and abs(value) / base**power >= base * 0.9995:
        power += 1
    return f"{number(value / base**power, decimals)}{steps[power]}{suffix}"


def _time(seconds: float, decimals: int | None, unit: str) -> str:
    if seconds == 0:
        return f"0 {unit}"
    for below, name, one in TIMES:
        if abs(seconds) < below * 0.9995:
            return f"{number(seconds / one, decimals)} {name}"
    raise AssertionError("the last step has no end")
