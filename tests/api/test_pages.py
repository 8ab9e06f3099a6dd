"""Lists: cursors, orders, limits and filters."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import anthropic
import pytest


def make_agents(client: anthropic.Anthropic, count: int) -> list[str]:
    return [client.beta.agents.create(name=f"Agent {i}", model="simulated/default").id for i in range(count)]


@pytest.mark.conformance(12)
def test_pages_hold_every_item_once(client, raw):
    made = make_agents(client, 45)
    seen = [agent.id for agent in client.beta.agents.list(limit=20)]
    assert seen == made[::-1]
    sizes, page = [], None
    while True:
        body = raw.get("/v1/agents", params={"limit": 20} | ({"page": page} if page else {})).json()
        assert set(body) == {"data", "next_page"}
        sizes.append(len(body["data"]))
        page = body["next_page"]
        if page is None:
            break
    assert sizes == [20, 20, 5]


@pytest.mark.conformance(12)
def test_a_page_neither_skips_nor_repeats_when_rows_come_and_go(client):
    made = make_agents(client, 6)
    first = client.beta.agents.list(limit=2)
    client.beta.agents.archive(made[-1])
    newer = make_agents(client, 1)
    rest = [agent.id for agent in client.beta.agents.list(limit=2, page=first.next_page)]
    assert rest == made[3::-1]
    assert newer[0] not in rest


@pytest.mark.conformance(12)
def test_items_made_in_the_same_moment_are_paged_apart(client, workspace):
    make_agents(client, 5)
    workspace.agents.update(created_at=datetime(2026, 11, 22, tzinfo=UTC))
    seen = [agent.id for agent in client.beta.agents.list(limit=2)]
    assert len(seen) == len(set(seen)) == 5


@pytest.mark.conformance(14)
def test_garbage_and_foreign_cursors_are_400(client):
    make_agents(client, 3)
    for i in range(3):
        client.beta.environments.create(name=f"E{i}")
    cursor = client.beta.agents.list(limit=1).next_page
    flipped = cursor[:-4] + ("AAAA" if cursor[-4:] != "AAAA" else "BBBB")
    for bad in ("", "x", "page_", "page_AAAA", "é", flipped, "9" * 10_000):
        with pytest.raises(anthropic.BadRequestError, match="page: "):
            client.beta.agents.list(page=bad)
    with pytest.raises(anthropic.BadRequestError, match="page: "):
        client.beta.environments.list(page=cursor)


@pytest.mark.conformance(14)
def test_a_cursor_outside_a_changed_time_filter_is_400(client, workspace):
    for i, agent_id in enumerate(make_agents(client, 4)):
        workspace.agents.filter(public_id=agent_id).update(created_at=datetime(2026, 1, 1 + i, tzinfo=UTC))
    cursor = client.beta.agents.list(limit=2).next_page  # after 3 January
    inside = client.beta.agents.list(limit=2, page=cursor, created_at_gte=datetime(2026, 1, 2, tzinfo=UTC))
    assert len(inside.data) == 1
    with pytest.raises(anthropic.BadRequestError, match="created_at filter"):
        client.beta.agents.list(page=cursor, created_at_lte=datetime(2026, 1, 2, tzinfo=UTC))


@pytest.mark.conformance(15)
def test_limits_outside_their_range_are_400(client):
    for call, top in (
        (client.beta.agents.list, 100),
        (client.beta.environments.list, 100),
        (client.beta.sessions.list, 100),
        (client.beta.files.list, 1000),
    ):
        assert call(limit=top).data == []
        for bad in (0, -1, top + 1):
            with pytest.raises(anthropic.BadRequestError, match="limit"):
                call(limit=bad)


@pytest.mark.conformance(17)
def test_time_filters_are_honoured(client, raw, workspace):
    ids = make_agents(client, 4)
    for i, agent_id in enumerate(ids):
        workspace.agents.filter(public_id=agent_id).update(created_at=datetime(2026, 1, 1 + i, tzinfo=UTC))
    found = client.beta.agents.list(
        created_at_gte=datetime(2026, 1, 2, tzinfo=UTC), created_at_lte="2026-01-03T01:00:00+01:00"
    )
    assert [agent.id for agent in found] == [ids[2], ids[1]]
    unescaped = raw.get("/v1/agents?created_at[gte]=2026-01-04T00:00:00+00:00").json()
    assert [agent["id"] for agent in unescaped["data"]] == [ids[3]]
    for bad in ("yesterday", "2026-01-04T00:00:00", "2026-13-01T00:00:00Z"):
        response = raw.get("/v1/agents", params={"created_at[gte]": bad})
        assert response.status_code == 400, bad


@pytest.fixture
def make_sessions(client: Any) -> Callable[[int], list[str]]:
    agent = client.beta.agents.create(name="Ada", model="simulated/default")
    environment = client.beta.environments.create(name="E")

    def make(count: int) -> list[str]:
        create = client.beta.sessions.create
        return [create(agent=agent.id, environment_id=environment.id).id for _ in range(count)]

    return make


@pytest.mark.conformance(13)
def test_sessions_are_paged_both_ways(raw, make_sessions):
    made = make_sessions(7)[::-1]

    def page(cursor: str | None, **more: Any) -> dict[str, Any]:
        params = {"limit": 3, **({"page": cursor} if cursor else {}), **more}
        return raw.get("/v1/sessions", params=params).json()

    def ids(body: dict[str, Any]) -> list[str]:
        return [session["id"] for session in body["data"]]

    first = page(None)
    assert set(first) == {"data", "next_page", "prev_page"}
    assert (ids(first), first["prev_page"]) == (made[:3], None)
    second = page(first["next_page"])
    third = page(second["next_page"])
    assert (ids(second), ids(third), third["next_page"]) == (made[3:6], made[6:], None)
    back = page(third["prev_page"])
    assert ids(back) == made[3:6]
    assert ids(page(back["next_page"])) == made[6:]
    start = page(back["prev_page"])
    assert (ids(start), start["prev_page"]) == (made[:3], None)
    assert ids(page(third["prev_page"], limit=100)) == made[:6]


@pytest.mark.conformance(13)
def test_no_other_list_has_a_way_back(raw):
    for path in ("agents", "environments", "files"):
        assert "prev_page" not in raw.get(f"/v1/{path}").json()


@pytest.mark.conformance(14)
def test_a_cursor_belongs_to_its_order(client, make_sessions):
    made = make_sessions(4)
    ascending = client.beta.sessions.list(limit=3, order="asc")
    assert [session.id for session in ascending.data] == made[:3]
    following = client.beta.sessions.list(limit=3, order="asc", page=ascending.next_page)
    assert [session.id for session in following.data] == made[3:]
    for order in ({"order": "desc"}, {}):
        with pytest.raises(anthropic.BadRequestError, match="order=asc"):
            client.beta.sessions.list(page=ascending.next_page, **order)


@pytest.mark.conformance(17)
def test_session_filters_are_honoured(client, make_sessions, workspace):
    made = make_sessions(4)
    for i, session_id in enumerate(made):
        moment = datetime(2026, 1, 1 + i, tzinfo=UTC)
        workspace.sessions.filter(public_id=session_id).update(created_at=moment)
    workspace.sessions.filter(public_id=made[1]).update(status="running")
    workspace.sessions.filter(public_id=made[2]).update(status="terminated")
    listed = client.beta.sessions.list(statuses=["running", "terminated"])
    assert [session.id for session in listed] == [made[2], made[1]]
    third = datetime(2026, 1, 3, tzinfo=UTC)
    assert [s.id for s in client.beta.sessions.list(created_at_gte=third)] == [made[3], made[2]]
    assert [s.id for s in client.beta.sessions.list(created_at_lt=third)] == [made[1], made[0]]
    assert [s.id for s in client.beta.sessions.list(created_at_gt=third)] == [made[3]]
    assert [s.id for s in client.beta.sessions.list(created_at_lte=third, order="asc")] == made[:3]
