"""Sessions through the real SDK: conformance statements 35 to 46, and the quickstart."""

from __future__ import annotations

import anthropic
import pytest
from anthropic.types.beta import BetaManagedAgentsSession
from anthropic.types.beta.sessions import BetaManagedAgentsSessionThread

from agents.services.sandboxes import root_of
from tests.api.sdk import (
    CUSTOM_TOOL,
    TOOLSET,
    history,
    make_agent,
    make_environment,
    make_session,
    of_type,
    said,
    send,
    text,
    types,
    wait_for,
    wait_idle,
    watching,
)
from tests.api.strict import EVENTS, check


@pytest.mark.done_when(2)
def test_the_quickstart_runs_unchanged(client, local_worker):
    agent = client.beta.agents.create(
        name="Coding Assistant",
        model="simulated/tools",
        system="You are a helpful coding assistant.",
        tools=[{"type": "agent_toolset_20260401"}],
    )
    environment = client.beta.environments.create(
        name="quickstart-env", config={"type": "cloud", "networking": {"type": "unrestricted"}}
    )
    session = client.beta.sessions.create(agent=agent.id, environment_id=environment.id, title="Quickstart session")
    seen: list[str] = []
    with client.beta.sessions.events.stream(session.id) as stream:
        client.beta.sessions.events.send(
            session.id,
            events=[
                {
                    "type": "user.message",
                    "content": [{"type": "text", "text": "bash: seq 1 5 | tee /mnt/session/outputs/five.txt"}],
                }
            ],
        )
        for event in stream:
            seen.append(event.type)
            if event.type == "session.status_idle":
                break
    assert {"agent.tool_use", "agent.tool_result", "agent.message"} <= set(seen)
    assert client.beta.sessions.retrieve(session.id).status == "idle"


@pytest.mark.conformance(35)
def test_a_new_session_is_idle_and_complete(client, raw):
    session = make_session(client)
    assert session.status == "idle"
    found = raw.get(f"/v1/sessions/{session.id}").json()
    check(BetaManagedAgentsSession, found)
    for field in ("agent", "metadata", "outcome_evaluations", "resources", "stats", "usage", "vault_ids"):
        assert found[field] is not None, field
    assert found["budget"] is None and found["archived_at"] is None
    threads = raw.get(f"/v1/sessions/{session.id}/threads").json()["data"]
    assert [thread["parent_thread_id"] for thread in threads] == [None]
    check(BetaManagedAgentsSessionThread, threads[0])


@pytest.mark.conformance(36)
def test_initial_events_start_the_session_at_once(client, local_worker):
    session = make_session(client, "say: hello")
    assert session.status == "running"
    assert not hasattr(session, "initial_events")
    wait_idle(client, session)
    first = history(client, session)[0]
    assert (first.type, said(first)) == ("user.message", "say: hello")
    assert first.processed_at is not None


@pytest.mark.conformance(37)
@pytest.mark.parametrize(
    "events",
    [
        [{"type": "system.message", "content": [{"type": "text", "text": "x"}]}],
        [{"type": "user.interrupt"}],
        [text("x")] * 51,
        [text("x"), {"type": "user.message", "content": []}],
    ],
    ids=["system message", "interrupt", "51 events", "one bad event"],
)
def test_bad_initial_events_create_no_session(client, events):
    agent, environment = make_agent(client), make_environment(client)
    with pytest.raises(anthropic.BadRequestError):
        client.beta.sessions.create(agent=agent.id, environment_id=environment.id, initial_events=events)
    assert list(client.beta.sessions.list()) == []


@pytest.mark.conformance(37)
def test_two_outcomes_are_refused_and_one_is_named_as_not_built(client):
    agent, environment = make_agent(client), make_environment(client)
    outcome = {"type": "user.define_outcome", "description": "A report", "rubric": {"type": "text", "content": "- ok"}}
    with pytest.raises(anthropic.BadRequestError):
        client.beta.sessions.create(agent=agent.id, environment_id=environment.id, initial_events=[outcome, outcome])
    with pytest.raises(anthropic.APIStatusError, match="Outcomes") as refused:
        client.beta.sessions.create(agent=agent.id, environment_id=environment.id, initial_events=[outcome])
    assert refused.value.status_code == 501
    assert list(client.beta.sessions.list()) == []


@pytest.mark.conformance(38)
def test_a_pinned_version_is_used_although_a_newer_exists(client):
    agent = make_agent(client, system="one")
    client.beta.agents.update(agent.id, system="two")
    pinned = make_session(client, agent=agent, agent_reference={"type": "agent", "id": agent.id, "version": 1})
    latest = make_session(client, agent=agent)
    assert (pinned.agent.system, pinned.agent.version) == ("one", 1)
    assert (latest.agent.system, latest.agent.version) == ("two", 2)


