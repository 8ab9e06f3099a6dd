"""Creating, changing, archiving and deleting sessions."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.db import connection, transaction

from agents.errors import Invalid, NotBuilt, NotFound
from agents.models import Environment, Session, Thread, Workspace
from agents.services import budgets, search_index, snapshots, status
from agents.services.events import check_message_content
from agents.services.hints import wake
from agents.services.log import EVENT_CHANNEL, Log, notify, open_log
from agents.services.metadata import check_metadata, patch_metadata
from agents.services.resources import MAX_RESOURCES, add_resource
from agents.services.rosters import models_of
from agents.services.sandboxes import remove_after_commit
from agents.services.threads import warn_of_mcp
from agents.services.turns import make_ready

MAX_INITIAL_EVENTS = 50
MAX_FILE_DOCUMENTS = 100


def get_session(workspace: Workspace, public_id: str) -> Session:
    """The session of this workspace. Raises NotFound for any other."""
    session = (
        Session.objects.in_workspace(workspace)
        .select_related("agent", "environment", "workspace")
        .filter(public_id=public_id)
        .first()
    )
    if session is None:
        raise NotFound(f"There is no session {public_id}.")
    return session


@transaction.atomic
def create_session(
    workspace: Workspace, *, values: dict[str, Any], by: User | None = None, sender: str | None = None
) -> Session:
    """Create a session from the wire form of the create call. With initial events it is running already.

    Args:
        by: the person who created it, when it was one.
        sender: a name for the record of who sent the initial events.
    """
    refuse_unbuilt(values)
    initial = values.get("initial_events") or []
    check_initial_events(workspace, initial)
    agent, version, snapshot = snapshots.resolve(workspace, values["agent"])
    environment = _usable_environment(workspace, values["environment_id"])
    metadata = check_metadata(values.get("metadata") or {})
    session = Session.objects.create(
        workspace=workspace,
        agent=agent,
        agent_version=version,
        agent_snapshot=snapshot,
        environment=environment,
        title=values.get("title"),
        metadata=metadata,
        created_by=by,
        simulated=all(model.startswith("simulated/") for model in models_of(snapshot)),
        budget_cents=_budget_cents(values.get("budget"), snapshot),
    )
    Thread.objects.create(session=session, agent_name=snapshot["name"], agent_snapshot=snapshot)
    resources = values.get("resources") or []
    if len(resources) > MAX_RESOURCES:
        raise Invalid(f"resources: at most {MAX_RESOURCES}.")
    for number, resource in enumerate(resources):
        add_resource(session, resource, where=f"resources.{number}")
    if initial or snapshot["mcp_servers"]:
        _start(session, initial, sender)
        session.refresh_from_db()
    return session


def _budget_cents(budget: dict[str, Any] | None, snapshot: dict[str, Any]) -> int | None:
    if budget is None:
        return None
    cents = budgets.limit_cents(budget)
    budgets.check_models(snapshot)
    return cents


def refuse_unbuilt(values: dict[str, Any]) -> None:
    """What the contract has and Daybreak does not have yet is refused by name, never accepted and ignored."""
    if values.get("vault_ids"):
        raise NotBuilt("Vaults (vault_ids) are not built yet.")
    kinds = {resource["type"] for resource in values.get("resources") or []}
    if "github_repository" in kinds:
        raise NotBuilt("Repositories as resources (github_repository) are not built yet.")
    if "memory_store" in kinds:
        raise NotBuilt("Memory stores as resources (memory_store) are not built yet.")


def check_initial_events(workspace: Workspace, events: list[dict[str, Any]]) -> None:
    if len(events) > MAX_INITIAL_EVENTS:
        raise Invalid(f"initial_events: at most {MAX_INITIAL_EVENTS} events.")
    kinds = [event["type"] for event in events]
    if kinds.count("user.define_outcome") > 1:
        raise Invalid("initial_events: at most one user.define_outcome.")
    if "user.define_outcome" in kinds:
        raise NotBuilt("Outcomes (user.define_outcome) are not built yet.")
    documents = 0
    for event in events:
        check_message_content(workspace, event["content"])
        documents += sum(
            block["type"] == "document" and block["source"]["type"] == "file" for block in event["content"]
        )
    if documents > MAX_FILE_DOCUMENTS:
        raise Invalid(f"initial_events: at most {MAX_FILE_DOCUMENTS} documents from files.")


def _usable_environment(workspace: Workspace, public_id: str) -> Environment:
    environment = Environment.objects.in_workspace(workspace).filter(public_id=public_id).first()
    if environment is None:
        raise NotFound(f"There is no environment {public_id}.")
    if environment.archived_at is not None:
        raise Invalid(f"environment_id: {public_id} is archived and takes no new sessions.")
    if environment.config["type"] != "cloud":
        raise NotBuilt("Sessions in self_hosted environments are not built yet.")
    return environment


def _start(session: Session, events: list[dict[str, Any]], sender: str | None) -> None:
    """Write the initial events, all of them before anything else happens, and start the first turn."""
    with open_log(session.pk) as log:
        thread = log.session.primary_thread
        private = {"by": sender} if sender else None
        rows = [
            log.append(thread, event["type"], {"content": event["content"]}, private=private, processed=False)
            for event in events
        ]
        warn_of_mcp(log, thread)
        if rows:
            make_ready(log, thread, cause=rows[0])
            wake(thread.pk)


def update_session(session: Session, *, changes: dict[str, Any]) -> Session:
    """Change title, metadata, budget or the agent's tools. `session.updated` says what changed, if anything did."""
    if "vault_ids" in changes:
        raise Invalid("vault_ids cannot be changed on a session.")
    with open_log(session.pk) as log:
        if log.session.is_imported:
            raise Invalid("This session was imported. It can be read, not changed.")
        if log.session.is_terminated:
            raise Invalid("This session is archived or terminated and cannot be changed.")
        changed = _apply(log, changes)
        if changed:
            if changed.get("metadata") == {}:
                del changed["metadata"]  # the contract leaves it out when nothing is left in it
            log.append(log.primary(), "session.updated", changed)
        if "budget" in changes:
            budgets.go_on(log)
    session.refresh_from_db()
    return session


