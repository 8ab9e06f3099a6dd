"""Request bodies and queries, checked by the SDK's own parameter types.

The SDK describes what it sends as `TypedDict`s. They are rewritten here into types pydantic enforces as a server must:
required keys, no unknown keys, strict scalars, real lists, and unions told apart by their `type`. The SDK is imported
when the first body is parsed, or by `warm_up` in the background, because that takes 2.5 s.
"""

from __future__ import annotations

import importlib
import threading
import types
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cache
from typing import Annotated, Any, Literal, NotRequired, Required, Union, get_args, get_origin

from django.http import HttpRequest
from pydantic import ConfigDict, Discriminator, Field, Tag, TypeAdapter, ValidationError
from typing_extensions import TypedDict, get_type_hints, is_typeddict

from agents.errors import Invalid

BODIES = {
    "agents.create": "AgentCreateParams",
    "agents.update": "AgentUpdateParams",
    "environments.create": "EnvironmentCreateParams",
    "environments.update": "EnvironmentUpdateParams",
    "sessions.create": "SessionCreateParams",
    "sessions.update": "SessionUpdateParams",
    "events.send": "sessions.EventSendParams",
    "resources.add": "sessions.ResourceAddParams",
    "resources.update": "sessions.ResourceUpdateParams",
}
QUERIES = {  # where the type is, the default limit, the highest limit
    "agents.list": ("AgentListParams", 20, 100),
    "agents.retrieve": ("AgentRetrieveParams", 0, 0),
    "agents.versions.list": ("agents.VersionListParams", 20, 100),
    "environments.list": ("EnvironmentListParams", 20, 100),
    "sessions.list": ("SessionListParams", 20, 100),
    "events.list": ("sessions.EventListParams", 1000, 1000),
    "events.stream": ("sessions.EventStreamParams", 0, 0),
    "threads.list": ("sessions.ThreadListParams", 1000, 1000),
    "threads.events.list": ("sessions.threads.EventListParams", 1000, 1000),
    "threads.events.stream": ("sessions.threads.EventStreamParams", 0, 0),
    "resources.list": ("sessions.ResourceListParams", 1000, 1000),
    "files.list": ("FileListParams", 20, 1000),
    "models.list": ("ModelListParams", 20, 1000),
}
# They travel in headers or in the path, though they stand in the same types.
NOT_IN_BODY = {"betas", "workspace_id", "session_id", "thread_id", "agent_id", "environment_id"}
IN_BODY = {"SessionCreateParams": {"environment_id"}, "SessionListParams": {"agent_id"}}
# What the types leave out and older SDKs send: they echo the thread an event came from.
EXTRA_KEYS = {
    name: {"session_thread_id": NotRequired[str | None]}
    for name in (
        "BetaManagedAgentsUserToolConfirmationEventParams",
        "BetaManagedAgentsUserCustomToolResultEventParams",
        "BetaManagedAgentsUserToolResultEventParams",
    )
}
RANGES = ("gt", "gte", "lt", "lte")
SHOWN_ERRORS = 5
_building = threading.Lock()
# Types computed at run time, which a type checker cannot follow.
_annotated: Any = Annotated
_union: Any = Union
_typed_dict: Any = TypedDict


def warm_up() -> None:
    """Import the SDK and build every schema, so that no request waits for it."""
    for name in BODIES:
        _body_adapter(name)
    for name in QUERIES:
        _query_fields(name)


# Bodies


def parse(name: str, body: object) -> dict[str, Any]:
    """The body of the call `name`, checked: only known keys, and only those that were sent.

    A key that is absent stays absent and a null stays None, which updates tell apart.
    """
    if not isinstance(body, dict):
        raise Invalid("The request body must be a JSON object.")
    try:
        return _body_adapter(name).validate_python(body)
    except ValidationError as exc:
        raise Invalid(explain(exc)) from exc


def explain(exc: ValidationError) -> str:
    """One sentence per error, e.g. `tools.0.custom.input_schema: Field required`."""
    errors = exc.errors(include_url=False, include_context=False, include_input=False)
    shown = [f"{_path(error['loc'])}{error['msg'][:300]}" for error in errors[:SHOWN_ERRORS]]
    if len(errors) > SHOWN_ERRORS:
        shown.append(f"and {len(errors) - SHOWN_ERRORS} more")
    return "; ".join(shown)


def _path(loc: tuple[int | str, ...]) -> str:
    parts = [str(part)[:80] for part in loc if not str(part).startswith("<")]
    return ".".join(parts) + ": " if parts else ""


@cache
def _body_adapter(name: str) -> TypeAdapter[Any]:
    with _building:
        return TypeAdapter(strict(_sdk_type(BODIES[name])))


def _sdk_type(path: str) -> Any:
    module, _, name = f"anthropic.types.beta.{path}".rpartition(".")
    return getattr(importlib.import_module(module), name)


