"""The JSON Schema of a sweep, with that of the scenario as its base, for editors."""

from typing import Any

from priprune_plugins.docstrings import argument_docs
from priprune_plugins.scenario.schema import schema as scenario_schema
from priprune_plugins.sweep.reading import Sweep

Schema = dict[str, Any]
_PATH = r"^[A-Za-z_][\w-]*(\.[A-Za-z_][\w-]*|\[\d{1,6}\])*$"
_AXIS: Schema = {
    "description": "The values, as a list or by a label each.",
    "anyOf": [
        {"type": "array", "minItems": 1},
        {"type": "object", "minProperties": 1, "properties": {"name": False}},
    ],
}
_AXES: Schema = {"type": "object", "propertyNames": {"pattern": _PATH}, "additionalProperties": _AXIS}
_LEFT_OUT: Schema = {"type": "object", "propertyNames": {"pattern": _PATH}, "minProperties": 1}


def schema() -> Schema:
    """Return the schema, draft 2020-12, with the options of every installed plugin in ``base``."""
    scenario = scenario_schema()
    definitions = scenario.pop("$defs")
    draft = scenario.pop("$schema")
    docs = argument_docs(Sweep)
    return {
        "$schema": draft,
        "title": "priprune sweep",
        "type": "object",
        "properties": {
            "include": scenario["properties"]["include"],
            "name": {"type": "string", "description": docs["name"]},
            "base": {
                "anyOf": [{"type": "string"}, scenario],
                "description": "A scenario's file, from this file's folder, or the scenario itself.",
            },
            "grid": {**_AXES, "description": "Axes by the path of their key; every combination is a cell."},
            "zip": {"anyOf": [_AXES, {"type": "array", "items": _AXES}], "description": "Axes that move together."},
            "exclude": {
                "type": ["array", "null"],
                "items": _LEFT_OUT,
                "description": "Combinations left out: per axis a value or label, or a list of them.",
            },
            "threads": {"type": "integer", "minimum": 1, "default": 1, "description": docs["threads"]},
        },
        "additionalProperties": False,
        "if": {"not": {"required": ["include"]}},
        "then": {"required": ["base"], "anyOf": [{"required": ["grid"]}, {"required": ["zip"]}]},
        "$defs": definitions,
    }