def _apply(log: Log, changes: dict[str, Any]) -> dict[str, Any]:
    session, changed = log.session, {}
    if "title" in changes and changes["title"] != session.title:
        session.title = changed["title"] = changes["title"]
        log.touch_session("title")
    if changes.get("metadata") is not None:
        metadata = patch_metadata(session.metadata, changes["metadata"])
        if metadata != session.metadata:
            session.metadata = metadata
            log.touch_session("metadata")
            changed["metadata"] = metadata
    if "budget" in changes and budgets.change(log, changes["budget"]):
        changed["budget"] = status.budget_wire(session)
    if changes.get("agent") is not None:
        snapshot = snapshots.replace_tools(session.agent_snapshot, changes["agent"])
        if session.status != Session.Status.IDLE:
            raise Invalid("agent: the tools of a running session cannot be changed. Interrupt it and wait for idle.")
        if snapshot != session.agent_snapshot:
            session.agent_snapshot = changed["agent"] = snapshot
            log.touch_session("agent_snapshot")
            thread = log.primary()
            thread.agent_snapshot = snapshot
            log.touch(thread, "agent_snapshot")
    return changed


def archive_session(session: Session) -> Session:
    """End an idle session for good. Its history stays readable. Archiving again changes nothing."""
    with open_log(session.pk) as log:
        if log.session.archived_at is None:
            if log.session.status in status.WORKING:
                raise Invalid("A running session cannot be archived. Interrupt it and wait until it is idle.")
            log.session.archived_at = log.now
            log.touch_session("archived_at")
            if not log.session.is_terminated:
                status.set_terminated(log)
    session.refresh_from_db()
    return session


@transaction.atomic
def delete_session(session: Session) -> None:
    """Remove a session with its events and the files it produced. Uploads and agents stay."""
    locked = Session.objects.select_for_update().filter(pk=session.pk).first()
    if locked is None:
        raise NotFound(f"There is no session {session.public_id}.")
    if locked.status in status.WORKING:
        raise Invalid("A running session cannot be deleted. Interrupt it and wait until it is idle.")
    search_index.hold()
    # Straight deletes, children first: Django's own cascade would load a long log into memory.
    with connection.cursor() as cursor:
        for statement in DELETE_IN_ORDER:
            cursor.execute(statement, [locked.pk])
    locked.files.all().delete()
    Session.objects.filter(pk=locked.pk).delete()
    notify(EVENT_CHANNEL, f"{locked.pk}:0")
    remove_after_commit(locked)


DELETE_IN_ORDER = (
    "DELETE FROM agents_searchtext WHERE session_id = %s",
    "DELETE FROM agents_sessionfacet WHERE session_id = %s",
    "DELETE FROM agents_annotation WHERE session_id = %s",
    "DELETE FROM agents_fileversion WHERE session_id = %s",
    "DELETE FROM agents_seenfile WHERE thread_id IN (SELECT id FROM agents_thread WHERE session_id = %s)",
    "DELETE FROM agents_toolcall WHERE session_id = %s",
    "DELETE FROM agents_modelattempt WHERE step_id IN (SELECT id FROM agents_step WHERE session_id = %s)",
    "DELETE FROM agents_event WHERE session_id = %s",
    "DELETE FROM agents_step WHERE session_id = %s",
    "DELETE FROM agents_sessionresource WHERE session_id = %s",
)
