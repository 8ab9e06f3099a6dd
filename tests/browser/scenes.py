"""A workspace with something on every page, and the addresses of all of them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import time_machine
from django.utils import timezone

from agents.models import File
from agents.services import agents as agent_services
from agents.services import blobs
from agents.services.keys import create_api_key
from tests import factories


def furnish(workspace: Any) -> dict[str, str]:
    """Name and address of every page, in all the states that look different."""
    agent = factories.make_agent(
        workspace,
        name="Build-log triage",
        description="Finds what broke in build logs, and why.",
        system="You triage build logs.\n\n- grep first\n- then read",
    )
    agent_services.update_agent(agent, changes={"system": "You triage build logs.\n\n- grep first\n- read around it"})
    create_api_key(workspace, name="nightly job", by=None)
    done = _finished(workspace, agent)
    waiting = factories.make_session(workspace, agent=agent, title="Clean the workspace")
    call = factories.ask(waiting, "bash", {"command": "rm -rf /workspace/build"})
    running = factories.make_session(workspace, agent=agent, title="Look at tonight's logs", says="Go on")
    factories.turn(running, "I begin with the **longest** log.")
    failed = factories.make_session(workspace, agent=agent, title="Summarise the incident", says="Please")
    error = {"type": "model_overloaded_error", "message": "Overloaded", "retry_status": {"type": "exhausted"}}
    factories.write_one(failed, "session.error", {"error": error})
    factories.stop(failed, "retries_exhausted")
    imported = factories.make_imported(workspace, title="Which city is on the horizon?", events=40, failure=17)
    event = done.events.filter(type="agent.tool_use").first()
    return {
        "home": "/",
        "sessions": "/sessions",
        "nothing-found": "/sessions?q=nothing+like+this",
        "new-session": "/sessions/new",
        "session": f"/sessions/{done.public_id}",
        "waiting": f"/sessions/{waiting.public_id}",
        "running": f"/sessions/{running.public_id}",
        "failed": f"/sessions/{failed.public_id}",
        "imported": f"/sessions/{imported.public_id}",
        "permalink": f"/sessions/{waiting.public_id}?events=all&event={call.use_event.public_id}",
        "event": f"/sessions/{done.public_id}/events/{event.public_id}",
        "agents": "/agents",
        "agent": f"/agents/{agent.public_id}",
        "compare": f"/agents/{agent.public_id}/compare",
        "edit-agent": f"/agents/{agent.public_id}/edit",
        "environments": "/environments",
        "environment": f"/environments/{done.environment.public_id}",
        "new-environment": "/environments/new",
        "keys": "/keys",
        "not-found": "/nowhere",
    }


def _finished(workspace: Any, agent: Any) -> Any:
    """A session that two agents worked on for a minute, an hour ago."""
    with time_machine.travel(timezone.now() - timedelta(hours=1), tick=False) as clock:
        session = factories.make_session(
            workspace, agent=agent, title="Why did the nightly build fail?", says="Find the cause of each failure."
        )
        clock.shift(1)
        factories.take_up(session)
        factories.turn(session, "I list the logs and read each one that has a failure.", pass_time=clock.shift)
        child = factories.make_child(session, "north")
        for number, cause in enumerate(("`No space left on device`", "an expired certificate"), start=1):
            clock.shift(0.4)
            factories.turn(session, f"**Log {number}** ends with {cause}.\n\n1. grep\n2. read", pass_time=clock.shift)
            clock.shift(0.8)
            said = {"content": factories.text(f"Log {number} was green on Monday.")}
            factories.write_one(session, "agent.message", said, thread=child)
        clock.shift(0.5)
        factories.stop(session)
        File.objects.create(
            workspace=workspace,
            session=session,
            kind=File.Kind.OUTPUT,
            filename="report.md",
            mime_type="text/markdown",
            size_bytes=2_048,
            sha256=blobs.store_bytes(b"# Report"),
            path="/mnt/session/outputs/report.md",
        )
    session.refresh_from_db()
    return session
