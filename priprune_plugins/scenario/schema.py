"""The JSON Schema of a scenario, with the options of every installed plugin, so that an editor completes them.

Only what draft 7 has is used beside the name of the draft: editors' YAML servers stop there.
"""

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, get_type_hints

from pydantic import TypeAdapter
from pydantic.errors import PydanticUserError
from pydantic_core import to_jsonable_python

from priprune_plugins.catalogue import KINDS, installed, load_class
from priprune_plugins.docstrings import argument_docs, summary_line
from priprune_plugins.errors import PriPruneError
from priprune_plugins.scenario.options import checked_hints, option_fields
from priprune_plugins.scenario.reading import LISTS, REQUIRED, SCALARS, SECTIONS
from priprune_plugins.scenario.sections import AuditSection, NetworkSection
from priprune_plugins.scenario.sections_reader import MIXED
from priprune_plugins.scenario.selection import Selection
from priprune_plugins.scenario.whole import Scenario

Schema = dict[str, Any]
_NUMBERS = {"type": "integer"}
_NEVER_BOTH = {"local_steps": _NUMBERS, "epochs": _NUMBERS}


def schema() -> Schema:
    """Return the schema, draft 2020-12; every installed plugin is imported, a broken one is named in a comment."""
    definitions: Schema = {}
    properties: Schema = {
        "include": {
            "type": ["string", "array"],
            "items": {"type": "string"},
            "description": "Files merged below this.",
        },
        "modules": {"type": "array", "items": {"type": "string"}},
        **{key: _value(hint) for key, hint in SCALARS.items()},
        **{key: _section(cls) for key, cls in SECTIONS.items()},
        "audit": _optional(_section(AuditSection)),
        "network": _optional(_section(NetworkSection)),
        "pruner": _optional(_plugin("pruners", {}, definitions)),
        **{key: _plugin(kind, _properties(cls), definitions) for key, (cls, kind) in MIXED.items()},
        **{kind: {"type": ["array", "null"], "items": _item(kind, definitions)} for kind in LISTS},
    }
    properties["algorithm"]["not"] = {"properties": _NEVER_BOTH, "required": list(_NEVER_BOTH)}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "priprune scenario",
        "type": "object",
        "properties": _described(properties, argument_docs(Scenario)),
        "additionalProperties": False,
        "if": {"not": {"required": ["include"]}},
        "then": {"required": list(REQUIRED), "properties": {key: {"required": ["name"]} for key in (*MIXED, "pruner")}},
        "$defs": definitions,
    }


def _described(properties: Schema, docs: Mapping[str, str]) -> Schema:
    # What the plugin says of its option is more than what the type of the option says.
    said = {key: {"description": docs[key]} for key in properties.keys() & docs.keys()}
    return {key: value | said[key] if key in said else value for key, value in properties.items()}


def _optional(value: Schema) -> Schema:
    return {"anyOf": [{"type": "null"}, value]}


def _section(cls: type) -> Schema:
    return {"type": ["object", "null"], "properties": _properties(cls), "additionalProperties": False}


def _properties(cls: type) -> Schema:
    hints = get_type_hints(cls, include_extras=True)
    docs = argument_docs(cls)
    found = {}
    for field in fields(cls):
        value = _value(hints[field.name])
        default = {} if field.default is MISSING else {"default": to_jsonable_python(field.default)}
        found[field.name] = {**value, **default}
    return _described(found, docs)


def _value(hint: Any, definitions: Schema | None = None, prefix: str = "") -> Schema:
    # JSON Schema has no infinity, and the reader refuses it.
    found = TypeAdapter(hint).json_schema(ref_template=f"#/$defs/{prefix}{{model}}")
    inner = found.pop("$defs", {})
    if definitions is not None:
        definitions |= {f"{prefix}{name}": value for name, value in inner.items()}
    return found


def _item(kind: str, definitions: Schema) -> Schema:
    # Lists are replaced by an include and never merged, so that each entry must name its plugin.
    return {**_plugin(kind, {}, definitions), "required": ["name"]}


def _plugin(kind: str, host: Schema, definitions: Schema) -> Schema:
    """Return the schema of one selection: its name, and then the options of that name."""
    branches, names, broken = [], [], []
    for entry in installed(kind):
        try:
            options, required = _options(Selection(kind, entry.name, {}, kind), definitions)
        except (PriPruneError, PydanticUserError) as error:
            broken.append(" ".join(str(error).split()))
            continue
        names.append({"const": entry.name, "description": options.pop("")})
        taken = {"name": True, **host, **options}
        then = {"properties": taken, "required": required, "additionalProperties": False}
        chosen = {"properties": {"name": {"const": entry.name}}, "required": ["name"]}
        branches.append({"if": chosen, "then": then})
    reference = {"type": "string", "pattern": ":", "description": "module:Class"}
    return {
        "type": "object",
        "description": f"The {KINDS[kind]}.",
        "properties": {"name": {"anyOf": [*names, reference]}, **host},
        **({"allOf": branches} if branches else {}),
        **({"$comment": f"left out: {'; '.join(broken)}"} if broken else {}),
    }


def _options(selection: Selection, definitions: Schema) -> tuple[Schema, list[str]]:
    """Return a plugin's options, its own description under the empty name, and those that have no default."""
    cls = load_class(selection)
    hints = checked_hints(selection, cls)
    docs = argument_docs(cls)
    options: Schema = {"": summary_line(cls)}
    required = []
    for name, field in option_fields(cls).items():
        value = _value(hints[name], definitions, f"{selection.kind}.{selection.name}.")
        if field.default is not MISSING:
            value["default"] = to_jsonable_python(field.default)
        elif field.default_factory is MISSING:
            required.append(name)
        options[name] = value
    return _described(options, docs), required
