"""Marking steps in the console: with and without scripts, by whom, and what shows it at once."""

from __future__ import annotations

import json
import re

import pytest
from django.test import Client

from agents.models import Annotation, Membership
from agents.services import annotations as services
from tests import factories
from tests.console.hostile import PAYLOADS
from tests.console.html import Page

HTMX = {"HX-Request": "true"}


@pytest.fixture
def session(workspace):
    made = factories.make_session(workspace)
    factories.turn(made)
    return made


@pytest.fixture
def event(session):
    return session.events.get(type="agent.message")


@pytest.fixture
def as_viewer(viewer):
    browser = Client()
    browser.force_login(viewer)
    return browser


def address(event, annotation=None, act="change"):
    base = f"/sessions/{event.session.public_id}"
    return f"{base}/annotations/{annotation.pk}/{act}" if annotation else f"{base}/events/{event.public_id}/annotations"


def mark(event, user, kind="failure", category="Wrong tool", text="It should have searched."):
    return services.add_annotation(event, by=user, name=user.username, kind=kind, category=category, text=text)


GIVEN = {"kind": "failure", "category": "Wrong tool", "text": "It should have searched."}


def test_a_viewer_marks_a_step_without_scripts(as_viewer, event):
    answer = as_viewer.post(address(event), GIVEN)
    assert answer["Location"] == f"/sessions/{event.session.public_id}?event={event.public_id}#event-{event.public_id}"
    made = Annotation.objects.get()
    assert (made.event, made.kind, made.author_name, made.written_here) == (event, "failure", "vera", True)


def test_htmx_gets_the_marks_the_row_and_the_line_above_the_story(as_viewer, event):
    answer = as_viewer.post(address(event), GIVEN, headers=HTMX)
    shown = Page(answer)
    assert "<html" not in shown.source
    assert shown.find_all("section", data_annotate=event.public_id)
    (row,) = shown.find_all("li", id=f"event-{event.public_id}")
    assert row["hx-swap-oob"] == "true"
    (line,) = shown.find_all("section", id="session-marks")
    assert line["hx-swap-oob"] == "true"
    assert "hidden" not in line
    assert shown.problems == []
    told = json.loads(answer["HX-Trigger"])["daybreak:marked"]
    assert told == {"seq": event.seq, "id": event.public_id, "failure": True, "marks": 1}


def test_the_last_mark_taken_away_hides_the_line(page, ana, event):
    made = mark(event, ana)
    answer = page.post(address(event, made, "remove"), headers=HTMX)
    (line,) = Page(answer).find_all("section", id="session-marks")
    assert "hidden" in line
    assert json.loads(answer["HX-Trigger"])["daybreak:marked"]["failure"] is False
    assert not Annotation.objects.exists()


def test_what_is_refused_is_said_and_what_was_typed_is_kept(as_viewer, event):
    answer = as_viewer.post(address(event), {"kind": "note", "category": "", "text": ""}, headers=HTMX)
    assert answer.status_code == 422
    shown = Page(answer)
    assert "write the note" in shown.text
    assert "open" in shown.find_all("details", class_="mark-new")[0]
    long = as_viewer.post(address(event), {**GIVEN, "text": "kept " * 1_000}, headers=HTMX)
    assert "kept kept" in Page(long).text
    assert not Annotation.objects.exists()


def test_without_scripts_a_refusal_is_a_message(page, event):
    answer = page.post(address(event), {"kind": "nonsense"}, follow=True)
    assert "choose one of failure, good, note" in Page(answer).text


def test_ones_own_mark_is_changed_and_removed(as_viewer, viewer, event):
    made = mark(event, viewer)
    as_viewer.post(address(event, made), {"kind": "good", "category": "", "text": "Fine after all."})
    made.refresh_from_db()
    assert (made.kind, made.text) == ("good", "Fine after all.")
    as_viewer.post(address(event, made, "remove"))
    assert not Annotation.objects.exists()


