"""Rows as the API shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson
from django.utils import timezone

from agents.models import Event, Session, SessionResource, Thread
from agents.services.status import budget_wire, session_usage_wire, usage_wire


def moment(value: datetime | None) -> str | None:
    """RFC 3339 in UTC with `Z`."""
    return None if value is None else value.isoformat(timespec="microseconds").replace("+00:00", "Z")


def event_text(event: Event) -> str:
    """One event as JSON text: its stored fields between those every event has. Never parsed on the way."""
    head = f'{{"id":"{event.public_id}","type":"{event.type}","processed_at":'
    at = moment(event.processed_at)
    head += "null" if at is None else f'"{at}"'
    rest = event.payload[1:]
    return f"{head}}}" if rest == "}" else f"{head},{rest}"


def event_fragment(event: Event) -> orjson.Fragment:
    return orjson.Fragment(event_text(event))


def queued_copy(event: Event) -> Event:
    """The event as it was when it was queued: not processed yet."""
    copy = Event(public_id=event.public_id, type=event.type, payload=event.payload)
    copy.processed_at = None
    return copy


def session_wire(session: Session) -> dict[str, Any]:
    """A session in full. Expects `environment` and `resources__file` to be loaded for lists."""
    now = timezone.now()
    end = session.terminated_at or now
    return {
        "id": session.public_id,
        "type": "session",
        "agent": session.agent_snapshot,
        "archived_at": moment(session.archived_at),
        "budget": budget_wire(session),
        "created_at": moment(session.created_at),
        "deployment_id": None,
        "environment_id": session.environment.public_id,
        "metadata": session.metadata,
        "outcome_evaluations": [],
        "resources": [resource_wire(resource) for resource in session.resources.all()],
        "stats": {
            "active_seconds": round(session.active_seconds_at(now), 3),
            "duration_seconds": round((end - session.created_at).total_seconds(), 3),
        },
        "status": session.status,
        "title": session.title,
        "updated_at": moment(session.updated_at),
        "usage": session_usage_wire(session, active_seconds=session.active_seconds_at(now)),
        "vault_ids": [],
    }


def resource_wire(resource: SessionResource) -> dict[str, Any]:
    return {
        "id": resource.public_id,
        "type": "file",
        "created_at": moment(resource.created_at),
        "file_id": resource.file.public_id,
        "mount_path": resource.mount_path,
        "updated_at": moment(resource.updated_at),
    }


def thread_wire(thread: Thread, session: Session, parent_id: str | None) -> dict[str, Any]:
    now = timezone.now()
    is_over = thread.status == Thread.Status.TERMINATED
    has_moved = thread.turn_no > 0 or is_over or (session.is_imported and thread.event_count > 0)
    has_rested = thread.turn_no > 0 and (is_over or thread.status == Thread.Status.IDLE or thread.active_ms > 0)
    active = round(thread.active_seconds_at(now), 3)
    end = session.terminated_at or now if session.is_imported else thread.updated_at if is_over else now
    agent = {key: value for key, value in thread.agent_snapshot.items() if key != "multiagent"}
    stats = {
        "active_seconds": active,
        "duration_seconds": round((end - thread.created_at).total_seconds(), 3),
        "startup_seconds": 0.0,
    }
    return {
        "id": thread.public_id,
        "type": "session_thread",
        "agent": agent,
        "archived_at": moment(thread.archived_at),
        "created_at": moment(thread.created_at),
        "parent_thread_id": parent_id,
        "session_id": session.public_id,
        "stats": stats if has_moved else None,
        "status": thread.status,
        "updated_at": moment(thread.updated_at),
        "usage": usage_wire(thread, active_seconds=active) if has_rested else None,
        "workflow_run_id": None,
    }
