"""The demo's agents and where they work. Each is found by its name, or created."""

from __future__ import annotations

from typing import Any

from agents.models import Agent, Environment, Workspace
from agents.services.agents import create_agent, update_agent
from agents.services.environments import create_environment
from agents.simulator.build_log_phrases import SERVICES

Wire = dict[str, Any]

TOOLSET: Wire = {"type": "agent_toolset_20260401"}
CAREFUL_TOOLSET: Wire = {
    "type": "agent_toolset_20260401",
    "configs": [{"name": "bash", "permission_policy": {"type": "always_ask"}}],
}
SECTIONS = ("Timeline", "Impact", "Cause", "Next steps")
WRITERS = tuple(f"Writer: {section}" for section in SECTIONS)
TRIAGE = "You find out why builds failed. Read the logs, name each cause and quote the line that shows it."


def environment(workspace: Workspace) -> Environment:
    name = "Demo"
    found = Environment.objects.in_workspace(workspace).filter(name=name, archived_at__isnull=True).first()
    return found or create_environment(
        workspace, definition={"name": name, "description": "Where the demo's sessions run."}
    )


def triage_agent(workspace: Workspace) -> Agent:
    return _agent(workspace, "Build-log triage", "simulated/build-log-triage", TRIAGE)


def triage_lead(workspace: Workspace) -> Agent:
    """A lead with a specialist for each of the services whose logs the demo generates."""
    specialists = [
        _agent(
            workspace,
            f"Triage: {service.name}",
            "simulated/build-log-triage",
            TRIAGE,
            description=f"Reads the build logs of {service.name}.",
        )
        for service in SERVICES
    ]
    return _lead(
        workspace,
        "Triage lead",
        "simulated/triage-lead",
        "You have specialists find out why builds failed, all at the same time, and merge what they report.",
        specialists,
    )


def drafting_lead(workspace: Workspace) -> Agent:
    writers = [
        _agent(
            workspace,
            name,
            "simulated/drafting-writer",
            "You write one section of a document from the sources you are given. Name the source of every statement.",
        )
        for name in WRITERS
    ]
    return _lead(
        workspace,
        "Editor",
        "simulated/drafting-lead",
        "You plan a document, have each section written by another agent, and merge the sections.",
        writers,
    )


def careful_operator(workspace: Workspace) -> Agent:
    return _agent(
        workspace,
        "Careful operator",
        "simulated/tools",
        "You run maintenance commands. A person confirms each command first.",
        tools=CAREFUL_TOOLSET,
    )


def approval_lead(workspace: Workspace) -> Agent:
    return _lead(
        workspace,
        "Maintenance lead",
        "simulated/approval-lead",
        "You hand maintenance work to the operator and wait for what comes of it.",
        [careful_operator(workspace)],
    )


def _agent(
    workspace: Workspace, name: str, model: str, system: str, *, description: str = "", tools: Wire = TOOLSET
) -> Agent:
    definition = {"name": name, "model": model, "tools": [tools], "system": system, "description": description or None}
    return _found(workspace, name) or create_agent(workspace, definition=definition)


def _lead(workspace: Workspace, name: str, model: str, system: str, members: list[Agent]) -> Agent:
    """An agent with exactly these members: one that was archived meanwhile could not start a session."""
    team = {"type": "coordinator", "agents": [member.public_id for member in members]}
    found = _found(workspace, name)
    if found is not None:
        return update_agent(found, changes={"multiagent": team})
    definition = {"name": name, "model": model, "tools": [TOOLSET], "system": system, "multiagent": team}
    return create_agent(workspace, definition=definition)


def _found(workspace: Workspace, name: str) -> Agent | None:
    return Agent.objects.in_workspace(workspace).filter(name=name, archived_at__isnull=True).first()
