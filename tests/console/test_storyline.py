"""A session in plain sentences: the same log gives the same ones, each about events that are there."""

from __future__ import annotations

import json

import pytest

from agents.models import File, FileVersion
from agents.services import blobs
from agents.services.ingestion import import_session
from console.story.rows import lanes_of
from console.story.storyline import MOST_SENTENCES, storyline_of
from tests import factories
from tests.agents.runtime.teams import CHILD, LEAD, models, says, spawn, start_team, wait  # noqa: F401
from tests.agents.runtime.teams import settle as drive
from tests.console import teams
from tests.console.hostile import PAYLOADS, hostile_events
from tests.console.html import Page
from tests.live import committed_db  # noqa: F401

MOST_QUERIES = 32


def told(session):
    return storyline_of(session, lanes_of(session))


def texts(session):
    return [f"{sentence.text} {sentence.quote}".strip() for sentence in told(session).sentences]


def path(session, rest=""):
    return f"/sessions/{session.public_id}/inspect/summary{rest}"


@pytest.fixture
def session(workspace):
    return factories.make_session(workspace, title="Triage", says="Find both causes.")


def test_a_team_is_told_from_the_question_to_the_end(session):
    north, south = teams.delegate(session, "north", "Read the first log."), teams.delegate(session, "south", "Second.")
    teams.report(session, north, "The disk was full.")
    teams.report(session, south, "This agent could not finish its task.", kind="failure")
    factories.write_one(session, "agent.message", {"content": factories.text("The disk.")})
    factories.stop(session)
    found = texts(session)
    assert found[0] == "Ana asked Scout: Find both causes."
    assert "Scout asked north: Read the first log." in found
    assert "north reported: The disk was full." in found
    assert "south could not finish: This agent could not finish its task." in found
    assert found[-2] == "In the end Scout said: The disk."
    assert found[-1].startswith("Now: done.")
    assert found.index("Scout asked north: Read the first log.") < found.index("north reported: The disk was full.")


def test_a_real_run_is_told(models):  # noqa: F811
    workspace = factories.make_workspace()
    models.tell(LEAD, says("", spawn("Read the log.")), says("", wait()), says("It was the disk."))
    models.tell(CHILD, says("The disk was full."))
    session = drive(start_team(workspace, "Find both causes."))
    found = texts(session)
    assert any(text.endswith("asked Worker: Read the log.") for text in found)
    assert "Worker reported: The disk was full." in found
    assert any("said: It was the disk." in text for text in found)
    assert told(session).summary.startswith("2 agents took part")


def test_each_sentence_leads_to_an_event_that_is_there_or_to_a_tab(page, session):
    child = teams.delegate(session)
    teams.report(session, child, "Found it.")
    shown = Page(page.get(path(session), headers={"HX-Request": "true"}))
    ids = set(session.events.values_list("public_id", flat=True))
    links = [link for link in shown.find_all("a") if "data-event" in link]
    assert links and {link["data-event"] for link in links} <= ids
    for sentence in told(session).sentences:
        assert sentence.event_id in ids or sentence.tab or sentence.text.startswith(("Now:", "Nothing"))


def test_questions_tell_who_decided_and_with_which_words(page, session):
    first = factories.ask(session, "bash", {"command": "rm -r build"})
    assert "Scout asked whether it may run bash; it still waits for an answer." in texts(session)
    address = f"/sessions/{session.public_id}/answers/{first.use_event.public_id}"
    page.post(address, {"result": "deny", "deny_message": "Keep it"})
    (line,) = [text for text in texts(session) if "may run bash" in text]
    assert "; ana refused it after" in line and line.endswith("Keep it")


def test_what_was_delivered_changed_and_marked(session):
    File.objects.create(
        workspace=session.workspace,
        session=session,
        kind=File.Kind.OUTPUT,
        filename="report.md",
        mime_type="text/plain",
        size_bytes=1,
        sha256=blobs.store_bytes(b"x"),
        path="/mnt/session/outputs/report.md",
    )
    primary = session.primary_thread
    FileVersion.objects.create(session=session, path="/workspace/a", number=1, change="write", thread=primary)
    event = session.events.first()
    session.annotations.create(event=event, kind="failure", category="Wrong", text="No.", author_name="Ben")
    found = texts(session)
    assert "It delivered report.md." in found
    assert "1 file was written or changed on the way." in found
    assert "Ben marked event 1 as a failure (Wrong): No." in found


def test_errors_that_repeat_are_told_once(session):
    for _ in range(4):
        factories.write_one(session, "session.error", {"error": {"type": "x", "message": "Overloaded"}})
    assert sum("Overloaded" in text for text in texts(session)) == 1


def test_a_session_that_was_asked_nothing_says_so(workspace):
    assert texts(factories.make_session(workspace)) == ["Nothing has been asked yet."]


def test_imported_chats_say_who_spoke_and_what_is_not_known(page, workspace):
    session = factories.make_imported(workspace, events=9, failure=3)
    found = texts(session)
    assert any(text.startswith("north spoke 4 times, the last time: line 7") for text in found)
    assert "annotators marked event 5 as a failure (Wrong tool): It should have searched." in found
    assert found[-1] == "The record ends here; what came after it is not known."
    assert "The source says who spoke, not always why." in Page(page.get(path(session))).text


def test_who_and_when_logs_are_told(workspace, shared_data):
    from agents.ingestion import chat
    from agents.ingestion.model import ImportReport

    for file in sorted((shared_data / "whowhen").rglob("*.json"))[:5]:
        for imported in chat.read([file], ImportReport()):
            session = import_session(workspace, imported).session
            story = told(session)
            labels = json.loads(file.read_text())
            assert 3 <= len(story.sentences) <= MOST_SENTENCES
            assert any("marked event" in sentence.text for sentence in story.sentences) == bool(imported.annotations), (
                labels.get("question")
            )


def test_it_stays_short_however_much_happened(session, django_assert_max_num_queries):
    for number in range(40):
        child = teams.delegate(session, f"agent {number % 13}", f"Task {number}.")
        teams.report(session, child, f"Done {number}.")
        factories.write_one(session, "user.message", {"content": factories.text(f"And {number}?")})
        factories.write_one(session, "session.error", {"error": {"message": f"Error {number}"}})
    lanes = lanes_of(session)
    with django_assert_max_num_queries(MOST_QUERIES):
        story = storyline_of(session, lanes)
    assert len(story.sentences) <= MOST_SENTENCES
    found = [sentence.text for sentence in story.sentences]
    assert any("more agents" in text and "same kind of work" in text for text in found)
    assert any("more messages from people came between" in text for text in found)
    assert any("more errors came between" in text for text in found)


def test_the_same_log_tells_the_same_story(session):
    factories.turn(session)
    assert told(session) == told(session)


def test_hostile_text_is_only_text(page, session):
    hostile_events(session, " ".join(PAYLOADS))
    child = teams.delegate(session, PAYLOADS[0][:200], PAYLOADS[4])
    teams.report(session, child, PAYLOADS[8])
    shown = Page(page.get(path(session)))
    assert shown.problems == []
    assert "<script>window" not in shown.source and "\u202e" not in shown.text
