"""What the SDK never checks: that an answer has every required field, no unknown one, and the right types.

The SDK builds its objects without validation, so "it did not complain" shows nothing about a server.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Annotated, Any, Union, get_args

from anthropic.types.beta.sessions import BetaManagedAgentsSessionEvent, BetaManagedAgentsStreamSessionEvents
from pydantic import BaseModel, Field, TypeAdapter


def _rewrapped(union: Any) -> TypeAdapter:
    """The SDK's union with pydantic's own discriminator: quick, and one error instead of 140."""
    members = get_args(get_args(union)[0])
    return TypeAdapter(Annotated[Union[members], Field(discriminator="type")])  # noqa: UP007 (a computed union)


EVENTS = _rewrapped(BetaManagedAgentsSessionEvent)
STREAM_EVENTS = _rewrapped(BetaManagedAgentsStreamSessionEvents)


@cache
def _adapter(model: Any) -> TypeAdapter:
    return TypeAdapter(model)


def check(model: Any, raw: Any) -> Any:
    """`raw` (parsed JSON) as an instance of `model`, an SDK class, or of a union wrapped as `EVENTS`.

    Fails on a missing or mistyped field and on a field the SDK does not know, at any depth.
    """
    adapter = model if isinstance(model, TypeAdapter) else _adapter(model)
    found = adapter.validate_json(json.dumps(raw), strict=True)
    unknown = sorted(_unknown_fields(found, ""))
    assert not unknown, f"fields the SDK does not know: {unknown}"
    return found


def _unknown_fields(value: Any, path: str) -> list[str]:
    if isinstance(value, BaseModel):
        found = [] if _is_open(type(value)) else [f"{path}.{key}" for key in value.model_extra or {}]
        for name in type(value).model_fields:
            found += _unknown_fields(getattr(value, name), f"{path}.{name}")
        return found
    if isinstance(value, list):
        return [hit for i, item in enumerate(value) for hit in _unknown_fields(item, f"{path}.{i}")]
    if isinstance(value, dict):
        return [hit for key, item in value.items() for hit in _unknown_fields(item, f"{path}.{key}")]
    return []


def _is_open(model: type[BaseModel]) -> bool:
    """A JSON Schema carries keys of its own, and its SDK class says so."""
    return "__pydantic_extra__" in model.__annotations__