@pytest.mark.conformance(39)
def test_overrides_are_the_sessions_own(client):
    agent = make_agent(client, system="base")
    session = make_session(
        client,
        agent=agent,
        agent_reference={
            "type": "agent_with_overrides",
            "id": agent.id,
            "system": "mine",
            "model": "simulated/echo",
        },
    )
    assert (session.agent.system, session.agent.model.id) == ("mine", "simulated/echo")
    assert (session.agent.id, session.agent.version) == (agent.id, 1)
    assert client.beta.agents.retrieve(agent.id).system == "base"
    with pytest.raises(anthropic.BadRequestError, match="model"):
        make_session(
            client, agent=agent, agent_reference={"type": "agent_with_overrides", "id": agent.id, "model": None}
        )


@pytest.mark.conformance(40)
def test_an_update_says_only_what_changed(client):
    session = make_session(client, title="before")
    client.beta.sessions.update(session.id, title="after")
    client.beta.sessions.update(session.id, title="after")
    updates = of_type(history(client, session), "session.updated")
    assert [(event.title, event.agent, event.metadata) for event in updates] == [("after", None, None)]
    assert "agent" not in updates[0].model_fields_set


def test_a_metadata_patch_upserts_deletes_and_keeps(client):
    session = make_session(client, metadata={"a": "1", "b": "2"})
    updated = client.beta.sessions.update(session.id, metadata={"a": None, "c": "3"})
    assert updated.metadata == {"b": "2", "c": "3"}
    event = of_type(history(client, session), "session.updated")[0]
    assert event.metadata == {"b": "2", "c": "3"}


@pytest.mark.conformance(41)
def test_tools_change_on_an_idle_session_only(client, local_worker):
    session = make_session(client, agent=make_agent(client, model="simulated/slow", tools=[]))
    updated = client.beta.sessions.update(session.id, agent={"tools": [TOOLSET, CUSTOM_TOOL]})
    assert [tool.type for tool in updated.agent.tools] == ["agent_toolset_20260401", "custom"]
    assert client.beta.agents.retrieve(session.agent.id).tools == []
    send(client, session, text("slow 5s"))
    with pytest.raises(anthropic.BadRequestError):
        client.beta.sessions.update(session.id, agent={"tools": []})
    with pytest.raises(anthropic.BadRequestError):
        client.beta.sessions.update(session.id, vault_ids=["vlt_x"])
    send(client, session, {"type": "user.interrupt"})
    wait_idle(client, session)


@pytest.mark.conformance(42)
def test_archiving_ends_an_idle_session_for_good(client, local_worker):
    session = make_session(client, agent=make_agent(client, model="simulated/slow", tools=[]))
    send(client, session, text("slow 5s"))
    with pytest.raises(anthropic.BadRequestError):
        client.beta.sessions.archive(session.id)
    send(client, session, {"type": "user.interrupt"})
    wait_idle(client, session)
    archived = client.beta.sessions.archive(session.id)
    assert archived.status == "terminated" and archived.archived_at is not None
    assert types(client, session)[-1] == "session.status_terminated"
    again = client.beta.sessions.archive(session.id)
    assert again.archived_at == archived.archived_at
    with pytest.raises(anthropic.BadRequestError):
        send(client, session, text("anyone?"))
    assert session.id not in [found.id for found in client.beta.sessions.list()]
    assert session.id in [found.id for found in client.beta.sessions.list(include_archived=True)]


@pytest.mark.conformance(43)
def test_deleting_removes_the_session_and_ends_its_streams(client, local_worker):
    upload = client.beta.files.upload(file=("notes.txt", b"kept", "text/plain"))
    session = make_session(client, resources=[{"type": "file", "file_id": upload.id}])
    with watching(client, session) as watcher:
        deleted = client.beta.sessions.delete(session.id)
        assert (deleted.id, deleted.type) == (session.id, "session_deleted")
        watcher.wait_for("session.deleted")
        watcher.wait_end()
    with pytest.raises(anthropic.NotFoundError):
        client.beta.sessions.retrieve(session.id)
    assert client.beta.files.retrieve_metadata(upload.id).id == upload.id


