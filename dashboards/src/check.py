"""Looks whether dashboards are what the source makes, and right: check.py FOLDER SCHEMA.

SCHEMA is a folder with the packages of schema/package.json: Grafana's own types, and grammars of its query
languages.
"""

import difflib
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

import attributes
import build

HERE = Path(__file__).resolve().parent

# Rows are headings: they show nothing.
NO_DATA = {"row"}
# Of a trace, the panel chooses the unit of each duration.
NO_UNIT = {"traces"}
# Data sources are variables, of these kinds.
SOURCES = {"prometheus": "${datasource}", "loki": "${loki}", "tempo": "${tempo}"}
# Lines of a difference that are worth showing.
SHOWN = 40


def is_as_made(folder: Path, files: list[Path]) -> Iterator[str]:
    """The files are those that the source makes, to the byte."""
    with tempfile.TemporaryDirectory() as temporary:
        build.write(Path(temporary))
        made = {file.name: file.read_text(encoding="utf-8") for file in Path(temporary).iterdir()}
    kept = {file.name: file.read_text(encoding="utf-8") for file in files}
    for name in sorted(made.keys() | kept.keys()):
        if name not in kept:
            yield f"{name}: is missing: run make generate"
        elif name not in made:
            yield f"{name}: the source makes no such dashboard"
        elif made[name] != kept[name]:
            lines = difflib.unified_diff(
                kept[name].splitlines(), made[name].splitlines(), "kept", "made", lineterm="", n=1
            )
            yield "\n    ".join([f"{name}: is not what the source makes: run make generate", *list(lines)[:SHOWN]])


def is_of_sdk(name: str, dashboard: dict) -> Iterator[str]:
    """The SDK's types know all that is there: it is still there when they have read it and written it again."""
    try:
        again = build.plain(Dashboard.from_json(json.loads(json.dumps(dashboard))))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        yield f"{name}: the SDK cannot read it: {type(error).__name__} {error}"
        return
    yield from (f"{name}: the SDK does not know {where}" for where in lost("", dashboard, again))


