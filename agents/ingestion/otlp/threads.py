"""Which thread of the session each span belongs to: agents become threads."""

from __future__ import annotations

from dataclasses import dataclass, field

from agents.ingestion.model import PRIMARY
from agents.ingestion.otlp.forest import Node
from agents.ingestion.otlp.span import OWN_THREAD
from agents.ingestion.otlp.thread_log import bounded

NAMELESS = "assistant"


@dataclass(slots=True)
class Agent:
    """One thread. `node` is the span that started it; null for the primary thread of a session of several agents."""

    key: str
    name: str
    parent: Agent | None = None
    node: Node | None = None
    nested: bool = False  # started by another agent, not by the session
    model: str = ""


@dataclass
class Threads:
    """The threads of a session, the primary first, and where each span stands.

    Agents without another agent above them are turns of one thread when they have one name. When there is only one
    such name, and no model was asked outside of it, that agent is the session's primary thread; else the session is.
    """

    primary: Agent
    all: dict[str, Agent] = field(default_factory=dict)
    of_node: dict[Node, Agent] = field(default_factory=dict)
    of_node_started: dict[Node, Agent] = field(default_factory=dict)

    def of(self, node: Node) -> Agent:
        """The thread on which a span's work is told: its own agent's; for an agent, the one that started it."""
        return self.of_node.get(node, self.primary)

    def started_by(self, node: Node) -> Agent | None:
        """The thread that an agent's span (or a tool's that stands for one) starts or continues."""
        return self.of_node_started.get(node)


def assign(nodes: list[Node]) -> Threads:
    starters = [node for node in nodes if _starts(node)]
    tops = [node for node in starters if not _is_nested(node)]
    names = dict.fromkeys(_name_of(node) for node in tops)
    single = len(names) == 1 and not any(n.kind == "model" and not n.wraps and _starter_above(n) is None for n in nodes)
    if single:
        primary = Agent(PRIMARY, tops[0].reading.name or NAMELESS, node=tops[0])
    else:
        primary = Agent(PRIMARY, _session_name(nodes))
    threads = Threads(primary, {PRIMARY: primary})
    for node in nodes:
        above = _starter_above(node)
        base = threads.of_node_started[above] if above is not None else primary
        explicit = node.span.attributes.get(OWN_THREAD)
        if isinstance(explicit, str) and explicit and above is None and not _starts(node):
            base = _get(threads, f"thread:{bounded(explicit)}", explicit, primary, node)
        threads.of_node[node] = base
        if _starts(node):
            threads.of_node_started[node] = _start(threads, node, base, single=single)
        if node.kind == "model" and node.reading.model and not base.model:
            base.model = node.reading.model
    return threads


def _start(threads: Threads, node: Node, base: Agent, *, single: bool) -> Agent:
    name = _name_of(node)
    if _is_nested(node):
        agent = _get(threads, f"agent:{node.span.trace_id}:{node.span.span_id}", name, base, node)
        agent.nested = True
    elif single:
        agent = threads.primary
    else:
        agent = _get(threads, f"agent:{bounded(_name_of(node))}", name, threads.primary, node)
    agent.model = agent.model or node.reading.model
    return agent


def _get(threads: Threads, key: str, name: str, parent: Agent, node: Node) -> Agent:
    return threads.all.setdefault(key, Agent(key, name or NAMELESS, parent, node))


def _starts(node: Node) -> bool:
    return node.kind == "agent" or (node.kind == "tool" and node.reading.spawns and node.has_model)


def _is_nested(node: Node) -> bool:
    """Started by another agent, or by a tool call of the session's own."""
    return node.kind == "tool" or node.tool is not None or _starter_above(node) is not None


def _starter_above(node: Node) -> Node | None:
    return next((above for above in node.ancestors() if _starts(above)), None)


def _name_of(node: Node) -> str:
    if node.kind == "tool" and isinstance(node.reading.arguments, dict):
        named = node.reading.arguments.get("subagent_type") or node.reading.arguments.get("name")
        return str(named or "sub-agent")[:200]
    return node.reading.name[:200] or NAMELESS


def _session_name(nodes: list[Node]) -> str:
    """The session's own name where no single agent gives it: its first root span's, or its service's."""
    roots = [node for node in nodes if node.parent is None]
    if not roots:
        return NAMELESS
    root = roots[0]
    service = root.span.resource.get("service.name")
    named = root.span.name if root.kind == "other" else ""
    if named or not isinstance(service, str) or service.startswith("unknown_service"):
        return (named or NAMELESS)[:200]
    return service[:200]
