"""What the teller asks of single spans: when they begin and end, what they ask for, what went wrong in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agents.ingestion.blocks import as_text
from agents.ingestion.otlp.forest import Node

TASK_KEYS = ("prompt", "task", "message", "instructions", "request", "query", "question", "input", "description")


def moments(nodes: list[Node]) -> Iterator[tuple[Node, bool]]:
    """Every beginning and end in order of time; at one time, in the order of the forest."""
    marks: list[tuple[int, int, Node, bool]] = []
    number = 0
    open_nodes: list[Node] = []
    for node in [*nodes, None]:
        while open_nodes and (node is None or node.parent is not open_nodes[-1]):
            ended = open_nodes.pop()
            marks.append((ended.end, number, ended, False))
            number += 1
        if node is not None:
            marks.append((node.start, number, node, True))
            open_nodes.append(node)
            number += 1
    marks.sort(key=lambda mark: mark[:2])
    for _, _, node, begins in marks:
        yield node, begins


def task_of(tool: Node) -> str:
    """What a delegating call asks for."""
    given = tool.reading.arguments
    if isinstance(given, str):
        return given
    if isinstance(given, dict):
        return next((given[key] for key in TASK_KEYS if isinstance(given.get(key), str) and given[key]), "")
    return ""


def says_error(result: Any) -> bool:
    """MCP's way to say in a result that the tool failed."""
    return isinstance(result, dict) and (result.get("isError") is True or result.get("is_error") is True)


def error_text(node: Node) -> str:
    span = node.span
    if span.status_message:
        return span.status_message
    for event in span.events:
        if event["name"] == "exception":
            told = (event["attributes"].get(key) for key in ("exception.message", "exception.type"))
            if text := next((as_text(value) for value in told if value), ""):
                return text
    return as_text(span.attributes.get("error.type") or span.attributes.get("error.message")) or f"{span.name} failed"
