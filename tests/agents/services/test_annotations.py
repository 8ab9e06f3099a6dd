"""What people say of steps: who may say and change what, and how far they agree."""

from __future__ import annotations

from typing import Any

import pytest

from agents.errors import Invalid, NotAllowed, NotFound
from agents.models import Annotation, Event, Membership
from agents.services import annotations as services
from agents.services.annotations import Agreement, agreements, can_change
from agents.services.log import clean_text
from tests import factories
from tests.console.hostile import PAYLOADS


@pytest.fixture
def workspace(db: None) -> Any:
    return factories.make_workspace()


@pytest.fixture
def event(workspace: Any) -> Event:
    (made,) = factories.write(factories.make_session(workspace), ("agent.message", {"content": "well"}))
    return made


def member(workspace: Any, *roles: str, name: str) -> Membership:
    user = factories.make_member(workspace, *roles, name=name)
    return Membership.objects.get(user=user, workspace=workspace)


@pytest.fixture
def vera(workspace: Any) -> Membership:
    return member(workspace, "viewer", name="vera")


@pytest.fixture
def otto(workspace: Any) -> Membership:
    return member(workspace, "operator", name="otto")


@pytest.fixture
def ada(workspace: Any) -> Membership:
    return member(workspace, "admin", name="ada")


def mark(event: Event, by: Membership, **given: str) -> Annotation:
    values = {"kind": "failure", "category": "Wrong tool", "text": "It should have searched.", **given}
    return services.add_annotation(event, by=by.user, name=by.user.username, **values)


def test_a_viewer_marks_a_step(event, vera):
    made = mark(event, vera, category="  Wrong\n tool ", text=" seen\r\nthere ")
    made.refresh_from_db()
    assert (made.kind, made.category, made.text) == ("failure", "Wrong tool", "seen\nthere")
    assert (made.author, made.author_name, made.written_here, made.changed_at) == (vera.user, "vera", True, None)
    assert (made.event, made.session) == (event, event.session)


def test_the_same_person_may_say_several_things(event, vera):
    mark(event, vera)
    mark(event, vera, kind="good", text="but honest")
    assert event.annotations.count() == 2


@pytest.mark.parametrize(
    "given",
    [
        {"kind": "bad"},
        {"kind": ""},
        {"category": "x" * 101},
        {"text": "x" * 4_001},
        {"kind": "note", "category": " ", "text": "\n"},
    ],
)
def test_what_says_nothing_or_too_much_is_refused(event, vera, given):
    with pytest.raises(Invalid):
        mark(event, vera, **given)
    made = mark(event, vera)
    with pytest.raises(Invalid):
        services.change_annotation(made, by=vera, **{"kind": "failure", "category": "", "text": "", **given})
    assert event.annotations.get().text == "It should have searched."


def test_an_event_takes_only_so_many(event, vera, monkeypatch):
    monkeypatch.setattr(services, "MAX_PER_EVENT", 2)
    mark(event, vera)
    mark(event, vera)
    with pytest.raises(Invalid):
        mark(event, vera)


@pytest.mark.parametrize("who, may", [("vera", True), ("otto", False), ("ada", True)])
def test_the_author_and_admins_change_and_remove(event, vera, otto, ada, who, may):
    by = {"vera": vera, "otto": otto, "ada": ada}[who]
    made = mark(event, vera)
    assert can_change(made, by) == may
    if may:
        changed = services.change_annotation(made, by=by, kind="note", category="", text="a remark")
        assert (changed.kind, changed.text, changed.author_name) == ("note", "a remark", "vera")
        assert changed.changed_at is not None
        services.remove_annotation(made, by=by)
        assert not event.annotations.exists()
    else:
        with pytest.raises(NotAllowed, match="vera's"):
            services.change_annotation(made, by=by, kind="note", text="a remark")
        with pytest.raises(NotAllowed):
            services.remove_annotation(made, by=by)
        assert event.annotations.get().kind == "failure"


def test_imported_labels_stay_whoever_asks(workspace, ada):
    session = factories.make_imported(workspace, failure=2)
    label = session.annotations.get()
    assert not can_change(label, ada)
    with pytest.raises(NotAllowed, match="imported log"):
        services.change_annotation(label, by=ada, kind="good")
    with pytest.raises(NotAllowed):
        services.remove_annotation(label, by=ada)
    assert session.annotations.get().kind == "failure"


def test_a_mark_whose_author_left_is_no_imported_label(event, vera, ada):
    made = mark(event, vera)
    vera.user.delete()
    made.refresh_from_db()
    assert (made.author, made.author_name) == (None, "vera")
    services.change_annotation(made, by=ada, kind="good", text="after all")


def test_what_is_gone_is_not_found(event, vera):
    made = mark(event, vera)
    services.remove_annotation(made, by=vera)
    with pytest.raises(NotFound):
        services.remove_annotation(made, by=vera)
    with pytest.raises(NotFound):
        services.change_annotation(made, by=vera, kind="good")


@pytest.mark.parametrize("payload", [*PAYLOADS[::5], "nul \x00 and \ud800 alone"])
def test_any_text_is_kept_as_it_can_be(event, vera, payload):
    made = mark(event, vera, category=payload[:90], text=payload)
    made.refresh_from_db()
    assert made.text == clean_text(payload).replace("\r\n", "\n").strip()


class TestAgreement:
    def test_one_voice_agrees_with_nobody(self, event, vera):
        mark(event, vera)
        mark(event, vera, text="again")
        assert agreements(event.annotations.all()) == []

    def test_two_of_three(self, event, vera, otto, ada):
        mark(event, vera)
        mark(event, otto)
        mark(event, ada, kind="good")
        failure, good = agreements(event.annotations.order_by("pk"))
        assert failure == Agreement("failure", 2, 3, ("vera", "otto"))
        assert (good.says, good.of, good.is_shared) == (1, 3, False)

    def test_a_person_who_says_it_twice_counts_once(self, event, vera, otto):
        mark(event, vera)
        mark(event, vera)
        mark(event, otto)
        (failure,) = agreements(event.annotations.order_by("pk"))
        assert (failure.says, failure.of, failure.is_shared) == (2, 2, True)

    def test_notes_judge_nothing(self, event, vera, otto):
        mark(event, vera)
        mark(event, otto, kind="note")
        assert agreements(event.annotations.all()) == []

    def test_imported_labels_have_a_voice(self, workspace, vera):
        session = factories.make_imported(workspace, failure=2)
        event = session.annotations.get().event
        mark(event, vera)
        (failure,) = agreements(event.annotations.order_by("pk"))
        assert (failure.says, failure.names) == (2, ("annotators", "vera"))


class TestSuggestions:
    def test_categories_are_the_workspaces_own_commonest_first(self, event, workspace, vera):
        for category in ("Rare", "Common", "Common", ""):
            mark(event, vera, category=category)
        elsewhere = factories.make_workspace("Elsewhere")
        (foreign,) = factories.write(factories.make_session(elsewhere), ("agent.message", {"content": "x"}))
        mark(foreign, member(elsewhere, name="eve"), category="Secret")
        assert services.categories(workspace) == ["Common", "Rare"]
        assert services.authors(workspace) == ["vera"]
