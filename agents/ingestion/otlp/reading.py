"""What a span tells, whichever convention it follows."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

from agents.ingestion.otlp.messages import Message
from agents.ingestion.otlp.span import Span

Kind = Literal["agent", "model", "tool", "other"]
COUNTERS = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
MAX_TOKENS = 10**9


@dataclass(slots=True)
class Reading:
    """`kind` decides what becomes of the span: an agent's thread, a model request, a tool call, or a note.

    `used` names the attributes that are told by events; a name that ends in a dot stands for all that begin so.
    Everything else is kept beside the event. `spawns`: a tool whose own model requests are a sub-agent's.
    """

    kind: Kind = "other"
    name: str = ""
    model: str = ""
    inputs: list[Message] = field(default_factory=list)
    outputs: list[Message] = field(default_factory=list)
    usage: dict[str, int] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    call_id: str = ""
    arguments: Any = None
    result: Any = None
    failed: bool = False
    spawns: bool = False
    content: bool = False
    used: tuple[str, ...] = ()


def first(span: Span, *names: str) -> Any:
    """The first of these attributes that says anything."""
    attributes = span.attributes
    for name in names:
        value = attributes.get(name)
        if value is not None and value != "":
            return value
    return None


def text(span: Span, *names: str) -> str:
    value = first(span, *names)
    return value if isinstance(value, str) else "" if value is None else str(value)


def count(span: Span, *names: str) -> int:
    """A number of tokens; anything but a plausible one counts as nothing."""
    value = first(span, *names)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 11:
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 < value <= MAX_TOKENS else 0


def usage(
    total_in: int, out: int, cache_read: int = 0, cache_written: int = 0, *, whole: bool = True
) -> dict[str, int]:
    """Counters as the wire has them. `whole`: the source counts cached tokens among the input as well."""
    cached = cache_read + cache_written
    fresh = total_in - cached if whole and total_in >= cached else total_in
    return dict(zip(COUNTERS, (fresh, out, cache_read, cache_written), strict=True))


def unused(span: Span, used: tuple[str, ...]) -> dict[str, Any]:
    """The attributes that no event tells."""
    exact, prefixes = _split(used)
    if not prefixes:
        return {key: value for key, value in span.attributes.items() if key not in exact}
    return {key: value for key, value in span.attributes.items() if key not in exact and not key.startswith(prefixes)}


@lru_cache(maxsize=64)
def _split(used: tuple[str, ...]) -> tuple[frozenset[str], tuple[str, ...]]:
    exact = frozenset(name for name in used if not name.endswith("."))
    return exact, tuple(name for name in used if name.endswith("."))


def numbered(span: Span, prefix: str) -> list[dict[str, Any]]:
    """Flattened lists such as `gen_ai.prompt.0.content`: one object per number, in order, nested by their dots."""
    found: dict[int, dict[str, Any]] = {}
    for key, value in span.attributes.items():
        if key.startswith(prefix):
            number, _, rest = key[len(prefix) :].partition(".")
            if number.isascii() and number.isdigit() and len(number) < 7 and rest:
                found.setdefault(int(number), {})[rest] = value
    return [nested(found[number]) for number in sorted(found)]


def nested(flat: dict[str, Any], depth: int = 0) -> dict[str, Any]:
    """`{"a.0.b": 1}` as `{"a": [{"b": 1}]}`. Only ever read by us: never stored or merged into anything."""
    result: dict[str, Any] = {}
    groups: dict[str, dict[str, Any]] = {}
    for key, value in flat.items():
        head, _, rest = key.partition(".")
        if rest and depth < 8:
            groups.setdefault(head, {})[rest] = value
        else:
            result[key if rest else head] = value
    for head, inner in groups.items():
        numbers: dict[int, dict[str, Any]] = {}
        for key, value in inner.items():
            number, _, rest = key.partition(".")
            if number.isascii() and number.isdigit() and len(number) < 7:
                numbers.setdefault(int(number), {})[rest or "value"] = value
        if numbers and len(numbers) <= len(inner) and all(k.partition(".")[0].isdigit() for k in inner):
            result[head] = [nested(numbers[number], depth + 1) for number in sorted(numbers)]
        else:
            result[head] = nested(inner, depth + 1)
    return result