def test_somebody_elses_mark_stays_and_offers_no_form(as_viewer, ana, event):
    made = mark(event, ana)
    answer = as_viewer.post(address(event, made), {"kind": "good"}, headers=HTMX)
    assert answer.status_code == 422
    shown = Page(answer)
    assert "vera" not in shown.text
    assert not shown.find_all("details", class_="mark-change")
    assert as_viewer.post(address(event, made, "remove")).status_code == 302
    assert Annotation.objects.get().kind == "failure"


def test_an_admin_may_put_anybodys_right(page, viewer, event):
    made = mark(event, viewer)
    page.post(address(event, made), {"kind": "note", "text": "put right"})
    made.refresh_from_db()
    assert (made.kind, made.author_name) == ("note", "vera")


def test_imported_labels_look_the_same_and_offer_no_form(page, workspace):
    session = factories.make_imported(workspace, failure=2)
    label = session.annotations.select_related("event__session").get()
    shown = Page(page.post(address(label.event), {"kind": "good"}, headers=HTMX))
    assert "Wrong tool" in shown.text
    assert "from the imported log" in shown.text
    assert len(shown.find_all("details", class_="mark-change")) == 1  # of the new mark
    assert page.post(address(label.event, label, "remove"), headers=HTMX).status_code == 422
    assert session.annotations.count() == 2


def test_agreement_is_said_with_names(page, ana, viewer, event):
    mark(event, ana)
    mark(event, viewer)
    third = factories.make_member(event.session.workspace, "viewer", name="otto")
    shown = Page(page.post(address(event), {"kind": "note", "text": "x"}, headers=HTMX))
    assert "2 of 2 say failure: all agree" in shown.text
    mark(event, third, kind="good")
    shown = Page(page.post(address(event), {"kind": "note", "text": "y"}, headers=HTMX))
    assert "2 of 3 say failure" in shown.text
    assert "1 of 3 say good" in shown.text


def test_earlier_categories_are_offered(page, ana, event):
    mark(event, ana, category="Invented fact")
    shown = Page(page.post(address(event), {"kind": "good"}, headers=HTMX))
    assert shown.find_all("option", value="Invented fact")


def test_the_session_page_shows_new_marks(page, ana, event):
    mark(event, ana)
    shown = Page(page.get(f"/sessions/{event.session.public_id}"))
    assert "Wrong tool" in shown.text
    assert any(event.public_id in href for href in shown.hrefs())


@pytest.mark.parametrize("payload", PAYLOADS)
def test_what_people_write_is_only_text(page, event, payload):
    given = {"kind": "failure", "category": payload[:100], "text": payload}
    shown = Page(page.post(address(event), given, headers=HTMX))
    assert shown.problems == []
    assert not [tag for tag, _ in shown.elements if tag in ("script", "iframe", "base", "style", "math", "img")]
    assert not [name for _, attributes in shown.elements for name in attributes if name.startswith("on")]
    # Where it is edited, it is whole.
    told = Page(re.sub(r"<textarea.*?</textarea>", "", shown.source, flags=re.DOTALL))
    assert not set("\u202e\u2066\u2069\x1b\x9b") & set(told.text)


def test_only_what_is_there_can_be_marked(page, event, session, elsewhere, workspace):
    other = factories.make_session(workspace)
    assert page.post(f"/sessions/{other.public_id}/events/{event.public_id}/annotations", GIVEN).status_code == 404
    assert page.post(f"/sessions/{session.public_id}/events/sevt_none/annotations", GIVEN).status_code == 404
    made = mark(event, Membership.objects.first().user)
    assert page.post(f"/sessions/{other.public_id}/annotations/{made.pk}/remove").status_code == 404
    foreign = factories.make_session(elsewhere)
    (theirs,) = factories.write(foreign, ("agent.message", {"content": "x"}))
    assert page.post(address(theirs), GIVEN).status_code == 404
    assert Annotation.objects.count() == 1


def test_marks_are_only_made_by_posting(page, ana, event):
    made = mark(event, ana)
    for path in (address(event), address(event, made), address(event, made, "remove")):
        assert page.get(path).status_code == 405
