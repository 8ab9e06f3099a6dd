"""The demo's agents, files and sessions. Everything in it is simulated and says so."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.utils import timezone

from agents.models import Agent, Environment, Session, Workspace
from agents.services.agents import create_agent
from agents.services.blobs import store_bytes
from agents.services.environments import create_environment
from agents.services.files import create_upload
from agents.services.sessions import create_session
from agents.simulator.build_logs import generate

TOOLSET = {"type": "agent_toolset_20260401"}
CAREFUL_TOOLSET = {
    "type": "agent_toolset_20260401",
    "configs": [{"name": "bash", "permission_policy": {"type": "always_ask"}}],
}
PIPELINES = 12
SEED = 7


@transaction.atomic
def create_demo(workspace: Workspace) -> list[Session]:
    """Create the demo sessions; a worker carries them out."""
    environment = _environment(workspace)
    triage = _agent(
        workspace,
        "Build-log triage",
        "simulated/build-log-triage",
        [TOOLSET],
        "You find out why builds failed. Read the logs, name each cause and quote the line that shows it.",
    )
    careful = _agent(
        workspace,
        "Careful operator",
        "simulated/tools",
        [CAREFUL_TOOLSET],
        "You run maintenance commands. A person confirms each command first.",
    )
    sessions = [
        create_session(
            workspace,
            values={
                "agent": triage.public_id,
                "environment_id": environment.public_id,
                "title": f"Why did these {PIPELINES} builds fail?",
                "resources": _logs(workspace),
                "initial_events": [
                    _message(
                        "The logs of last night's builds are in /mnt/session/uploads. Find the cause of each failure "
                        "and write a report to /mnt/session/outputs/report.md."
                    )
                ],
            },
            sender="the demo",
        ),
        create_session(
            workspace,
            values={
                "agent": careful.public_id,
                "environment_id": environment.public_id,
                "title": "Clean up the work folder (waits for a person)",
                "initial_events": [_message("bash: ls -la /workspace\nbash: rm -rf /workspace/build")],
            },
            sender="the demo",
        ),
    ]
    workspace.demo_ran_at = timezone.now()
    workspace.save(update_fields=["demo_ran_at"])
    return sessions


def _environment(workspace: Workspace) -> Environment:
    name = "Demo"
    found = Environment.objects.in_workspace(workspace).filter(name=name, archived_at__isnull=True).first()
    return found or create_environment(
        workspace, definition={"name": name, "description": "Where the demo's sessions run."}
    )


def _agent(workspace: Workspace, name: str, model: str, tools: list[dict[str, Any]], system: str) -> Agent:
    found = Agent.objects.in_workspace(workspace).filter(name=name, archived_at__isnull=True).first()
    definition = {"name": name, "model": model, "tools": tools, "system": system}
    return found or create_agent(workspace, definition=definition)


def _logs(workspace: Workspace) -> list[dict[str, Any]]:
    """Generated logs as uploads, each with the path it is mounted at."""
    resources = []
    for log in generate(PIPELINES, SEED):
        name = log.name.rsplit("/", 1)[-1]
        data = log.text.encode()
        file = create_upload(
            workspace, filename=name, mime_type="text/plain", sha256=store_bytes(data), size_bytes=len(data)
        )
        resources.append({"type": "file", "file_id": file.public_id, "mount_path": f"/{log.name}"})
    return resources


def _message(text: str) -> dict[str, Any]:
    return {"type": "user.message", "content": [{"type": "text", "text": text}]}
