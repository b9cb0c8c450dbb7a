"""How a panel says that values are shown: unit, thresholds, words for values, and exceptions for some columns."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from picture import units
from picture.colors import Theme, by_threshold, color
from picture.errors import Unsupported


@dataclass(frozen=True)
class Field:
    """What a panel's `fieldConfig` says of a series or a column."""

    unit: str = "short"
    decimals: int | None = None
    least: float | None = None
    most: float | None = None
    no_value: str = "No data"
    thresholds: tuple[Mapping, ...] = ()
    color_mode: str = "thresholds"
    fixed_color: str = "text"
    mappings: tuple[Mapping, ...] = ()
    custom: Mapping = field(default_factory=dict)

    def text(self, value: float) -> str:
        mapped = self._mapped(value)
        return mapped["text"] if mapped and mapped.get("text") else units.text(value, self.unit, self.decimals)

    def color(self, value: float, theme: Theme) -> str:
        """The colour of a value, where colours go by values."""
        mapped = self._mapped(value)
        if mapped and mapped.get("color"):
            return color(mapped["color"], theme)
        if self.color_mode == "fixed":
            return color(self.fixed_color, theme)
        return color(by_threshold(value, self.thresholds), theme)

    def _mapped(self, value: float) -> Mapping | None:
        for mapping in self.mappings:
            if mapping["type"] != "value":
                raise Unsupported(f"mappings of the type {mapping['type']!r}")
            if found := mapping["options"].get(units.number(value)):
                return found
        return None


def of_panel(panel: Mapping) -> Field:
    defaults = panel.get("fieldConfig", {}).get("defaults", {})
    return _with(Field(), defaults, defaults)


def of_column(panel: Mapping, name: str) -> Field:
    """The panel's, with what it says of this column.

    Raises `Unsupported` for exceptions that aren't made by name.
    """
    one = of_panel(panel)
    for override in panel.get("fieldConfig", {}).get("overrides", []):
        if override["matcher"]["id"] != "byName":
            raise Unsupported(f"overrides by {override['matcher']['id']!r}")
        if override["matcher"]["options"] != name:
            continue
        properties = {each["id"]: each.get("value") for each in override["properties"]}
        custom = {key.removeprefix("custom."): value for key, value in properties.items() if key.startswith("custom.")}
        one = _with(one, properties, {"custom": custom})
    return one


def _with(one: Field, properties: Mapping, defaults: Mapping) -> Field:
    names = {"unit": "unit", "decimals": "decimals", "min": "least", "max": "most", "noValue": "no_value"}
    changed: dict[str, object] = {to: properties[name] for name, to in names.items() if name in properties}
    if "thresholds" in properties:
        if properties["thresholds"].get("mode", "absolute") != "absolute":
            raise Unsupported(f"thresholds of the mode {properties['thresholds']['mode']!r}")
        changed["thresholds"] = tuple(properties["thresholds"]["steps"])
    if "color" in properties:
        changed["color_mode"] = properties["color"]["mode"]
        changed["fixed_color"] = properties["color"].get("fixedColor", "text")
    if "mappings" in properties:
        changed["mappings"] = tuple(properties["mappings"])
    return replace(one, **changed, custom={**one.custom, **defaults.get("custom", {})})
