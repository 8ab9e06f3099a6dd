"""A watched session: what is stored arrives in the browser, once, in order, and only for those who may see it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from django.test import Client

from agents.models import Event, File, Membership
from agents.services import blobs, sessions
from agents.services.log import open_log
from console.views import live
from tests import factories
from tests.console import teams
from tests.console.html import Page
from tests.live import committed_db, live_url, server  # noqa: F401

TIMEOUT_S = 20


@dataclass
class Frame:
    event: str
    id: str
    html: str


class Watcher:
    """A browser tab: reads a stream in the background."""

    def __init__(self, http: httpx2.Client, path: str, **headers: str) -> None:
        self.frames: list[Frame] = []
        self.status = 0
        self.comments = 0
        self.ended = threading.Event()
        self.opened = threading.Event()
        self._http, self._path, self._headers = http, path, headers
        self._stop = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        assert self.opened.wait(TIMEOUT_S)

    def _read(self) -> None:
        try:
            with self._http.stream("GET", self._path, headers=self._headers) as answer:
                self.status = answer.status_code
                self.opened.set() if answer.status_code != 200 else None
                for lines in self._blocks(answer):
                    self._take(lines)
                    self.opened.set()
                    if self._stop:
                        return
        finally:
            self.opened.set()
            self.ended.set()

    def _blocks(self, answer: Any) -> Iterator[list[str]]:
        lines: list[str] = []
        for line in answer.iter_lines():
            if line:
                lines.append(line)
            else:
                yield lines
                lines = []

    def _take(self, lines: list[str]) -> None:
        fields: dict[str, list[str]] = {}
        for line in lines:
            name, _, value = line.partition(":")
            fields.setdefault(name, []).append(value.removeprefix(" "))
        self.comments += len(fields.get("", []))
        if "event" in fields:
            html = "\n".join(fields.get("data", []))
            self.frames.append(Frame(fields["event"][0], (fields.get("id") or [""])[0], html))

    def wait_for(self, condition: Any) -> Any:
        deadline = time.monotonic() + TIMEOUT_S
        while not (found := condition(self)):
            assert time.monotonic() < deadline, [frame.event for frame in self.frames]
            time.sleep(0.02)
        return found

    def seqs(self) -> list[int]:
        rows = [frame.html for frame in self.frames if frame.event == "row"]
        return [int(row["data-seq"]) for html in rows for row in Page(html).find_all("li")]

    def text(self, event: str) -> str:
        return " ".join(Page(frame.html).text for frame in self.frames if frame.event == event)

    def leave(self) -> None:
        self._stop = True


@pytest.fixture
def lab(server: str, settings: Any) -> Any:  # noqa: F811
    settings.DAYBREAK_HINTS = False
    settings.DAYBREAK_SSE_PING_S = 0.2
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    return factories.make_workspace()


@pytest.fixture
def browser_of(server: str) -> Iterator[Any]:  # noqa: F811
    """`browser_of(user)`: an HTTP client that is signed in as them."""
    made = []

    def make(user: Any = None) -> httpx2.Client:
        http = httpx2.Client(base_url=server, timeout=TIMEOUT_S)
        if user is not None:
            signed_in = Client()
            signed_in.force_login(user)
            http.cookies.set("sessionid", signed_in.cookies["sessionid"].value)
        made.append(http)
        return http

    yield make
    for http in made:
        http.close()


@pytest.fixture
def ana(lab: Any) -> Any:
    return factories.make_member(lab, name="ana")


@pytest.fixture
def session(lab: Any) -> Any:
    return factories.make_session(lab, title="Live")


@pytest.fixture
def watch(browser_of: Any, ana: Any, session: Any) -> Iterator[Any]:
    """`watch("?after=0")`: Ana's tab on the session's stream."""
    http, watchers = browser_of(ana), []

    def make(query: str = "?after=0", **headers: str) -> Watcher:
        watchers.append(Watcher(http, f"/sessions/{session.public_id}/stream{query}", **headers))
        return watchers[-1]

    yield make
    for watcher in watchers:
        watcher.leave()
        watcher.ended.wait(5)


def say(session: Any, text: str, **how: Any) -> Event:
    return factories.write_one(session, "agent.message", {"content": factories.text(text)}, **how)


def test_what_happens_arrives_as_the_rows_of_the_page(watch, session, browser_of, ana):
    tab = watch()
    said = [say(session, f"line {n}") for n in range(3)]
    tab.wait_for(lambda tab: len(tab.seqs()) == 3)
    page = " ".join(browser_of(ana).get(f"/sessions/{session.public_id}").text.split())
    for frame in tab.frames:
        if frame.event == "row":
            for row in frame.html.split("</li>")[:-1]:
                assert " ".join(row.split()) in page
    assert tab.seqs() == [event.seq for event in said]


def test_the_header_follows(watch, session):
    tab = watch()
    factories.run(session)
    tab.wait_for(lambda tab: "running" in tab.text("header"))
    factories.stop(session, "retries_exhausted")
    tab.wait_for(lambda tab: "failed" in tab.text("header"))


def test_a_burst_arrives_whole_and_in_order(watch, session):
    tab = watch()
    factories.write(session, *[("agent.message", {"content": factories.text(f"{n}")}) for n in range(450)])
    tab.wait_for(lambda tab: len(tab.seqs()) >= 450)
    assert tab.seqs() == list(range(1, 451))


def test_it_goes_on_where_the_page_ended(watch, session):
    for n in range(3):
        say(session, f"old {n}")
    tab = watch("?after=2")
    tab.wait_for(lambda tab: tab.seqs() == [3])


def test_a_browser_that_lost_the_connection_misses_and_repeats_nothing(watch, session):
    first = watch()
    say(session, "one")
    first.wait_for(lambda tab: tab.seqs() == [1])
    last_id = [frame.id for frame in first.frames if frame.id][-1]
    first.leave()
    say(session, "two")
    again = watch("?after=0", **{"Last-Event-ID": last_id})
    say(session, "three")
    again.wait_for(lambda tab: tab.seqs() == [2, 3])


@pytest.mark.parametrize("odd", ["-1", "x", "", "9" * 40, "٣"])
def test_an_odd_place_to_go_on_from_is_the_beginning(watch, session, odd):
    say(session, "one")
    tab = watch(f"?after={odd}")
    tab.wait_for(lambda tab: tab.seqs() == [1])


def test_routine_arrives_only_where_it_is_shown(watch, session):
    story, every = watch(), watch("?after=0&events=all")
    factories.run(session)
    factories.stop(session)
    story.wait_for(lambda tab: "finished its turn" in tab.text("row"))
    every.wait_for(lambda tab: "finished its turn" in tab.text("row"))
    assert "has used so far" not in story.text("row")
    assert "has used so far" in every.text("row")


def test_one_thread_at_a_time(watch, session):
    child = factories.make_child(session, "north")
    tab = watch(f"?after=0&thread={child.public_id}")
    say(session, "from the lead")
    say(session, "from north", thread=child)
    tab.wait_for(lambda tab: "from north" in tab.text("row"))
    assert "from the lead" not in tab.text("row")


def test_a_page_that_does_not_show_the_end_gets_the_header_only(watch, session):
    tab = watch("?after=0&rows=none")
    say(session, "later")
    tab.wait_for(lambda tab: tab.text("header"))
    assert tab.seqs() == []


def test_a_message_that_is_taken_up_loses_its_mark(watch, session):
    tab = watch()
    waiting = factories.write_one(
        session, "user.message", {"content": factories.text("Later")}, queued=True, processed=False
    )
    tab.wait_for(lambda tab: "queued" in tab.text("row"))
    with open_log(session.pk) as log:
        log.mark_processed(Event.objects.select_related("thread").get(pk=waiting.pk))
    replaced = tab.wait_for(
        lambda tab: [
            li
            for f in tab.frames
            if f.event == "patch"
            for li in Page(f.html).find_all("li", hx_swap_oob="true")
            if li.get("id") == f"event-{waiting.public_id}"
        ]
    )
    assert replaced
    patch = [f.html for f in tab.frames if f.event == "patch" and f"event-{waiting.public_id}" in f.html][-1]
    assert "queued" not in Page(patch).text


def test_a_question_appears_and_goes(watch, session):
    tab = watch()
    call = factories.ask(session, "bash", {"command": "rm -rf build"})
    tab.wait_for(lambda tab: "Scout asks to run bash" in tab.text("patch"))
    from agents.services.events import send_events

    confirmation = {"type": "user.tool_confirmation", "tool_use_id": call.use_event.public_id, "result": "allow"}
    send_events(session, events=[confirmation], by="ana")
    tab.wait_for(lambda tab: "allowed bash" in tab.text("row"))
    last = tab.wait_for(lambda tab: [f for f in tab.frames if f.event == "patch" and 'id="pending"' in f.html][-1])
    tab.wait_for(
        lambda tab: (
            "asks to run"
            not in Page([f for f in tab.frames if f.event == "patch" and 'id="pending"' in f.html][-1].html).text
        )
    )
    assert last


def test_the_team_follows_what_its_agents_do(watch, session, monkeypatch):
    monkeypatch.setattr(live, "TEAM_S", 0.0)
    tab = watch()
    north = teams.delegate(session, "north", "Read the log.")
    tab.wait_for(lambda tab: "north for Scout works Read the log." in tab.text("patch"))
    teams.report(session, north, "The disk was full.")
    tab.wait_for(lambda tab: "north for Scout finished Read the log. The disk was full." in tab.text("patch"))
    said = tab.text("row")
    assert said.count("Read the log.") == 1
    assert said.count("The disk was full.") == 1


def test_the_last_change_of_a_team_is_told_when_nothing_follows(watch, session, monkeypatch):
    monkeypatch.setattr(live, "TEAM_S", 1.0)
    monkeypatch.setattr(live, "REDRAW_S", 60.0)
    tab = watch()
    teams.delegate(session, "north")
    teams.delegate(session, "south")
    tab.wait_for(lambda tab: "south for Scout works" in tab.text("patch"))


def test_the_picture_is_told_of_news_now_and_then_and_of_the_last(watch, session):
    tab = watch()
    for n in range(12):
        say(session, f"line {n}")
        time.sleep(0.05)
    tab.wait_for(lambda tab: [f.html for f in tab.frames if f.event == "picture"][-1:] == ["12"])
    told = [int(frame.html) for frame in tab.frames if frame.event == "picture"]
    assert told == sorted(set(told))
    assert len(told) <= 6


def test_a_wait_that_is_over_reads_so(watch, session):
    north = teams.delegate(session)
    tab = watch()
    call = teams.wait(session, north)
    tab.wait_for(lambda tab: "waits for 1 agent: north" in tab.text("row"))
    teams.end_wait(session, call)
    tab.wait_for(lambda tab: "waited for 1 agent: north" in tab.text("patch"))


def test_delivered_files_appear_when_the_turn_ends(watch, session, lab):
    tab = watch()
    factories.run(session)
    File.objects.create(
        workspace=lab,
        session=session,
        kind=File.Kind.OUTPUT,
        filename="report.md",
        mime_type="text/markdown",
        size_bytes=1,
        sha256=blobs.store_bytes(b"x"),
        path="/mnt/session/outputs/report.md",
    )
    factories.stop(session)
    tab.wait_for(lambda tab: "report.md" in tab.text("patch"))


def test_hostile_text_cannot_leave_its_frame(watch, session):
    tab = watch()
    say(session, "x\n\nevent: end\ndata: <script>window.pwned=1</script>\n\n\r\rid: 99\n\n<b hx-get='/sign-out'>")
    tab.wait_for(lambda tab: tab.seqs() == [1])
    assert {frame.event for frame in tab.frames} <= {"row", "header", "patch", "picture"}
    assert {frame.id for frame in tab.frames} <= {"1", ""}
    for frame in tab.frames:
        shown = Page(frame.html)
        assert not shown.find_all("script")
        assert not shown.find_all("b")


def test_it_ends_with_the_session(watch, session):
    tab = watch()
    sessions.archive_session(session)
    assert tab.ended.wait(TIMEOUT_S)
    assert tab.frames[-1].event == "end"
    assert "archived" in tab.text("header")


def test_a_deleted_session_says_so_and_ends(watch, session):
    tab = watch()
    sessions.delete_session(session)
    assert tab.ended.wait(TIMEOUT_S)
    assert "This session was deleted" in tab.text("patch")
    assert tab.frames[-1].event == "end"


def test_a_quiet_stream_shows_signs_of_life(watch):
    tab = watch()
    tab.wait_for(lambda tab: tab.comments >= 3)


class TestWhoMayWatch:
    def test_nobody_without_signing_in(self, browser_of, session):
        answer = browser_of().get(f"/sessions/{session.public_id}/stream?after=0")
        assert answer.status_code == 302

    def test_nobody_of_another_workspace(self, browser_of, session):
        stranger = factories.make_member(factories.make_workspace("Elsewhere"), name="stranger")
        answer = browser_of(stranger).get(f"/sessions/{session.public_id}/stream?after=0")
        assert answer.status_code == 404

    def test_a_removed_member_gets_nothing_more(self, watch, session, monkeypatch):
        monkeypatch.setattr(live, "RECHECK_S", 0.1)
        tab = watch()
        say(session, "before")
        tab.wait_for(lambda tab: tab.seqs() == [1])
        Membership.objects.all().delete()
        time.sleep(0.3)
        say(session, "after")
        assert tab.ended.wait(TIMEOUT_S)
        assert "after" not in tab.text("row")

    def test_signing_out_ends_the_stream(self, browser_of, ana, session, monkeypatch):
        monkeypatch.setattr(live, "RECHECK_S", 0.1)
        http = browser_of(ana)
        tab = Watcher(http, f"/sessions/{session.public_id}/stream?after=0")
        from django.contrib.sessions.models import Session as BrowserSession

        BrowserSession.objects.all().delete()
        assert tab.ended.wait(TIMEOUT_S)

    def test_only_so_many_pages_are_live_for_one_person(self, watch, monkeypatch):
        monkeypatch.setattr(live, "STREAMS_PER_PERSON", 2)
        first, second = watch(), watch()
        third = watch()
        assert third.ended.wait(TIMEOUT_S)
        assert "too many live pages" in third.text("patch")
        assert not first.ended.is_set()
        assert not second.ended.is_set()

    def test_a_page_that_is_closed_makes_room(self, watch, session, ana):
        tab = watch()
        assert live._open_streams[ana.pk] == 1
        tab.leave()
        tab.wait_for(lambda tab: tab.ended.is_set() or say(session, "x") and False)
        deadline = time.monotonic() + TIMEOUT_S
        while live._open_streams[ana.pk] and time.monotonic() < deadline:
            say(session, "anybody there?")
            time.sleep(0.1)
        assert live._open_streams[ana.pk] == 0


def test_an_open_page_holds_no_database_connection(watch, session):
    """A dozen open pages must not use up the pool."""
    from django.db import connection

    def in_use() -> int:
        stats = connection.pool.get_stats()
        return stats["pool_size"] - stats.get("pool_available", 0)

    def settled(tabs: list[Watcher]) -> int:
        """Connections in use while nothing happens. The lowest of some looks: a stream that looks for news has one."""
        say(session, "hello")
        for tab in tabs:
            tab.wait_for(lambda tab: tab.seqs())
        looks = []
        for _ in range(40):
            time.sleep(0.02)
            looks.append(in_use())
        return min(looks)

    tabs = [watch()]
    with_one = settled(tabs)
    tabs += [watch() for _ in range(5)]
    assert settled(tabs) <= with_one
