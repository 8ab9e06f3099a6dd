"""A workspace with something on every page, and the addresses of all of them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import F

from agents.models import File, Session
from agents.services import agents as agent_services
from agents.services import blobs
from agents.services.keys import create_api_key
from tests import factories
from tests.console import teams


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
    crowd = _crowd(workspace)
    return {
        "home": "/",
        "sessions": "/sessions",
        "nothing-found": "/sessions?q=nothing+like+this",
        "new-session": "/sessions/new",
        "session": f"/sessions/{done.public_id}",
        "waiting": f"/sessions/{waiting.public_id}",
        "running": f"/sessions/{running.public_id}",
        "team": f"/sessions/{crowd.public_id}",
        "lead": f"/agents/{crowd.agent.public_id}",
        "edit-lead": f"/agents/{crowd.agent.public_id}/edit",
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


def _crowd(workspace: Any) -> Any:
    """A lead that waits for twenty-five agents: some have reported, one has failed, one waits for a person."""
    names = ("north", "south", "east", "west")
    members = [teams.make_member(workspace, name, description=f"Reads the logs of the {name}") for name in names]
    lead = teams.make_lead(workspace, *members, name="Night shift", inline=True)
    session = factories.make_session(workspace, agent=lead, title="Triage of the night", says="Find every cause.")
    factories.take_up(session)
    children = [teams.delegate(session, names[n % 4], f"Find the cause in pipeline {n + 1}.") for n in range(25)]
    for number, child in enumerate(children[:9], start=1):
        teams.report(session, child, f"Pipeline {number}: the certificate expired on Tuesday.")
    teams.report(session, children[9], "This agent could not finish its task.", kind="failure")
    teams.refuse(session, "spawn_agent", "There are 25 agents already, which is the most at a time; idle ones count.")
    teams.ask(session, children[10], {"command": "rm -rf /workspace/build"}, "The old build is in the way.")
    teams.wait(session, *children)
    session.refresh_from_db()
    return session


def _finished(workspace: Any, agent: Any) -> Any:
    """A session that two agents worked on for a quarter of a minute, an hour ago."""
    session = factories.make_session(
        workspace, agent=agent, title="Why did the nightly build fail?", says="Find the cause of each failure."
    )

    def pass_time(seconds: float) -> None:
        """The log keeps the database's time, so time goes by when all that happened becomes older."""
        gone = timedelta(seconds=seconds)
        for rows, fields in (
            (session.events.all(), ("created_at", "processed_at")),
            (session.threads.all(), ("created_at", "active_since")),
            (session.tool_calls.all(), ("started_at", "ended_at")),
            (Session.objects.filter(pk=session.pk), ("created_at", "active_since")),
        ):
            rows.update(**{field: F(field) - gone for field in fields})

    pass_time(1)
    factories.take_up(session)
    factories.turn(session, "I list the logs and read each one that has a failure.", pass_time=pass_time)
    child = teams.delegate(session, "north", "Read the green logs and say since when each was green.")
    call = teams.wait(session, child)
    for number, cause in enumerate(("`No space left on device`", "an expired certificate"), start=1):
        pass_time(0.4)
        factories.turn(session, f"**Log {number}** ends with {cause}.\n\n1. grep\n2. read", pass_time=pass_time)
        pass_time(0.8)
        said = {"content": factories.text(f"Log {number} was green on Monday.")}
        factories.write_one(session, "agent.message", said, thread=child)
    teams.report(session, child, "Both logs were green until Monday; the certificate expired on Tuesday.")
    teams.end_wait(session, call)
    pass_time(0.5)
    factories.stop(session)
    pass_time(3_600)
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
