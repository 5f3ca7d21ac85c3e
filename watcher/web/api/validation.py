"""From pydantic's errors to the API's, one for each wrong field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from watcher.web.errors import ApiError

_LONGEST = 300
T = TypeVar("T", bound=BaseModel)


def validated(model: type[T], fields: Mapping[str, Any]) -> T:
    """The model of these fields. Empty ones count as absent, as forms send them. Raises ApiError: 400."""
    given = {name: value for name, value in fields.items() if value not in ("", None)}
    try:
        return model.model_validate(given)
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False)
        raise _invalid([_problem(detail, model) for detail in details]) from error


def _invalid(problems: list[tuple[str, str]]) -> ApiError:
    code, _ = problems[0]
    return ApiError(400, code, "Invalid parameter", "; ".join(detail for _, detail in problems))


def _problem(detail: ErrorDetails, model: type[BaseModel]) -> tuple[str, str]:
    """A code for programs and a sentence for people."""
    name = str(detail["loc"][0])[:60] if detail["loc"] else ""
    if detail["type"] == "extra_forbidden":
        return "unknown_parameter", f"{name!r} is not known here; known are {', '.join(model.model_fields)}"
    message = detail["msg"].removeprefix("Value error, ")[:_LONGEST]
    if not name:
        return "invalid_combination", message
    return f"invalid_{name}", f"{name} {message}" if detail["type"] == "value_error" else f"{name}: {message}"
