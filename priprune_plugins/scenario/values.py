"""One value from YAML against one annotated type."""

import json
import math
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic_core import ErrorDetails

from priprune_plugins.errors import PluginError, ScenarioError
from priprune_plugins.wording import choices, guess, requirement, shown


def typed(hint: Any, value: object, at: str) -> Any:
    """Return ``value`` as ``hint`` has it: a list as the tuple that is asked for, an int as a float.

    Strict: text is no number, a bool is no int, 1.0 is no int, and nothing is rounded or guessed.

    Args:
        hint: The annotated type.
        value: Plain YAML value.
        at: How an error begins, ``file:line: path``.

    Raises:
        ScenarioError: The value is not of that type, or not finite.
        PluginError: No YAML value can be of that type.
    """
    if not finite(value):
        raise ScenarioError(f"{at} must be finite, got {shown(value)}; write a number")
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(hint)
    except PydanticUserError as error:
        raise PluginError(f"{at}: the plugin declares it as {hint}, which no YAML value can be") from error
    try:
        # As JSON, because strict validation of Python objects takes no list for a tuple and no text for a path.
        return adapter.validate_json(json.dumps(value, allow_nan=False), strict=True, extra="forbid")
    except ValidationError as error:
        raise ScenarioError(_line(hint, value, at, error.errors()[0])) from error
    except TypeError as error:
        raise ScenarioError(f"{at} must be a plain YAML value, got {type(value).__name__}") from error


def finite(value: object) -> bool:
    """Whether no number anywhere in a plain value is NaN or infinite."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, Mapping):
        return all(finite(item) for item in value.values())
    return all(finite(item) for item in value) if isinstance(value, list | tuple) else True


def _line(hint: Any, value: object, at: str, error: ErrorDetails) -> str:
    if error["type"] in ("value_error", "assertion_error"):
        return f"{at}: {error.get('ctx', {}).get('error', error['msg'])}, got {shown(value)}"
    if error["type"] == "unexpected_keyword_argument":
        return f"{at}.{error['loc'][-1]} is unknown; remove it"
    meant = guess(value, choices(hint)) if isinstance(value, str) else ""
    return f"{at} must be {requirement(hint, value)}, got {shown(value)}{meant}"
