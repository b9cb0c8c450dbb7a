"""Names of series, rows of tables, and what a panel's transformations make of them."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from picture.errors import Unsupported
from picture.prometheus import Sample

LABEL = re.compile(r"\{\{\s*(.+?)\s*\}\}")
# Transformations of names of series, and those of tables; `extractFields` is for logs, which aren't drawn.
OF_NAMES = ("renameByRegex",)

Cell = str | float | None


@dataclass
class Rows:
    """A table: its columns in their order, and rows which may not have them all."""

    columns: list[str]
    rows: list[dict[str, Cell]] = field(default_factory=list)


# === Names ===


def legend(labels: Mapping[str, str], form: str | None, others: Sequence[Mapping[str, str]] = ()) -> str:
    """The name of a series: the labels put into `form`, or, for `__auto`, those which tell it from the others."""
    if form and form != "__auto":
        return LABEL.sub(lambda match: labels.get(match[1], ""), form)
    told = {name: value for name, value in labels.items() if name != "__name__"}
    differing = [name for name in told if any(other.get(name) != told[name] for other in others)]
    if len(differing) == 1:
        return told[differing[0]]
    pairs = ", ".join(f'{name}="{value}"' for name, value in sorted(told.items()))
    return labels.get("__name__", "") + (f"{{{pairs}}}" if pairs else "") or "Value"


def renamed(name: str, transformations: Sequence[Mapping]) -> str:
    """The name of a series after a panel's transformations.

    Raises `Unsupported` for transformations that aren't of names, and for patterns that Grafana refuses.
    """
    for transformation in transformations:
        if transformation["id"] not in OF_NAMES:
            raise Unsupported(f"the transformation {transformation['id']!r} of series")
        options = transformation["options"]
        pattern = re.sub(r"\$(\d)", r"\\\1", options["renamePattern"])
        name = _regex(options["regex"]).sub(pattern, name)
    return name


def _regex(text: str) -> re.Pattern:
    """Grafana matches a whole name, unless the expression is between slashes; what only begins with one is refused."""
    if not text.startswith("/"):
        return re.compile(f"^(?:{text})$")
    match = re.fullmatch(r"/(.*?)/(g?i?m?y?s?)", text)
    if not match:
        raise Unsupported(f"{text!r} as a regular expression: Grafana takes what begins with a slash to end with one")
    return re.compile(match[1], re.IGNORECASE if "i" in match[2] else 0)


# === Tables ===


def frame(samples: Sequence[Sample], value: str) -> Rows:
    """The answer to a query as rows: a column for each label, and one for the value."""
    labels: dict[str, None] = {}
    for sample in samples:
        labels |= dict.fromkeys(sorted(sample.labels))
    rows = [{**sample.labels, value: sample.value} for sample in samples]
    return Rows([*labels, value] if rows else [], rows)


def transformed(frames: Sequence[Rows], transformations: Sequence[Mapping]) -> Rows:
    """What a table shows of its queries' answers; without `merge` it shows the first.

    Raises `Unsupported` for transformations that aren't known.
    """
    table = frames[0] if frames else Rows([])
    for transformation in transformations:
        options = transformation.get("options", {})
        match transformation["id"]:
            case "merge":
                table = _merged(frames)
            case "filterFieldsByName":
                table = _only(table, options["include"]["names"])
            case "organize":
                table = _organized(table, options)
            case other:
                raise Unsupported(f"the transformation {other!r} of tables")
    return table


def _merged(frames: Sequence[Rows]) -> Rows:
    """Rows whose labels agree become one, as far as both have them."""
    columns: dict[str, None] = {}
    for one in frames:
        columns |= dict.fromkeys(one.columns)
    keys = [set(one.columns[:-1]) for one in frames if one.columns]
    rows: list[dict[str, Cell]] = []
    # By what all frames have: rows of the first, which may have more, are what the others are added to.
    common = sorted(set.intersection(*keys)) if keys else []
    places: dict[tuple, list[dict[str, Cell]]] = {}
    for one in frames:
        for row in one.rows:
            same = places.setdefault(tuple(row.get(name) for name in common), [])
            into = [other for other in same if _agree(other, row)]
            for other in into:
                other |= row
            if not into:
                added = dict(row)
                rows.append(added)
                same.append(added)
    # Columns of values come after those of labels.
    labels = [name for name in columns if any(name in key for key in keys)]
    return Rows([*labels, *(name for name in columns if name not in labels)], rows)


def _agree(one: Mapping[str, Cell], other: Mapping[str, Cell]) -> bool:
    return all(one[name] == other[name] for name in one.keys() & other.keys())


def _only(table: Rows, names: Sequence[str]) -> Rows:
    return Rows([name for name in table.columns if name in names], table.rows)


def _organized(table: Rows, options: Mapping) -> Rows:
    hidden = {name for name, is_hidden in options.get("excludeByName", {}).items() if is_hidden}
    places = options.get("indexByName", {})
    names = options.get("renameByName", {})
    kept = sorted((name for name in table.columns if name not in hidden), key=lambda name: places.get(name, math.inf))
    rows = [{names.get(name) or name: row.get(name) for name in kept} for row in table.rows]
    return Rows([names.get(name) or name for name in kept], rows)


def ordered(table: Rows, sort_by: Sequence[Mapping]) -> Rows:
    """Sorted by the columns that the panel sorts by; what has no value comes last."""
    rows = list(table.rows)
    for sort in reversed(sort_by):
        name, descending = sort["displayName"], sort.get("desc", False)
        there = [row for row in rows if not empty(row.get(name))]
        there.sort(key=lambda row: (isinstance(row[name], str), row[name]), reverse=descending)
        rows = there + [row for row in rows if empty(row.get(name))]
    return Rows(table.columns, rows)


def empty(cell: Cell) -> bool:
    return cell is None or cell == "" or (isinstance(cell, float) and math.isnan(cell))
