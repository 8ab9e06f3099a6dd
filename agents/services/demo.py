"""The demo's sessions and their files. Everything in it is simulated and says so."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.utils import timezone

from agents.ids import FILE, SESSION_RESOURCE, new_id
from agents.models import Agent, File, Session, SessionResource, Workspace
from agents.services import demo_agents
from agents.services.blobs import store_many
from agents.services.demo_agents import SECTIONS
from agents.services.events import send_events
from agents.services.sandboxes import UPLOADS
from agents.services.sessions import create_session
from agents.simulator.build_logs import generate

PIPELINES = 12
SEED = 7
TEAM_PIPELINES = 200
TEAM_SEED = 11
TEAM_LINES = (200, 600)  # of each of the many logs: creating the demo is part of the first start
SENDER = "the demo"
FIND_CAUSES = (
    "The logs of last night's builds are in /mnt/session/uploads. Find the cause of each failure "
    "and write a report to /mnt/session/outputs/report.md."
)
CLEAN_UP = "bash: ls -la /workspace\nbash: rm -rf /workspace/build"
DRAFT = "Write a report on the checkout outage of 16 November, from the notes that were uploaded:\n" + "\n".join(
    f"- {section}" for section in SECTIONS
)
NOTES = {
    "incident-channel.md": """\
# Timeline
- 09:02 version 418 of checkout is deployed to all regions
- 09:11 the first customers report that payment hangs
- 09:19 on call is paged; the error rate of checkout is at 34 %
- 09:41 version 418 is taken back
- 09:48 the error rate is normal again
# Impact
- 2,140 orders could not be paid between 09:11 and 09:48
- Support answered 96 tickets about it
""",
    "review-notes.md": """\
# Cause
- Version 418 asks the address service on every keystroke, without a time limit
- The load test had no addresses in it, so the slow calls were never made
# Next steps
- Give calls to the address service a time limit of 300 ms
- Add addresses to the load test
# Open questions
- Why did the alert need eight minutes? The timeline of the alert rules is not known
- The impact on partners who use the API is being counted
- A cause that made it worse: retries without a pause
""",
}


@transaction.atomic
def create_demo(workspace: Workspace) -> list[Session]:
    """Create the demo sessions; a worker carries them out."""
    sessions = [
        start_triage(workspace),
        start_waiting(workspace),
        start_team_triage(workspace),
        start_drafting(workspace),
        start_blocked_team(workspace),
    ]
    workspace.demo_ran_at = timezone.now()
    workspace.save(update_fields=["demo_ran_at"])
    return sessions


def start_triage(workspace: Workspace) -> Session:
    """One agent reads a dozen logs."""
    logs = {log.name: log.text for log in generate(PIPELINES, SEED)}
    agent = demo_agents.triage_agent(workspace)
    return _start(workspace, agent, f"Why did these {PIPELINES} builds fail?", FIND_CAUSES, logs)


def start_waiting(workspace: Workspace) -> Session:
    """One agent whose commands need a person's approval."""
    agent = demo_agents.careful_operator(workspace)
    return _start(workspace, agent, "Clean up the work folder (waits for a person)", CLEAN_UP)


def start_team_triage(workspace: Workspace) -> Session:
    """A lead with 20 agents in its roster, 25 of which read 200 logs at the same time."""
    logs = {log.name: log.text for log in generate(TEAM_PIPELINES, TEAM_SEED, lines=TEAM_LINES)}
    agent = demo_agents.triage_lead(workspace)
    return _start(workspace, agent, f"Why did these {TEAM_PIPELINES} builds fail? A team finds out", FIND_CAUSES, logs)


def start_drafting(workspace: Workspace) -> Session:
    """An editor and a writer for each section."""
    agent = demo_agents.drafting_lead(workspace)
    return _start(workspace, agent, "Draft a report on an outage, section by section", DRAFT, NOTES)


def start_blocked_team(workspace: Workspace) -> Session:
    """A lead whose agent needs a person's approval: both wait, with nothing running."""
    agent = demo_agents.approval_lead(workspace)
    return _start(workspace, agent, "Maintenance by a team (waits for a person)", CLEAN_UP)


def _start(workspace: Workspace, agent: Agent, title: str, text: str, files: dict[str, str] | None = None) -> Session:
    environment = demo_agents.environment(workspace)
    values = {"agent": agent.public_id, "environment_id": environment.public_id, "title": title}
    session = create_session(workspace, values=values, sender=SENDER)
    _mount(session, files or {})
    send_events(session, events=[_message(text)], by=SENDER)
    session.refresh_from_db()
    return session


def _mount(session: Session, files: dict[str, str]) -> None:
    """Put files into a session in a few statements, however many they are."""
    contents = [text.encode() for text in files.values()]
    now = timezone.now()
    mounts = [
        File(
            public_id=new_id(FILE),
            workspace=session.workspace,
            session=session,
            kind=File.Kind.MOUNT,
            filename=name,
            mime_type="text/markdown" if name.endswith(".md") else "text/plain",
            size_bytes=len(content),
            sha256=sha256,
            path=f"{UPLOADS}/{name}",
            created_at=now,
            updated_at=now,
        )
        for name, content, sha256 in zip(files, contents, store_many(contents), strict=True)
    ]
    File.objects.bulk_create(mounts)
    SessionResource.objects.bulk_create(
        SessionResource(public_id=new_id(SESSION_RESOURCE), session=session, file=file, mount_path=file.path)
        for file in mounts
    )


def _message(text: str) -> dict[str, Any]:
    return {"type": "user.message", "content": [{"type": "text", "text": text}]}
