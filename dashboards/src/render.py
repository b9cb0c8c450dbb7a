"""Draws a dashboard as a PNG, from what a Prometheus has.

    python3 dashboards/src/render.py dashboards/trigon-overview.json --prometheus http://127.0.0.1:9090 --out it.png

Needs matplotlib, which `scripts/setup pictures` installs in `.cache/pictures`. Whatever can't be drawn, and each query
that fails, ends it with 1.
"""

import argparse
import json
import pathlib
import sys
import time

# Where `scripts/setup pictures` installs.
_INSTALLED = pathlib.Path(__file__).resolve().parents[2] / ".cache" / "pictures"
if _INSTALLED.is_dir():
    sys.path.insert(1, str(_INSTALLED))

from picture import page, templates
from picture.colors import THEMES
from picture.errors import PictureError
from picture.prometheus import Prometheus
from picture.times import Span, parse_duration, parse_time


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Draws a Grafana dashboard as a PNG, from what a Prometheus has.")
    parser.add_argument("dashboard", type=pathlib.Path, help="the dashboard's JSON file")
    parser.add_argument("--prometheus", required=True, metavar="URL", help="such as http://127.0.0.1:9090")
    parser.add_argument("--out", required=True, type=pathlib.Path, metavar="FILE", help="the PNG to write")
    parser.add_argument("--from", dest="start", default="now-15m", help="as in Grafana: now-15m, or a time")
    parser.add_argument("--to", default="now", help="as in Grafana: now, or a time")
    parser.add_argument(
        "--var",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a variable's value, a regular expression; several of one name are alternatives",
    )
    parser.add_argument(
        "--section", action="append", default=[], metavar="TITLE", help="only this row, and what is above the first one"
    )
    parser.add_argument(
        "--only-metrics", action="store_true", help="no panels of logs and traces, which have no data here"
    )
    parser.add_argument("--scrape-interval", default="15s", help="of the Prometheus (default: 15s)")
    parser.add_argument("--theme", choices=sorted(THEMES), default="light")
    parser.add_argument(
        "--width", type=int, default=1200, help="of the page, in pixels as of a browser's (default: 1200)"
    )
    parser.add_argument(
        "--scale", type=float, default=1.3, help="pixels of the file for one of the page (default: 1.3)"
    )
    return parser.parse_args()


def _given(pairs: list[str]) -> dict[str, list[str]]:
    given: dict[str, list[str]] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise PictureError(f"--var {pair}: write NAME=VALUE")
        given.setdefault(name, []).append(value)
    return given


def main() -> int:
    arguments = _arguments()
    try:
        now = time.time()
        start, end = parse_time(arguments.start, now), parse_time(arguments.to, now)
        if end <= start:
            raise PictureError(f"--from {arguments.start} is not before --to {arguments.to}")
        dashboard = json.loads(arguments.dashboard.read_text(encoding="utf-8"))
        canvas = page.draw(
            dashboard,
            Prometheus(arguments.prometheus),
            Span(start, end, parse_duration(arguments.scrape_interval)),
            templates.choices(dashboard, _given(arguments.var)),
            THEMES[arguments.theme],
            width=arguments.width,
            scale=arguments.scale,
            sections=arguments.section,
            only_metrics=arguments.only_metrics,
        )
        canvas.save(arguments.out)
    except (PictureError, OSError, json.JSONDecodeError) as error:
        print(f"render: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
