"""The spans of a session as a forest, whatever order they came in and whatever their parents claim."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from agents.ingestion.otlp.dialects import read_span
from agents.ingestion.otlp.reading import Reading
from agents.ingestion.otlp.span import Span, unique_spans


@dataclass(slots=True, eq=False)
class Node:
    """A span in its place. `start` and `end` are its times for ordering: never before the parent's start."""

    span: Span
    reading: Reading
    parent: Node | None = None
    children: list[Node] = field(default_factory=list)
    start: int = 0
    end: int = 0
    agent: Node | None = None  # the nearest ancestor that is an agent
    tool: Node | None = None  # the nearest tool call between that agent and this span
    has_model: bool = False  # a model request further down, with no agent or tool between
    failed_below: bool = False
    wraps: bool = False  # a model request told by a span further down

    @property
    def kind(self) -> str:
        return self.reading.kind

    def ancestors(self) -> Iterator[Node]:
        at = self.parent
        while at is not None:
            yield at
            at = at.parent


def grow(spans: list[Span]) -> list[Node]:
    """Every span once, each parent before its children, siblings by time: the same for every order of `spans`.

    A parent that is not there makes a root. A circle of parents is cut at its earliest span.
    """
    ordered = sorted(unique_spans(spans), key=lambda s: (s.start or s.end, s.end, s.trace_id, s.span_id))
    nodes = [Node(span, read_span(span)) for span in ordered]
    by_id = {(node.span.trace_id, node.span.span_id): node for node in nodes}
    for node in nodes:
        node.parent = by_id.get((node.span.trace_id, node.span.parent_id)) if node.span.parent_id else None
    _cut_circles(nodes)
    for node in nodes:
        if node.parent is not None:
            node.parent.children.append(node)
    walked = list(_walk([node for node in nodes if node.parent is None]))
    for node in walked:
        _settle(node)
    for node in reversed(walked):
        _look_down(node)
    return walked


def _cut_circles(nodes: list[Node]) -> None:
    """`nodes` are by time, so the first of a circle that is met is its earliest."""
    safe: set[Node] = set()
    for node in nodes:
        path: list[Node] = []
        on_path: set[Node] = set()
        at: Node | None = node
        while at is not None and at not in safe and at not in on_path:
            path.append(at)
            on_path.add(at)
            at = at.parent
        if at is not None and at in on_path:
            circle = path[path.index(at) :]
            earliest = min(circle, key=lambda n: (n.span.start or n.span.end, n.span.end, n.span.span_id))
            earliest.parent = None
            earliest.span.notes["parents_went_in_a_circle"] = True
        safe |= on_path


def _walk(roots: list[Node]) -> Iterator[Node]:
    waiting = roots[::-1]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += node.children[::-1]


def _settle(node: Node) -> None:
    span, parent = node.span, node.parent
    node.start, node.end = span.start or span.end, span.end or span.start
    if parent is not None:
        node.start = max(node.start, parent.start)
        node.agent = parent if parent.kind == "agent" else parent.agent
        node.tool = parent if parent.kind == "tool" else None if parent.kind == "agent" else parent.tool
    node.end = max(node.end, node.start)


def _look_down(node: Node) -> None:
    for child in node.children:
        node.failed_below = node.failed_below or child.failed_below or child.reading.failed
        if child.kind == "model" or (child.kind == "other" and child.has_model):
            node.has_model = True
    if node.kind == "model" and node.has_model:
        node.wraps = True
        _hand_down(node)


def _hand_down(outer: Node) -> None:
    """Where only the outer of two spans of one request has the content, the inner gets it."""
    inner = [n for n in _walk(outer.children[:]) if n.kind == "model" and not n.wraps]
    if not inner:
        return
    if not any(n.reading.inputs for n in inner):
        inner[0].reading.inputs = outer.reading.inputs
    if not any(n.reading.outputs for n in inner):
        inner[-1].reading.outputs = outer.reading.outputs
    for name, value in outer.reading.usage.items():
        if len(inner) == 1 and not inner[0].reading.usage.get(name):
            inner[0].reading.usage[name] = value