def lost(where: str, one: object, other: object) -> Iterator[str]:
    """What isn't in the other, or is another there. Defaults that the other has besides are no loss."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one):
            if key in other:
                yield from lost(f"{where}.{key}", one[key], other[key])
            else:
                yield f"{where}.{key}"
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, (left, right) in enumerate(zip(one, other, strict=True)):
            yield from lost(f"{where}[{index}]", left, right)
    elif one != other:
        yield f"{where}: {json.dumps(one)} became {json.dumps(other)}"


def panels_are_whole(name: str, dashboard: dict) -> Iterator[str]:
    """Every panel has what a person needs to read it."""
    ids = set()
    for panel in dashboard["panels"]:
        title = panel.get("title", "")
        where = f"{name}: panel {panel.get('id')}, {title or 'without a title'}"
        if panel.get("id") in ids or not panel.get("id"):
            yield f"{where}: its id is none of its own"
        ids.add(panel.get("id"))
        if not title:
            yield f"{where}: no title"
        if panel["type"] in NO_DATA:
            continue
        defaults = panel.get("fieldConfig", {}).get("defaults", {})
        if not panel.get("description"):
            yield f"{where}: no description"
        if not defaults.get("unit") and panel["type"] not in NO_UNIT:
            yield f"{where}: no unit"
        if not defaults.get("noValue"):
            yield f"{where}: no text for when it is empty"
        if not panel.get("targets"):
            yield f"{where}: no query"


def panels_have_room(name: str, dashboard: dict) -> Iterator[str]:
    """No panel is on another, or beyond the grid."""
    taken: dict[tuple[int, int], int] = {}
    for panel in dashboard["panels"]:
        place = panel.get("gridPos", {})
        if not place.keys() >= {"x", "y", "w", "h"}:
            yield f"{name}: panel {panel['id']} has no place"
            continue
        if place["x"] + place["w"] > 24:
            yield f"{name}: panel {panel['id']} is wider than the grid"
        cells = [
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        ]
        under = sorted({taken[cell] for cell in cells if cell in taken})
        if under:
            yield f"{name}: panel {panel['id']} is on panels {', '.join(map(str, under))}"
        taken.update(dict.fromkeys(cells, panel["id"]))


def every(value: object, key: str) -> Iterator[object]:
    """What stands under a key, anywhere in it."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == key:
                yield inner
            yield from every(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from every(inner, key)


def columns_exist(name: str, dashboard: dict) -> Iterator[str]:
    """What is said of a column by its name is of one that the table shows. Those of spans are of Tempo's making."""
    for panel in dashboard["panels"]:
        organized = [step["options"] for step in panel.get("transformations", []) if step["id"] == "organize"]
        if panel["type"] != "table" or not organized:
            continue
        shown = {organized[0]["renameByName"].get(column, column) for column in organized[0]["indexByName"]}
        said = {override["matcher"]["options"] for override in panel["fieldConfig"]["overrides"]}
        said |= {order["displayName"] for order in panel["options"].get("sortBy", [])}
        unknown = sorted(said - shown)
        yield from (f"{name}: panel {panel['id']}, {panel['title']}: no column {column}" for column in unknown)


def sources_are_variables(name: str, dashboard: dict) -> Iterator[str]:
    """No data source is one of somebody's Grafana."""
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    for kind, uid in SOURCES.items():
        variable = variables.get(uid.strip("${}"), {})
        if (variable.get("type"), variable.get("query")) != ("datasource", kind):
            yield f"{name}: no variable for data sources of the kind {kind}"
    for source in every(dashboard, "datasource"):
        if not isinstance(source, dict) or SOURCES.get(source.get("type", "")) != source.get("uid"):
            yield f"{name}: a data source that is no variable: {json.dumps(source)}"


def variables_exist(name: str, dashboard: dict) -> Iterator[str]:
    """Queries name variables that the dashboard has."""
    known = {variable["name"] for variable in dashboard["templating"]["list"]}
    texts = [text for key in ("expr", "query") for text in every(dashboard, key) if isinstance(text, str)]
    used = {found for text in texts for found in re.findall(r"\$\{?(\w+)", text) if not found.startswith("__")}
    yield from (f"{name}: no variable {variable}" for variable in sorted(used - known))


def links_lead_somewhere(name: str, dashboard: dict, boards: dict[str, dict]) -> Iterator[str]:
    """Links are to dashboards that there are, and set variables that those have."""
    for url in every(dashboard, "url"):
        target = re.match(r"/d/([\w-]+)", str(url))
        if str(url).startswith("/explore?") or not url:
            continue
        if not target or target[1] not in boards:
            yield f"{name}: a link to nowhere: {url}"
            continue
        known = {variable["name"] for variable in boards[target[1]]["templating"]["list"]}
        given = set(re.findall(r"[?&]var-(\w+)=", str(url))) | set(re.findall(r"\$\{(\w+):queryparam\}", str(url)))
        yield from (
            f"{name}: a link to {target[1]} sets {variable}, which it does not have"
            for variable in sorted(given - known)
        )


def names_are_listed(found: dict) -> Iterator[str]:
    """Queries name attributes of attributes.py, and streams those that Loki indexes; none is listed in vain."""
    listed = attributes.RESOURCE + attributes.RECORD
    own = {"kind"}
    known = {attributes.in_loki(name) for name in listed + attributes.FIELDS} | own
    stream = {attributes.in_loki(name) for name in attributes.STREAM}
    used = set()
    for label, where in found["labels"]:
        place, label = label.split(" ")
        used.add(label)
        if label not in (stream if place == "stream" else known):
            yield f"{where}: {label} is not in attributes.py, as of a {place}"
    scoped = {attributes.span(name) for name in listed}
    for attribute, where in found["attributes"]:
        used.add(attributes.in_loki(attribute.partition(".")[2]))
        if attribute not in scoped:
            yield f"{where}: {attribute} is not in attributes.py"
    used |= {column for column in found["columns"]}
    for name in listed + attributes.FIELDS:
        if attributes.in_loki(name) not in used:
            yield f"attributes.py: no query and no table names {name}"


def examples_lead_somewhere(folder: Path, boards: dict[str, dict]) -> Iterator[str]:
    """The examples of how Grafana is set up name dashboards that there are."""
    for file in sorted((folder / "provisioning").glob("*.yaml")):
        for uid in re.findall(r"/d/([\w-]+)", file.read_text(encoding="utf-8")):
            if uid not in boards:
                yield f"{file.name}: a link to nowhere: {uid}"


def schema(folder: Path, files: list[Path]) -> dict:
    """What Grafana's types and the grammars say."""
    command = ["node", str(HERE / "schema" / "check.mjs"), str(folder), *map(str, files)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        sys.exit(f"check: {' '.join(command[:3])} failed; scripts/setup test installs what it needs\n{run.stderr}")
    return json.loads(run.stdout)


def columns(boards: dict[str, dict]) -> set[str]:
    """Columns that tables choose."""
    lists = [names for board in boards.values() for names in every(board["panels"], "names")]
    return {str(name) for names in lists if isinstance(names, list) for name in names}


def problems(folder: Path, packages: Path) -> Iterator[str]:
    files = sorted(folder.glob("*.json"))
    yield from is_as_made(folder, files)
    boards: dict[str, dict] = {}
    for file in files:
        dashboard = json.loads(file.read_text(encoding="utf-8"))
        if dashboard.get("uid") in boards or dashboard.get("uid") != file.stem:
            yield f"{file.name}: its uid is not its own, or not its name: {dashboard.get('uid')}"
        boards[dashboard.get("uid")] = dashboard
    for uid, dashboard in boards.items():
        name = f"{uid}.json"
        for check in (
            is_of_sdk,
            panels_are_whole,
            panels_have_room,
            columns_exist,
            sources_are_variables,
            variables_exist,
        ):
            yield from check(name, dashboard)
        yield from links_lead_somewhere(name, dashboard, boards)
    yield from examples_lead_somewhere(folder, boards)
    found = schema(packages, files)
    yield from found["problems"]
    yield from names_are_listed(found | {"columns": columns(boards)})


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit("usage: check.py FOLDER SCHEMA")
    register_default_plugins()
    found = list(problems(Path(sys.argv[1]), Path(sys.argv[2])))
    for problem in found:
        print(f"check: {problem}", file=sys.stderr)
    if found:
        sys.exit(1)
    print("dashboards: as their source makes them, and right")


if __name__ == "__main__":
    main()
