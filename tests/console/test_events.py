"""One event opened: what it holds, shown as what it is; the facts around it; and its raw form."""

from __future__ import annotations

import base64
import json

import pytest

from console.story import detail
from console.story.detail import MAX_PART, parts_of, text_diff
from tests import factories
from tests.console.html import Page

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"0" * 40).decode()


@pytest.fixture
def session(workspace):
    return factories.make_session(workspace, title="Find it", says="Why?")


def open_event(page, event, **how):
    return page.get(f"/sessions/{event.session.public_id}/events/{event.public_id}", **how)


def parts(type_, data, private=None):
    return [(part.kind, part.title, part.text) for part in parts_of(type_, data, private or {})]


@pytest.mark.parametrize(
    "type_, data, shown",
    [
        ("agent.message", {"content": factories.text("**Hi**")}, [("markdown", "", "**Hi**")]),
        (
            "agent.tool_use",
            {"name": "bash", "input": {"command": "ls\npwd", "timeout_ms": 5}},
            [("code", "Command", "ls\npwd"), ("code", "Input", '{\n  "timeout_ms": 5\n}')],
        ),
        (
            "agent.tool_use",
            {"name": "edit", "input": {"file_path": "/a", "old_string": "x\ny", "new_string": "x\nz"}},
            [("diff", "Change of /a", "@@ -1,2 +1,2 @@\n x\n-y\n+z")],
        ),
        (
            "agent.tool_use",
            {"name": "Write", "input": {"file_path": "/a", "content": "text"}},
            [("text", "New content of /a", "text")],
        ),
        ("agent.tool_use", {"name": "odd", "input": "text"}, [("code", "", "text")]),
        ("agent.tool_result", {"content": factories.text("out")}, [("text", "", "out")]),
        ("agent.tool_result", {"content": "plain string"}, [("text", "", "plain string")]),
        ("session.error", {"error": {"message": "Overloaded"}}, [("text", "", "Overloaded")]),
        (
            "user.message",
            {"content": [{"type": "image", "source": {"type": "url", "url": "https://x.example/i.png"}}]},
            [("text", "", "An image: https://x.example/i.png")],
        ),
        (
            "user.message",
            {"content": [{"type": "document", "title": "Spec", "source": {"type": "text", "data": "body"}}]},
            [("text", "Spec", "body")],
        ),
        ("user.message", {"content": [{"type": "redacted"}]}, [("text", "", "This part was redacted.")]),
        ("user.message", {"content": [{"type": "new_kind", "x": 1}]}, None),
        ("session.status_running", {}, []),
    ],
)
def test_what_an_event_holds_is_shown_as_what_it_is(type_, data, shown):
    found = parts(type_, data)
    assert found == shown if shown is not None else found[0][0] == "code"


def test_a_thought_is_shown_from_beside_the_wire():
    assert parts("agent.thinking", {}, {"thinking": "Hm."}) == [("markdown", "", "Hm.")]
    assert parts("agent.thinking", {}) == []


def test_images_we_hold_are_shown_and_others_are_not_fetched():
    def image(media_type, data):
        source = {"type": "base64", "media_type": media_type, "data": data}
        return parts("user.message", {"content": [{"type": "image", "source": source}]})[0]

    assert image("image/png", PNG) == ("image", "Image, 48 bytes", f"data:image/png;base64,{PNG}")
    assert image("image/svg+xml", PNG)[0] == "text"
    assert image("image/png", 'x" onerror="alert(1)')[:1] == ("text",)


def test_an_image_too_large_is_not_put_into_the_page(monkeypatch):
    monkeypatch.setattr(detail, "MAX_IMAGE_BYTES", 10)
    source = {"type": "base64", "media_type": "image/png", "data": PNG}
    assert parts("user.message", {"content": [{"type": "image", "source": source}]})[0][0] == "text"


def test_a_diff_has_the_changed_lines_only():
    old = "\n".join(str(n) for n in range(50))
    assert text_diff(old, old.replace("25", "x")).split("\n")[4:6] == ["-25", "+x"]
    assert text_diff(old, old) == ""


