"""`manage.py import_traces`: what it prints, what it adds, and how it fails."""

from __future__ import annotations

import io
import json

import pytest
from django.core.management import CommandError, call_command

from tests.agents.ingestion.claude_files import SESSION, assistant, text, user, write

pytestmark = pytest.mark.django_db


@pytest.fixture
def workspace():
    from agents.models import Workspace

    return Workspace.objects.create(name="Home", slug="home")


def run(*arguments, **options):
    out, err = options.pop("out", io.StringIO()), options.pop("err", io.StringIO())
    call_command("import_traces", *map(str, arguments), stdout=out, stderr=err, **options)
    return out.getvalue().splitlines(), err.getvalue().splitlines()


def session_file(folder, *more):
    return write(
        folder / f"{SESSION}.jsonl", user("u1", "Hi there."), assistant("a1", text("Hello."), parent="u1"), *more
    )


def test_it_prints_a_line_per_session_and_closes_with_the_totals(workspace, tmp_path):
    from agents.models import Session

    session_file(tmp_path)
    (tmp_path / "chat.json").write_text(json.dumps([{"role": "user", "content": "Other"}]))

    out, err = run(tmp_path)

    sessions = {session.title: session.public_id for session in Session.objects.all()}
    assert out == [
        f"{sessions['Hi there.']}  new  1 threads  4 events  Hi there.",
        f"{sessions['Other']}  new  1 threads  1 events  Other",
        "imported 2 sessions, 5 events, 0 skipped",
    ]
    assert err == []


def test_what_is_broken_is_counted_and_named_and_the_rest_is_imported(workspace, tmp_path):
    path = session_file(tmp_path, "{broken", {"type": "mode", "sessionId": SESSION})
    (tmp_path / "other.json").write_text("{}")

    out, err = run(tmp_path)

    assert err == [
        f"skipped {path}:3: not JSON: Expecting property name enclosed in double quotes at column 2",
        f"skipped {tmp_path / 'other.json'}: no conversation found in it",
    ]
    assert out[1:] == ["skipped 1 lines that are no events: mode", "imported 1 sessions, 4 events, 3 skipped"]


def test_a_second_run_adds_nothing_and_a_grown_file_only_its_tail(workspace, tmp_path):
    path = session_file(tmp_path)
    run(path)

    assert run(path)[0] == [
        "1 sessions were here already and have nothing new",
        "imported 0 sessions, 0 events, 0 skipped",
    ]
    session_file(tmp_path, user("u2", "More.", parent="a1", second=5))
    out, _ = run(path)
    assert out[0].split("  ")[1:4] == ["grown", "1 threads", "1 events"]
    assert out[-1] == "imported 1 sessions, 1 events, 0 skipped"


def test_the_workspace_is_named_by_its_slug(workspace, tmp_path):
    from agents.models import Session, Workspace

    other = Workspace.objects.create(name="Other", slug="other")

    run(session_file(tmp_path), workspace="other")

    assert Session.objects.get().workspace == other


def test_a_terminal_gets_a_progress_bar(workspace, tmp_path):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    screen = Terminal()
    run(session_file(tmp_path), err=screen)

    assert f"[{'#' * 30}] 1/1" in screen.getvalue()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["missing"], "There is no file or folder {0}/missing."),
        (["empty.json"], "Found no session to import."),
        (["s.jsonl", "--workspace=nowhere"], "There is no workspace nowhere. Known workspaces: home."),
    ],
)
def test_what_cannot_work_is_refused_in_one_sentence(workspace, tmp_path, arguments, sentence):
    (tmp_path / "empty.json").write_text("{}")
    write(tmp_path / "s.jsonl", user("u1", "Hi"))

    with pytest.raises(CommandError) as refused:
        run(tmp_path / arguments[0], *arguments[1:])

    assert str(refused.value).startswith(sentence.format(tmp_path))
    assert refused.value.returncode == 1


def test_without_a_workspace_it_says_how_to_get_one(tmp_path):
    with pytest.raises(CommandError, match="There is no workspace yet"):
        run(session_file(tmp_path))