@cache
def strict(annotation: Any) -> Any:
    """`annotation` with every `TypedDict`, list and union in it rewritten for a server."""
    origin = get_origin(annotation)
    if is_typeddict(annotation):
        return _strict_dict(annotation)
    if origin in (Required, NotRequired, Annotated):
        return strict(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return _strict_union(list(get_args(annotation)))
    if origin in (Iterable, Sequence, list):
        return list[strict(get_args(annotation)[0])]  # type: ignore[misc]
    if origin is dict:
        key, value = get_args(annotation)
        return dict[strict(key), strict(value)]  # type: ignore[misc]
    return annotation


def _strict_dict(source: Any) -> Any:
    name = source.__name__
    left_out = NOT_IN_BODY - IN_BODY.get(name, set()) if name.endswith("Params") else set()
    fields: dict[str, Any] = dict(EXTRA_KEYS.get(name, {}))
    for key, hint in get_type_hints(source, include_extras=True).items():
        if key in left_out and not name.startswith("Beta"):
            continue
        wrap: Any = Required if get_origin(hint) is Required else NotRequired
        fields[key] = wrap[strict(hint)]
    rewritten = _typed_dict(name, fields)
    is_open = getattr(source, "__extra_items__", None) is object
    rewritten.__pydantic_config__ = ConfigDict(extra="allow" if is_open else "forbid", strict=True)
    return rewritten


def _strict_union(members: list[Any]) -> Any:
    """Objects apart from scalars, and objects by the one literal key they all require."""
    nullable = type(None) in members
    objects = [member for member in members if is_typeddict(member)]
    scalars = [member for member in members if not is_typeddict(member) and member is not type(None)]
    if str in scalars:
        scalars = [member for member in scalars if get_origin(member) is not Literal]
    choices: list[Any] = []
    if objects:
        choices.append(_strict_objects(objects))
    if scalars:
        choices.append(_union[tuple(strict(member) for member in scalars)])
    if len(choices) == 2:
        tagged = _annotated[choices[0], Tag("<object>")] | _annotated[choices[1], Tag("<scalar>")]
        choices = [_annotated[tagged, Discriminator(_shape)]]
    return choices[0] | None if nullable else choices[0]


def _shape(value: Any) -> str:
    return "<object>" if isinstance(value, dict) else "<scalar>"


def _strict_objects(members: list[Any]) -> Any:
    if len(members) == 1:
        return strict(members[0])
    key = next((key for key in ("type", "name") if all(_requires_literal(m, key) for m in members)), None)
    if key is None:
        raise TypeError(f"Nothing tells these apart: {[member.__name__ for member in members]}")
    union = _union[tuple(strict(member) for member in members)]
    return _annotated[union, Field(discriminator=key)]


def _requires_literal(member: Any, key: str) -> bool:
    hint = get_type_hints(member, include_extras=True).get(key)
    return get_origin(hint) is Required and get_origin(get_args(hint)[0]) is Literal


# Queries


def parse_query(request: HttpRequest, name: str) -> dict[str, Any]:
    """The known query parameters of the call `name`, under their Python names (`created_at_gte`, `statuses`).

    Absent ones are absent, but for `limit`, which every list has. Parameters nobody knows are ignored, as the
    contract asks (`?beta=true`). `page` stays the opaque text; `agents.api.pages` reads it.
    """
    found: dict[str, Any] = {}
    for field, (wire_name, is_list, scalar) in _query_fields(name).items():
        values = request.GET.getlist(wire_name)
        if values:
            parsed = [_scalar(wire_name, value, scalar) for value in values]
            found[field] = list(dict.fromkeys(parsed)) if is_list else parsed[-1]
    _, default_limit, max_limit = QUERIES[name]
    if max_limit:
        limit = found.setdefault("limit", default_limit)
        if not 1 <= limit <= max_limit:
            raise Invalid(f"limit: must be between 1 and {max_limit}.")
    return found


@cache
def _query_fields(name: str) -> dict[str, tuple[str, bool, Any]]:
    """Python name -> (name on the wire, whether it repeats, the type of one value)."""
    with _building:
        source = _sdk_type(QUERIES[name][0])
    fields = {}
    for field, hint in get_type_hints(source, include_extras=True).items():
        if field in NOT_IN_BODY - IN_BODY.get(source.__name__, set()):
            continue
        hint = _without_wrappers(hint)
        is_list = get_origin(hint) in (list, Sequence, Iterable)
        stem, _, end = field.rpartition("_")
        wire_name = f"{stem}[{end}]" if end in RANGES else field
        fields[field] = (f"{field}[]" if is_list else wire_name, is_list, get_args(hint)[0] if is_list else hint)
    return fields


def _without_wrappers(hint: Any) -> Any:
    """The one type a query value has: `Required[...]`, `Optional[...]` and `str | datetime` peeled off."""
    if get_origin(hint) in (Required, NotRequired, Annotated):
        return _without_wrappers(get_args(hint)[0])
    if get_origin(hint) in (Union, types.UnionType):
        members = [member for member in get_args(hint) if member is not type(None)]
        return datetime if datetime in members else _without_wrappers(members[0])
    return hint


def _scalar(name: str, text: str, kind: Any) -> Any:
    if "\x00" in text:
        raise Invalid(f"{name}: holds a NUL character.")
    if kind is int:
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdigit() and len(digits) < 19):
            raise Invalid(f"{name}: {text[:40]!a} is not a whole number.")
        return int(text)
    if kind is bool:
        if text not in {"true", "false"}:
            raise Invalid(f"{name}: must be true or false.")
        return text == "true"
    if kind is datetime:
        return _moment(name, text)
    if get_origin(kind) is Literal and text not in get_args(kind):
        raise Invalid(f"{name}: {text[:80]!a} is not one of {', '.join(get_args(kind))}.")
    return text


def _moment(name: str, text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text.replace(" ", "+"))  # an unescaped + arrives as a space
        moment.timestamp()
    except (ValueError, OverflowError) as exc:
        raise Invalid(f"{name}: {text[:40]!a} is not a time such as 2026-11-22T09:30:00Z.") from exc
    if moment.tzinfo is None:
        raise Invalid(f"{name}: add the offset from UTC, such as Z or +02:00.")
    return moment
