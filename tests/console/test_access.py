"""Who gets in, where to, and what outsiders see: nothing."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
import time_machine
from django.urls import reverse
from django.utils import timezone

from agents.models import Annotation, File, FileVersion, Membership
from agents.services import blobs
from agents.services.keys import create_api_key
from console.urls import pages
from tests import factories
from tests.console.html import Page

PUBLIC = {"sign-in", "sign-in-link", "sign-out", "theme"}
OPERATORS_ONLY = {
    *("session-new", "session-message", "session-interrupt", "session-archive", "session-delete", "session-answer"),
    "session-budget",
    "thread-end",
    *("agent-new", "agent-edit", "agent-archive"),
    *("environment-new", "environment-archive", "environment-delete"),
    *("api-keys", "api-key-revoke"),
}
NAMES = [route.name for route in pages]
ACTS = {"annotate", "annotation-change", "annotation-remove"}  # of everybody, viewers too
FILE = "/workspace/r.md"
QUERIES = {"session-why": "?seq=1", "session-file-version": f"?path={FILE}&version=1"}


def ids_in(workspace):
    """An id for every part that a path may have, all of things in this workspace."""
    session = factories.make_session(workspace)
    call = factories.ask(session)
    content = blobs.store_bytes(b"secret")
    output = File.objects.create(
        workspace=workspace,
        session=session,
        kind=File.Kind.OUTPUT,
        filename="r.md",
        mime_type="text/plain",
        size_bytes=6,
        sha256=content,
        path="/mnt/session/outputs/r.md",
    )
    key, _ = create_api_key(workspace, name="k", by=None)
    FileVersion.objects.create(session=session, path=FILE, number=1, change="write", sha256=content, is_kept=True)
    mark = Annotation.objects.create(
        session=session, event=call.use_event, kind="note", author_name="ana", written_here=True
    )
    return {
        "session_id": session.public_id,
        "event_id": call.use_event.public_id,
        "file_id": output.public_id,
        "agent_id": session.agent.public_id,
        "environment_id": session.environment.public_id,
        "key_id": key.public_id,
        "annotation_id": str(mark.pk),
        "token": "unknown",
        "tab": "summary",
    }


def path_of(name, ids):
    route = next(route for route in pages if route.name == name)
    names = route.pattern.converters
    return reverse(f"console:{name}", kwargs={part: ids[part] for part in names}) + QUERIES.get(name, "")


def both(client, path):
    """The answers to GET and POST."""
    return client.get(path), client.post(path)


@pytest.fixture
def own(workspace):
    return ids_in(workspace)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in PUBLIC])
def test_without_signing_in_every_page_leads_to_the_sign_in_page(client, own, name):
    for answer in both(client, path_of(name, own)):
        assert answer.status_code in (302, 405)
        if answer.status_code == 302:
            assert urlsplit(answer["Location"]).path == reverse("console:sign-in")


@pytest.mark.parametrize("name", [name for name in NAMES if name not in PUBLIC])
def test_other_workspaces_look_empty_from_here(page, elsewhere, name):
    foreign = ids_in(elsewhere)
    path = path_of(name, foreign)
    answers = both(page, path)
    if any(public_id in path for public_id in foreign.values()):
        assert {answer.status_code for answer in answers} <= {404, 405}
        assert 404 in {answer.status_code for answer in answers}
        return
    for answer in answers:
        body = answer.content.decode()
        assert not any(public_id in body for public_id in foreign.values() if "_" in public_id)


def test_a_foreign_event_or_file_is_not_found_under_ones_own_session(page, own, elsewhere):
    foreign = ids_in(elsewhere)
    mixed = {**foreign, "session_id": own["session_id"]}
    for name in ("event", "event-raw", "session-output"):
        assert page.get(path_of(name, mixed)).status_code == 404
    assert page.post(path_of("session-answer", mixed), {"result": "allow"}).status_code == 404
    assert page.get(path_of("session", own), {"event": foreign["event_id"]}).status_code == 404
    assert page.get(path_of("session", own), {"thread": "sthr_foreign"}).status_code == 404


@pytest.mark.parametrize("name", sorted(OPERATORS_ONLY))
def test_acting_takes_the_role(client, viewer, own, name):
    client.force_login(viewer)
    answers = [answer for answer in both(client, path_of(name, own)) if answer.status_code != 405]
    assert {answer.status_code for answer in answers} == {403}
    shown = Page(answers[0])
    assert "operator" in shown.text
    assert "You are here as viewer" in shown.text


@pytest.mark.parametrize("name", sorted(set(NAMES) - OPERATORS_ONLY - PUBLIC - ACTS - {"workspace", "session-stream"}))
def test_looking_takes_no_role(client, viewer, own, name):
    client.force_login(viewer)
    assert client.get(path_of(name, own)).status_code == 200


def test_a_viewer_is_not_offered_what_takes_a_role(client, viewer, own):
    client.force_login(viewer)
    offered = {reverse("console:session-new"), reverse("console:agent-new"), reverse("console:api-keys")}
    for name in ("home", "sessions", "session", "agents", "agent", "environments", "environment"):
        shown = Page(client.get(path_of(name, own)))
        assert not offered & set(shown.hrefs()), name
        actions = {form.get("action", "") for form in shown.find_all("form", method="post")}
        assert actions <= {reverse("console:workspace"), reverse("console:theme"), reverse("console:sign-out")}, name


def test_htmx_is_sent_to_the_sign_in_page_as_a_whole(client, workspace):
    answer = client.get("/sessions", headers={"HX-Request": "true", "HX-Current-URL": "http://testserver/sessions?q=x"})
    assert answer.status_code == 200
    where = urlsplit(answer["HX-Redirect"])
    assert where.path == "/sign-in"
    assert parse_qs(where.query)["next"] == ["/sessions?q=x"]


def test_somebody_in_no_workspace_is_told_so(client, ana):
    Membership.objects.all().delete()
    client.force_login(ana)
    answer = client.get("/sessions")
    assert answer.status_code == 403
    assert "You are in no workspace yet" in Page(answer).text


def test_a_removed_member_sees_nothing_at_once(page, own):
    assert page.get(path_of("session", own)).status_code == 200
    Membership.objects.all().delete()
    assert page.get(path_of("session", own)).status_code == 403


class TestWorkspaces:
    @pytest.fixture
    def second(self, ana, elsewhere):
        Membership.objects.create(user=ana, workspace=elsewhere, roles=["viewer"])
        return elsewhere

    def test_the_choice_holds_until_the_next(self, page, second):
        answer = page.post("/workspace", {"workspace": second.public_id})
        assert answer["Location"] == "/"
        assert "You are now in Elsewhere" in Page(page.get("/")).text
        assert "Elsewhere" in Page(page.get("/sessions")).text

    def test_roles_are_those_of_the_chosen_workspace(self, page, second):
        assert page.get("/keys").status_code == 200
        page.post("/workspace", {"workspace": second.public_id})
        assert page.get("/keys").status_code == 403

    def test_a_link_into_another_own_workspace_offers_to_go_there(self, page, second):
        session = factories.make_session(second)
        path = f"/sessions/{session.public_id}?event=x"
        answer = page.get(path)
        assert answer.status_code == 404
        shown = Page(answer)
        assert "in another of your workspaces, Elsewhere" in shown.text
        assert shown.find_all("input", name="next", value=path)
        answer = page.post("/workspace", {"workspace": second.public_id, "next": f"/sessions/{session.public_id}"})
        assert page.get(answer["Location"]).status_code == 200

    def test_only_members_can_choose_it(self, page, workspace):
        stranger = factories.make_workspace("Stranger")
        assert page.post("/workspace", {"workspace": stranger.public_id}).status_code == 404
        assert page.post("/workspace", {}).status_code == 404

    @pytest.mark.parametrize("bad", ["https://evil.example/", "//evil.example/", "javascript:alert(1)", "\\\\evil"])
    def test_the_way_back_never_leaves_the_site(self, page, second, bad):
        assert page.post("/workspace", {"workspace": second.public_id, "next": bad})["Location"] == "/"

    def test_looking_at_the_address_changes_nothing(self, page, second):
        assert page.get("/workspace").status_code == 405


class TestHowLongASignInLasts:
    def test_it_ends_after_eight_hours_without_use(self, client, ana):
        with time_machine.travel(timezone.now(), tick=False) as clock:
            client.force_login(ana)
            client.get("/")
            clock.shift(timedelta(hours=7, minutes=59))
            assert client.get("/").status_code == 200
            clock.shift(timedelta(hours=8, minutes=1))
            assert client.get("/").status_code == 302

    def test_it_ends_after_a_week_in_any_case(self, client, ana):
        with time_machine.travel(timezone.now(), tick=False) as clock:
            client.force_login(ana)
            for _ in range(7 * 24 // 6):
                assert client.get("/").status_code == 200
                clock.shift(timedelta(hours=6))
            clock.shift(timedelta(minutes=1))
            assert client.get("/").status_code == 302

    def test_staying_writes_the_session_now_and_then_only(self, client, ana, django_assert_num_queries):
        with time_machine.travel(timezone.now(), tick=False) as clock:
            client.force_login(ana)
            client.get("/agents")
            clock.shift(timedelta(minutes=2))
            before = client.session["seen_at"]
            client.get("/agents")
            assert client.session["seen_at"] == before
            clock.shift(timedelta(minutes=4))
            client.get("/agents")
            assert client.session["seen_at"] > before


@pytest.mark.parametrize("name", [name for name in NAMES if name not in PUBLIC | {"session-stream", "workspace"}])
def test_private_pages_are_stored_nowhere(page, own, name):
    answer = page.get(path_of(name, own))
    if answer.status_code != 405:
        assert answer["Cache-Control"] == "private, no-store"
        assert "HX-Request" in answer["Vary"]


def test_get_never_changes_anything(page, own):
    """Every act is a POST: opening its address does nothing."""
    for name in NAMES:
        if name.endswith(("archive", "delete", "interrupt", "message", "answer", "revoke")) or name in ACTS | {
            "sign-out",
            "theme",
            "workspace",
        }:
            assert page.get(path_of(name, own)).status_code == 405, name


def test_every_unsafe_request_needs_its_token(ana, own):
    from django.test import Client

    strict = Client(enforce_csrf_checks=True)
    strict.force_login(ana)
    for name in NAMES:
        answer = strict.post(path_of(name, own))
        assert answer.status_code in (403, 405), name
        if answer.status_code == 403:
            assert "This form is too old" in answer.content.decode()
