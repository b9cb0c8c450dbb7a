"""Variables in titles and queries, as Grafana's data source for Prometheus fills them in."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from picture.errors import Unsupported
from picture.times import Span, duration

# `$name`, `[[name]]`, `[[name:format]]`, `${name}`, `${name:format}`.
VARIABLE = re.compile(r"\$(\w+)|\[\[(\w+?)(?::(\w+))?\]\]|\$\{(\w+)(?::([^}]+))?\}")
ALL = "$__all"


@dataclass(frozen=True)
class Choice:
    """What is chosen for a variable."""

    values: tuple[str, ...]
    # What stands in a query as it is: the regular expression for all, or one that was given.
    pattern: str | None = None
    # Whether several could be chosen, so that a query matches by a regular expression.
    several: bool = False
    label: str = ""

    def in_query(self) -> str:
        """As a matcher takes it; one value of several that could be is escaped, too."""
        if self.pattern is not None:
            return self.pattern
        if not self.several:
            return ",".join(self.values)
        return self.as_regex()

    def as_regex(self) -> str:
        if self.pattern is not None:
            return self.pattern
        escaped = [_escaped(value) for value in self.values]
        return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"

    def in_words(self) -> str:
        if self.pattern is not None and self.pattern in (".*", ".+"):
            return "All"
        return " + ".join(self.values) if self.values else self.pattern or ""


def choices(dashboard: Mapping, given: Mapping[str, list[str]]) -> dict[str, Choice]:
    """What is chosen: what was given for a name, which is a regular expression, or what the dashboard begins with.

    Raises `Unsupported` for a name that the dashboard has no variable of.
    """
    variables = {variable["name"]: variable for variable in dashboard.get("templating", {}).get("list", [])}
    if unknown := sorted(set(given) - set(variables)):
        raise Unsupported(f"the dashboard has no variable {', '.join(unknown)}; it has {', '.join(sorted(variables))}")
    return {name: _choice(variable, given.get(name)) for name, variable in variables.items()}


def _choice(variable: Mapping, given: list[str] | None) -> Choice:
    label = variable.get("label") or variable["name"]
    several = bool(variable.get("multi") or variable.get("includeAll"))
    if given is not None:
        pattern = given[0] if len(given) == 1 else f"({'|'.join(given)})"
        return Choice(tuple(given), pattern, several, label)
    if variable["type"] == "textbox":
        return Choice((variable.get("query") or "",), None, False, label)
    value = (variable.get("current") or {}).get("value")
    values = tuple(value) if isinstance(value, list) else () if value is None else (value,)
    if ALL in values or (not values and variable.get("includeAll")):
        return Choice(("All",), variable.get("allValue") or ".*", several, label)
    return Choice(values, None, several, label)


def built_in(span: Span, step: float) -> dict[str, str]:
    """Grafana's own variables, for points that are so many seconds apart."""
    return {
        "__interval": duration(step),
        "__interval_ms": str(round(step * 1000)),
        "__rate_interval": duration(span.rate_interval(step)),
        "__range": duration(max(round(span.seconds), 1)),
        "__range_s": str(max(round(span.seconds), 1)),
        "__range_ms": str(round(span.seconds * 1000)),
        "__from": str(round(span.start * 1000)),
        "__to": str(round(span.end * 1000)),
    }


def fill(text: str, chosen: Mapping[str, Choice], own: Mapping[str, str]) -> str:
    """The text with its variables filled in; names that nobody knows stay, as they do in Grafana."""

    def value(match: re.Match) -> str:
        name = match[1] or match[2] or match[4]
        form = match[3] or match[5]
        if name in own:
            return own[name]
        if name not in chosen:
            return match[0]
        match form:
            case None:
                return chosen[name].in_query()
            case "regex":
                return chosen[name].as_regex()
            case "text":
                return chosen[name].in_words()
            case "raw" | "csv":
                return ",".join(chosen[name].values)
            case "pipe":
                return "|".join(chosen[name].values)
        raise Unsupported(f"the format {form!r} of the variable {name!r}")

    return VARIABLE.sub(value, text)


def _escaped(value: str) -> str:
    """A value within a regular expression within a string in quotes: the backslashes twice."""
    return re.sub(r"([\\^$.*+?()\[\]{}|/])", r"\\\\\1", value)
