"""The JSON Schema of a sweep, with that of the scenario as its base, for editors."""

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from priprune_plugins.docstrings import argument_docs
from priprune_plugins.scenario.schema import schema as scenario_schema
from priprune_plugins.sweep.figures import Drawn, Figure
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
    at_any_scale = _at_any_scale(scenario, docs)
    return {
        "$schema": draft,
        "title": "priprune sweep",
        "type": "object",
        "properties": {
            "include": scenario["properties"]["include"],
            "name": {"type": "string", "description": docs["name"]},
            **at_any_scale,
            "scales": {
                "type": ["object", "null"],
                "additionalProperties": {
                    "type": "object",
                    "properties": {**at_any_scale, "base": _base(_part_of(scenario))},
                    "additionalProperties": False,
                },
                "description": "Other scales of the same sweep, by name: what differs; chosen by --set scale=NAME.",
            },
        },
        "additionalProperties": False,
        "if": {"not": {"required": ["include"]}},
        "then": {"required": ["base"], "anyOf": [{"required": ["grid"]}, {"required": ["zip"]}]},
        "$defs": definitions,
    }


def _at_any_scale(scenario: Schema, docs: Mapping[str, str]) -> Schema:
    return {
        "base": _base(scenario),
        "grid": {**_AXES, "description": "Axes by the path of their key; every combination is a cell."},
        "zip": {"anyOf": [_AXES, {"type": "array", "items": _AXES}], "description": "Axes that move together."},
        "exclude": {
            "type": ["array", "null"],
            "items": _LEFT_OUT,
            "description": "Combinations left out: per axis a value or label, or a list of them.",
        },
        "figures": {"type": ["array", "null"], "items": _figure(), "description": docs["figures"]},
        "threads": {"type": "integer", "minimum": 1, "default": 1, "description": docs["threads"]},
    }


def _base(scenario: Schema) -> Schema:
    return {
        "anyOf": [{"type": "string"}, scenario],
        "description": "A scenario's file, from this file's folder, or the scenario itself.",
    }


def _part_of(scenario: Schema) -> Schema:
    """Return a scenario's schema that lacks nothing where keys are missing: what is merged need not be whole."""
    return {key: value for key, value in scenario.items() if key not in ("if", "then")}


def _figure() -> Schema:
    found = TypeAdapter(Drawn).json_schema()
    said = {**argument_docs(Drawn), **argument_docs(Figure)}
    properties = {key: {**value, "description": said[key]} for key, value in found["properties"].items()}
    where = {"type": ["object", "null"], "propertyNames": {"pattern": _PATH}, "description": said["where"]}
    return {
        "type": "object",
        "properties": {**properties, "where": where},
        "required": found["required"],
        "additionalProperties": False,
    }
