"""Writes the dashboards, a file each, into a folder: build.py FOLDER."""

import json
import sys
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

import agent
import forensics
import overview
import policies
import workload

BOARDS = (overview, workload, policies, agent, forensics)


# What the SDK writes into every variable, and Grafana knows only of those that are intervals; there are none.
OF_INTERVALS = ("auto", "auto_count", "auto_min")


def plain(dashboard) -> dict:
    """A dashboard as JSON has it."""
    value = json.loads(json.dumps(dashboard, cls=JSONEncoder))
    for variable in value["templating"]["list"]:
        for key in OF_INTERVALS:
            variable.pop(key, None)
    return value


def text(dashboard) -> str:
    """A dashboard as it is kept: keys in order, so that the same source makes the same bytes."""
    return json.dumps(plain(dashboard), sort_keys=True, indent=2, ensure_ascii=False) + "\n"


def write(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for board in BOARDS:
        dashboard = board.board()
        (folder / f"{dashboard.uid}.json").write_text(text(dashboard), encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: build.py FOLDER")
    write(Path(sys.argv[1]))