class TestPage:
    def test_it_names_who_and_what_and_when(self, page, session):
        start, said, use, _, result = factories.turn(session)
        text = Page(open_event(page, use)).text
        assert "Scout ran grep" in text
        assert '"pattern": "ERROR"' in text
        assert "Number" in text
        assert "UTC" in text

    def test_causes_and_effects_are_links(self, page, session):
        start, _, use, _, result = factories.turn(session)
        shown = Page(open_event(page, use))
        base = f"/sessions/{session.public_id}?event="
        assert f"{base}{start.public_id}#event-{start.public_id}" in shown.hrefs()
        assert f"{base}{result.public_id}#event-{result.public_id}" in shown.hrefs()
        assert "Because Scout asked its model" in shown.text
        assert "Led to Scout got the result of grep" in shown.text

    def test_the_neighbours_are_one_step_away(self, page, session):
        start, said, *_ = factories.turn(session)
        shown = Page(open_event(page, said))
        (before,), (after,) = shown.find_all("a", rel="prev"), shown.find_all("a", rel="next")
        assert Page(page.get(before["href"])).text != Page(page.get(after["href"])).text

    def test_who_decided_about_a_call_is_told(self, page, session):
        call = factories.ask(session)
        assert "waits for an answer" in Page(open_event(page, call.use_event)).text
        page.post(f"/sessions/{session.public_id}/answers/{call.use_event.public_id}", {"result": "allow"})
        assert "Allowed by ana" in Page(open_event(page, call.use_event)).text

    def test_a_message_that_waits_says_so(self, page, session):
        event = factories.write_one(
            session, "user.message", {"content": factories.text("More")}, queued=True, processed=False
        )
        assert "not yet: it waits until the agent finishes its turn" in Page(open_event(page, event)).text

    def test_an_imported_event_claims_no_time(self, page, workspace):
        imported = factories.make_imported(workspace, failure=2)
        text = Page(open_event(page, imported.annotations.get().event)).text
        assert "Recorded" not in text
        assert "Wrong tool: It should have searched." in text

    def test_htmx_gets_the_content_alone(self, page, session):
        _, said, *_ = factories.turn(session)
        answer = open_event(page, said, headers={"HX-Request": "true"})
        assert "<html" not in answer.content.decode()
        assert Page(answer).find_all("div", class_="event-detail")

    def test_rendered_text_is_out_of_reach_for_htmx(self, page, session):
        _, said, *_ = factories.turn(session, '<b hx-get="/sign-out">x</b>')
        shown = Page(open_event(page, said))
        (box,) = shown.find_all("div", class_="event-detail")
        assert "hx-disable" in box
        assert not shown.find_all("b")

    def test_a_huge_event_is_cut_with_a_word_about_it(self, page, session):
        text = "x" * 3_000_000
        event = factories.write_one(session, "agent.tool_result", {"tool_use_id": "", "content": factories.text(text)})
        answer = open_event(page, event)
        assert len(answer.content) < 3 * MAX_PART
        assert "2,900,000 more characters are only in the download" in Page(answer).text
        raw = json.loads(page.get(f"/sessions/{session.public_id}/events/{event.public_id}/raw").content)
        assert raw["content"][0]["text"] == text

    def test_an_unknown_type_is_still_shown(self, page, session):
        event = factories.write_one(session, "future.event", {"answer": 42})
        assert "future.event" in Page(open_event(page, event)).text
        assert '"answer": 42' in Page(open_event(page, event)).text


class TestRaw:
    def test_it_is_the_event_as_the_api_gives_it(self, page, session):
        _, said, *_ = factories.turn(session)
        answer = page.get(f"/sessions/{session.public_id}/events/{said.public_id}/raw")
        assert answer["Content-Type"] == "application/json"
        assert answer["Content-Disposition"] == f'attachment; filename="{said.public_id}.json"'
        raw = json.loads(answer.content)
        assert list(raw)[:2] == ["id", "type"]
        assert raw["processed_at"].endswith("Z")
        assert "private" not in raw
        assert "thinking" not in answer.content.decode()
