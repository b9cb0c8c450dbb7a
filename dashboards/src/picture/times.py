"""The time that a dashboard shows, and how long an interval of it is."""

import math
import re
from dataclasses import dataclass
from datetime import datetime, timezone

from picture.errors import PictureError

SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
# Intervals that points are apart, in seconds, the shortest first.
STEPS = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1200, 1800, 3600, 7200, 10800, 21600, 43200, 86400)


@dataclass(frozen=True)
class Span:
    """From when to when, in seconds since the epoch, and how often Prometheus scrapes."""

    start: float
    end: float
    scrape: float

    @property
    def seconds(self) -> float:
        return self.end - self.start

    def step(self, points: int, least: float = 0) -> float:
        """How far points are apart so that there are at most so many, and no closer than scrapes, or `least`."""
        wanted = max(self.seconds / max(points, 1), self.scrape, least)
        return next((step for step in STEPS if step >= wanted), math.ceil(wanted / 86400) * 86400)

    def rate_interval(self, step: float) -> float:
        """Grafana's `$__rate_interval`: four scrapes at least, so that a rate has points enough."""
        return max(step + self.scrape, 4 * self.scrape)

    def words(self) -> str:
        """How the time is told above the panels."""
        start, end = (datetime.fromtimestamp(at, timezone.utc) for at in (self.start, self.end))
        last = f"{end:%H:%M:%S}" if start.date() == end.date() else f"{end:%Y-%m-%d %H:%M:%S}"
        return f"{start:%Y-%m-%d %H:%M:%S} to {last} UTC"


def duration(seconds: float) -> str:
    """As PromQL writes it."""
    return f"{round(seconds)}s" if seconds >= 1 and seconds == round(seconds) else f"{round(seconds * 1000)}ms"


def parse_duration(text: str) -> float:
    """Seconds of `15s`, `10m` and so on.

    Raises `PictureError` for what isn't a duration.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)", text)
    if not match:
        raise PictureError(f"{text!r} is no duration; write 15s, 10m or 3h")
    return float(match[1]) * SECONDS[match[2]]


def parse_time(text: str, now: float) -> float:
    """Seconds since the epoch of `now`, `now-15m`, a number, or a time of ISO 8601.

    Raises `PictureError` for anything else.
    """
    if text == "now":
        return now
    # A duration alone is before now, too: `-15m`.
    if match := re.fullmatch(r"(?:now)?-(\w+(?:\.\w+)?)", text):
        return now - parse_duration(match[1])
    try:
        return float(text)
    except ValueError:
        pass
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise PictureError(f"{text!r} is no time; write now, now-15m or 2026-01-31T12:00:00") from None
    return (at if at.tzinfo else at.replace(tzinfo=timezone.utc)).timestamp()