@pytest.mark.conformance(43)
def test_deleting_removes_the_sandbox_and_what_it_produced(client, local_worker):
    session = make_session(client, "write: /mnt/session/outputs/report.md | done")
    wait_idle(client, session)
    outputs = list(client.beta.files.list(scope_id=session.id, betas=["managed-agents-2026-04-01"]))
    assert len(outputs) == 1 and root_of(session.id).exists()
    client.beta.sessions.delete(session.id)
    assert not root_of(session.id).exists()
    with pytest.raises(anthropic.NotFoundError):
        client.beta.files.retrieve_metadata(outputs[0].id)


@pytest.mark.conformance(43)
def test_a_running_session_cannot_be_deleted(client, local_worker):
    session = make_session(client, "slow 5s", agent=make_agent(client, model="simulated/slow", tools=[]))
    with pytest.raises(anthropic.BadRequestError):
        client.beta.sessions.delete(session.id)
    send(client, session, {"type": "user.interrupt"})
    wait_idle(client, session)
    client.beta.sessions.delete(session.id)


@pytest.mark.conformance(44)
def test_list_filters(client):
    first, second = make_agent(client), make_agent(client, name="Other")
    client.beta.agents.update(second.id, system="v2")
    one = make_session(client, agent=first)
    two = make_session(client, agent=second)
    old = make_session(client, agent=second, agent_reference={"type": "agent", "id": second.id, "version": 1})
    client.beta.sessions.archive(one.id)

    def ids(**query):
        return [found.id for found in client.beta.sessions.list(**query)]

    assert ids() == [old.id, two.id]
    assert ids(order="asc") == [two.id, old.id]
    assert ids(agent_id=second.id, agent_version=1) == [old.id]
    assert ids(agent_id=first.id) == []
    assert ids(agent_id=first.id, include_archived=True) == [one.id]
    assert ids(statuses=["terminated"], include_archived=True) == [one.id]
    assert ids(statuses=["idle", "running"]) == [old.id, two.id]
    with pytest.raises(anthropic.BadRequestError):
        ids(agent_version=1)
    for unbuilt in ({"memory_store_id": "memstore_x"}, {"deployment_id": "depl_x"}):
        with pytest.raises(anthropic.APIStatusError) as refused:
            ids(**unbuilt)
        assert refused.value.status_code == 501


@pytest.mark.conformance(45)
def test_the_session_is_idle_before_the_stream_says_so(client, local_worker):
    session = make_session(client)
    with client.beta.sessions.events.stream(session.id) as stream:
        for turn in range(5):
            send(client, session, text(f"say: {turn}"))
            for event in stream:
                if event.type == "session.status_idle":
                    assert client.beta.sessions.retrieve(session.id).status == "idle"
                    break


@pytest.mark.conformance(46)
def test_usage_grows_and_adds_up(client, raw, local_worker):
    session = make_session(client, "bash: echo hi")
    first = wait_idle(client, session).usage
    send(client, session, text("bash: echo ho"))
    wait_idle(client, session)
    usage = raw.get(f"/v1/sessions/{session.id}").json()["usage"]
    spans = [end.model_usage for end in of_type(history(client, session), "span.model_request_end")]
    for name in ("input_tokens", "output_tokens", "cache_read_input_tokens"):
        assert usage[name] == sum(getattr(span, name) for span in spans), name
        assert usage[name] >= getattr(first, name)
    assert usage["list_cost"] == {"amount": "0", "currency": "USD"}
    assert usage["active_seconds"] >= first.active_seconds > 0


@pytest.mark.conformance(27)
def test_an_archived_agent_takes_no_new_sessions_and_old_ones_run_on(client, local_worker):
    agent = make_agent(client)
    session = make_session(client, agent=agent)
    client.beta.agents.archive(agent.id)
    with pytest.raises(anthropic.BadRequestError):
        make_session(client, agent=agent)
    send(client, session, text("say: still here"))
    assert wait_idle(client, session).status == "idle"
    assert "still here" in said(of_type(history(client, session), "agent.message")[-1])


@pytest.mark.conformance(33)
def test_an_environment_in_use_cannot_be_deleted(client):
    session = make_session(client)
    with pytest.raises(anthropic.BadRequestError):
        client.beta.environments.delete(session.environment_id)
    client.beta.sessions.delete(session.id)
    assert client.beta.environments.delete(session.environment_id).type == "environment_deleted"


@pytest.mark.parametrize(
    "values, feature",
    [
        ({"vault_ids": ["vlt_x"]}, "Vaults"),
        ({"resources": [{"type": "memory_store", "memory_store_id": "memstore_x"}]}, "Memory stores"),
        (
            {"resources": [{"type": "github_repository", "url": "https://github.com/o/r", "authorization_token": "t"}]},
            "Repositories",
        ),
    ],
)
def test_what_is_not_built_is_named_and_nothing_is_created(client, values, feature):
    with pytest.raises(anthropic.APIStatusError, match=feature) as refused:
        make_session(client, **values)
    assert refused.value.status_code == 501
    assert list(client.beta.sessions.list()) == []


def test_unknown_agents_and_environments_are_not_found(client):
    agent, environment = make_agent(client), make_environment(client)
    for values in (
        {"agent": "agent_none", "environment_id": environment.id},
        {"agent": agent.id, "environment_id": "env_none"},
        {"agent": {"type": "agent", "id": agent.id, "version": 9}, "environment_id": environment.id},
    ):
        with pytest.raises(anthropic.NotFoundError):
            client.beta.sessions.create(**values)


def test_files_are_mounted_read_and_deliverables_downloaded(client, raw, local_worker):
    upload = client.beta.files.upload(file=("data.csv", b"a,b\n1,2\n", "text/csv"))
    session = make_session(client, resources=[{"type": "file", "file_id": upload.id, "mount_path": "/in/data.csv"}])
    resource = session.resources[0]
    assert resource.mount_path == "/mnt/session/uploads/in/data.csv"
    assert resource.file_id != upload.id
    send(
        client,
        session,
        text("read: /mnt/session/uploads/in/data.csv\nwrite: /mnt/session/outputs/report.md | # Report\\n"),
    )
    wait_idle(client, session)
    results = of_type(history(client, session), "agent.tool_result")
    assert "1,2" in said(results[0])
    files = list(client.beta.files.list(scope_id=session.id, betas=["managed-agents-2026-04-01"]))
    outputs = [file for file in files if file.downloadable]
    assert [file.filename for file in outputs] == ["report.md"]
    assert outputs[0].scope.id == session.id
    assert client.beta.files.download(outputs[0].id).read() == b"# Report\n"
    with pytest.raises(anthropic.BadRequestError):
        client.beta.files.download(upload.id)


def test_resources_are_added_listed_and_removed(client):
    upload = client.beta.files.upload(file=("notes.txt", b"x", "text/plain"))
    session = make_session(client)
    added = client.beta.sessions.resources.add(session.id, type="file", file_id=upload.id)
    assert added.mount_path == f"/mnt/session/uploads/{upload.id}"
    assert [item.id for item in client.beta.sessions.resources.list(session.id)] == [added.id]
    assert client.beta.sessions.resources.retrieve(added.id, session_id=session.id).file_id == added.file_id
    removed = client.beta.sessions.resources.delete(added.id, session_id=session.id)
    assert removed.type == "session_resource_deleted"
    assert list(client.beta.sessions.resources.list(session.id)) == []
    for bad in ("/../x", "/a//b", "/a/../../b"):
        with pytest.raises(anthropic.BadRequestError):
            client.beta.sessions.resources.add(session.id, type="file", file_id=upload.id, mount_path=bad)


def test_threads_of_a_single_agent_session(client, raw, local_worker):
    session = make_session(client, "bash: echo hi")
    wait_idle(client, session)
    threads = list(client.beta.sessions.threads.list(session.id))
    assert len(threads) == 1
    thread = client.beta.sessions.threads.retrieve(threads[0].id, session_id=session.id)
    assert thread.status == "idle" and thread.usage.output_tokens > 0
    own = [event.id for event in client.beta.sessions.threads.events.list(thread.id, session_id=session.id)]
    assert own == [event.id for event in history(client, session)]
    with pytest.raises(anthropic.BadRequestError):
        client.beta.sessions.threads.archive(thread.id, session_id=session.id)


def test_every_event_of_a_run_has_the_sdks_shape(client, raw, local_worker):
    agent = make_agent(client, tools=[TOOLSET, CUSTOM_TOOL])
    session = make_session(
        client, 'think: hm\nsay: first\nbash: echo hi\nread: /none\ncustom: lookup {"id": "7"}', agent=agent
    )
    call = wait_for(client, session, "agent.custom_tool_use")[0]
    wait_idle(client, session)
    send(
        client,
        session,
        {
            "type": "user.custom_tool_result",
            "custom_tool_use_id": call.id,
            "content": [{"type": "text", "text": "found"}],
        },
    )
    wait_for(client, session, "session.status_idle", count=2)
    events = raw.get(f"/v1/sessions/{session.id}/events").json()["data"]
    assert len({event["type"] for event in events}) >= 12
    for event in events:
        check(EVENTS, event)
