"""Full-text search: what is a word, what a query means, that the index misses nothing and leaves nothing behind."""

from __future__ import annotations

import json
import threading
from typing import Any

import psycopg
import pytest
from django.db import connection, transaction
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from agents.models import Event, SearchProgress, SearchText, Session, SessionFacet
from agents.services import search, search_batch, search_index
from agents.services.search_excerpts import excerpt
from agents.services.search_index import Sweeper
from agents.services.search_query import MAX_QUERY, MAX_TERMS, parse
from agents.services.search_text import Kind, text_of
from agents.services.search_words import MAX_TEXT, MAX_WORD, tsvector, words_in
from agents.services.sessions import delete_session
from tests import factories
from tests.console.hostile import PAYLOADS, hostile_events
from tests.live import *  # noqa: F403
from tests.runs import start_session, wait_idle
from tests.worker import *  # noqa: F403
from tests.worker import wait_until


def index() -> int:
    """Everything that is visible, at once."""
    return Sweeper().sweep(pause=lambda seconds: None)


def found(session: Session, text: str, **wanted: Any) -> list[int]:
    """The `seq`s of the events of a session that a query finds."""
    hits = search.find_in_session(session, parse(text), search.Filter(**wanted))
    return sorted(hit.seq for hit in hits.hits)


def marked(text: str, query: str) -> str:
    return "".join(f"[{piece.text}]" if piece.is_hit else piece.text for piece in excerpt(text, parse(query)))


@pytest.fixture
def workspace(db: None) -> Any:
    return factories.make_workspace()


@pytest.fixture
def session(workspace: Any) -> Session:
    return factories.make_session(workspace)


def say(session: Session, *texts: str) -> list[Event]:
    return factories.write(session, *(("agent.message", {"content": factories.text(text)}) for text in texts))


class TestWords:
    @pytest.mark.parametrize(
        "text, words",
        [
            ("Hello, World", ["hello", "world"]),
            ("/workspace/src/foo_bar.py", ["workspace", "src", "foo", "bar", "py"]),
            ("user.name@example.com", ["user", "name", "example", "com"]),
            ("utf8 py3 a1b2c3", ["utf8", "py3", "a1b2c3"]),
            ("Café CAFÉ cafe\u0301", ["cafe", "cafe", "cafe"]),
            ("Straße", ["strasse"]),
            ("机器学习", ["机", "器", "学", "习"]),
            ("мир", ["мир"]),
            ("", []),
            ("-- … !!", []),
        ],
    )
    def test_a_word_is_a_run_of_letters_and_digits(self, text, words):
        assert [word.whole for word in words_in(text)] == words

    @pytest.mark.parametrize(
        "text, parts",
        [
            ("getUserName", ("get", "user", "name")),
            ("XMLHttpRequest", ("xml", "http", "request")),
            ("Base64Encoder", ("base64", "encoder")),
            ("userID", ("user", "id")),
            ("iPhone", ()),
            ("v7fKqZ2mNx9bRt", ()),
            ("Title", ()),
            ("CONSTANT", ()),
            ("plain", ()),
        ],
    )
    def test_camel_case_words_have_parts_and_ids_have_none(self, text, parts):
        assert [word.parts for word in words_in(text)] == [parts]

    def test_very_long_words_are_known_by_their_beginning(self):
        (word,) = words_in("x" * 5_000)
        assert word.whole == "x" * MAX_WORD

    @settings(max_examples=150, deadline=None)
    @given(st.text(max_size=300))
    @example("\u0130 ½ ﷺ ㎏ \ud800 \x00 '\\")
    def test_any_text_makes_a_well_formed_vector(self, text):
        for part in tsvector(text, "_w1").split():
            word, _, places = part.partition(":")
            assert word[0] == word[-1] == "'"
            assert word[1:-1] == "_w1" or (word[1:-1].isalnum() and places)


class TestQueries:
    @pytest.mark.parametrize(
        "text, tsquery",
        [
            ("one two", "'one' & 'two'"),
            ('"one two" three', "('one' <-> 'two') & 'three'"),
            ('"never closed', "('never' <-> 'closed')"),
            ("one OR two three", "('one' | 'two') & 'three'"),
            ("one -two", "'one' & !'two'"),
            ('one -"two three"', "'one' & !('two' <-> 'three')"),
            ("conn*", "'conn':*"),
            ("c*", "'c'"),
            ("foo_bar.py", "('foo' <-> 'bar' <-> 'py')"),
            ("getUser", "('getuser' | ('get' <-> 'user'))"),
            ("getUs*", "('getus':* | ('get' <-> 'us':*))"),
            ("--track-changes", "('track' <-> 'changes')"),
            ("OR one OR", "'one'"),
            ("a | b & !c <-> (d)", "'a' & 'b' & 'c' & 'd'"),
            ("it's", "('it' <-> 's')"),
        ],
    )
    def test_what_is_typed_means(self, text, tsquery):
        assert parse(text).tsquery == tsquery

    @pytest.mark.parametrize("text", ["", " ", "-", '""', "***", "-only", "OR", "\u202e", "!!"])
    def test_nothing_to_look_for_is_an_empty_query(self, text):
        assert not parse(text)

    def test_a_long_query_is_cut_and_says_so(self):
        assert parse("x" * (MAX_QUERY + 1)).is_cut
        assert parse(" ".join(f"a{n}" for n in range(MAX_TERMS + 1))).is_cut
        assert not parse("short").is_cut


class TestAnyQuery(TestCase):
    """Nothing that is typed raises, neither here nor in PostgreSQL."""

    @settings(max_examples=120, deadline=None)
    @given(st.one_of(st.text(max_size=120), st.text(alphabet="ab_ \"-*|&!()<>:'\\OR\x00é机", max_size=60)))
    @example("'; DROP TABLE agents_event; --")
    @example("\\'a' & b:*")
    @example('"' * 9)
    def test_any_text_is_a_query(self, text):
        query = parse(text)
        if query:
            with connection.cursor() as cursor:
                cursor.execute("SELECT %s::tsvector @@ %s::tsquery", [tsvector("a b"), query.tsquery])

    @settings(max_examples=60, deadline=None)
    @given(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=200))
    def test_what_is_stored_is_found_by_its_own_words(self, text):
        words = [word.whole for word in words_in(text)]
        with connection.cursor() as cursor:
            cursor.execute("SELECT %s::tsvector", [tsvector(text)])
            for word in words[:5]:
                query = parse(word)
                if query:
                    cursor.execute("SELECT %s::tsvector @@ %s::tsquery", [tsvector(text), query.tsquery])
                    assert cursor.fetchone()[0], word


class TestTexts:
    @pytest.mark.parametrize(
        "type_, data, private, kind, text",
        [
            ("user.message", {"content": [{"type": "text", "text": "hi"}]}, {}, Kind.MESSAGE, "hi"),
            ("agent.message", {"content": "plain"}, {}, Kind.MESSAGE, "plain"),
            ("agent.thinking", {}, {"thinking": "hm"}, Kind.THINKING, "hm"),
            ("agent.tool_use", {"name": "bash", "input": {"command": "ls"}}, {}, Kind.TOOL_INPUT, "bash\nls"),
            ("agent.tool_use", {"name": "x", "input": {"a": {"b c": 1}}}, {}, Kind.TOOL_INPUT, "x\nb c\n1"),
            ("agent.tool_result", {"tool_use_id": "i", "content": "out"}, {}, Kind.TOOL_OUTPUT, "out"),
            ("agent.thread_message_sent", {"content": "do"}, {}, Kind.DELEGATION, "do"),
            ("session.error", {"error": {"type": "t", "message": "bad"}}, {}, Kind.ERROR, "type\nt\nmessage\nbad"),
            ("session.updated", {"title": "New"}, {}, Kind.NOTE, "New"),
            ("workflow_run.created", {"name": "w", "phases": ["p"]}, {}, Kind.NOTE, "w\np"),
            ("agent.thread_context_compacted", {}, {"summary": "so far"}, Kind.NOTE, "so far"),
        ],
    )
    def test_what_can_be_searched(self, type_, data, private, kind, text):
        made = text_of(type_, data, private)
        assert (made.kind, made.text) == (kind, text)

    @pytest.mark.parametrize(
        "type_, data",
        [
            ("session.status_running", {}),
            ("span.model_request_start", {"model": "x"}),
            ("agent.thinking", {}),
            ("agent.tool_use", {"name": "bash", "input": {"command": "ls"}, "session_thread_id": "sthr_1"}),
            ("daybreak.tool_use", {"name": "send_message"}),
            ("daybreak.tool_result", {"content": "delivered"}),
        ],
    )
    def test_what_has_no_words_of_its_own(self, type_, data):
        assert text_of(type_, data, {}) is None

    def test_bytes_are_not_searched_but_a_text_document_is(self):
        image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo"}}
        document = {"type": "document", "title": "Terms", "source": {"type": "text", "data": "small print"}}
        text = text_of("user.message", {"content": [image, document]}, {}).text
        assert "iVBOR" not in text
        assert "small print" in text

    def test_colours_of_a_terminal_hide_no_word(self):
        assert text_of("agent.tool_result", {"content": "\x1b[31mfailed\x1b[0m"}, {}).text == "failed"

    def test_a_long_text_is_cut_and_says_so(self):
        made = text_of("agent.message", {"content": "word " * 50_000}, {})
        assert len(made.text) == MAX_TEXT
        assert made.is_cut

    @settings(max_examples=100, deadline=None)
    @given(
        st.sampled_from(["agent.tool_use", "agent.tool_result", "user.message", "session.error", "any.thing"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
            lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
            max_leaves=12,
        ),
    )
    def test_odd_shapes_never_raise(self, type_, data):
        text_of(type_, data, data)
        text_of(type_, {"content": data, "input": data, "error": data, "name": data}, {"thinking": data})


class TestExcerpts:
    @pytest.mark.parametrize(
        "text, query, shown",
        [
            ("the quick brown fox", "quick", "the [quick] brown fox"),
            ("Timeout timeout TIMEOUT", "timeout", "[Timeout] [timeout] [TIMEOUT]"),
            ("a connection was refused", "conn*", "a [connection] was refused"),
            ("one two one", '"one two"', "[one two] one"),
            ("see src/foo_bar.py now", "foo_bar.py", "see src/[foo_bar.py] now"),
            ("call getUserName()", "user", "call [getUserName]()"),
            ("call get_user_name()", "getUserName", "call [get_user_name]()"),
            ("a  b\n\n c", "b", "a [b] c"),
            ("nothing here", "else", "nothing here"),
            ("<b>bold</b>", "bold", "<b>[bold]</b>"),
        ],
    )
    def test_what_was_found_is_marked(self, text, query, shown):
        assert marked(text, query) == shown

    def test_the_best_place_of_a_long_text_is_shown(self):
        text = "alpha " + "filler " * 200 + "alpha beta " + "filler " * 200
        shown = marked(text, "alpha beta")
        assert "[alpha] [beta]" in shown
        assert shown.startswith("…")
        assert shown.endswith("…")
        assert len(shown) < 400

    @settings(max_examples=150, deadline=None)
    @given(st.text(max_size=600), st.text(max_size=40))
    def test_any_text_and_query_make_an_excerpt_of_that_text(self, text, query):
        shown = "".join(piece.text for piece in excerpt(text, parse(query)))
        assert set("".join(shown.split())) <= set("".join(text.split())) | {"…"}


class TestIndex:
    def test_everything_that_was_said_is_found(self, session):
        factories.turn(session, "The certificate expired.")
        index()
        assert found(session, "certificate")
        assert found(session, "look first")  # a thought
        assert found(session, "grep ERROR")  # a tool's input
        assert found(session, '"12 lines"')  # its output
        assert not found(session, "nowhere")

    def test_names_are_found_by_their_parts_and_whole(self, session):
        say(session, "def getUserName in /workspace/src/foo_bar.py")
        index()
        for text in ("getUserName", "getusername", "user", '"user name"', "foo_bar.py", "src/foo*", "workspace/src"):
            assert found(session, text), text
        assert not found(session, '"name user"')

    def test_results_know_the_tool_of_their_use_also_from_an_earlier_batch(self, session):
        use = factories.write_one(session, "agent.tool_use", {"name": "bash", "input": {"command": "make"}})
        index()
        result = {"tool_use_id": use.public_id, "content": "it broke", "is_error": True}
        answer = factories.write_one(session, "agent.tool_result", result)
        index()
        assert found(session, "broke", tool="bash") == [answer.seq]
        assert found(session, "make", tool="bash", errors_only=True) == []
        facets = set(session.facets.values_list("kind", "value"))
        assert {("tool", "bash"), ("error", "tool")} <= facets

    def test_kind_and_thread_narrow(self, session):
        child = factories.make_child(session)
        say(session, "needle")
        own = factories.write_one(session, "agent.message", {"content": "needle"}, thread=child)
        thought = factories.write_one(session, "agent.thinking", private={"thinking": "needle"})
        index()
        assert found(session, "needle", thread=child) == [own.seq]
        assert found(session, "needle", kinds=("thinking",)) == [thought.seq]

    def test_models_that_answered_are_known(self, session):
        say(session, "hello")
        index()
        assert list(session.facets.filter(kind="model").values_list("value", flat=True)) == ["simulated/default"]

    def test_copies_and_received_messages_are_found_once(self, session):
        child = factories.make_child(session)
        sent = factories.write_one(session, "agent.thread_message_sent", {"content": "find the needle"})
        factories.write_one(
            session, "agent.thread_message_received", {"content": "find the needle"}, thread=child, cause=sent
        )
        use = {"name": "bash", "input": {"command": "needle"}}
        own = factories.write_one(session, "agent.tool_use", use, thread=child)
        factories.write_one(session, "agent.tool_use", {**use, "session_thread_id": child.public_id}, cause=own)
        index()
        assert found(session, "needle") == [sent.seq, own.seq]

    def test_a_received_message_whose_sending_is_not_in_the_log_is_found(self, session):
        got = factories.write_one(session, "agent.thread_message_received", {"content": "needle"})
        index()
        assert found(session, "needle") == [got.seq]

    def test_indexing_again_changes_nothing(self, session):
        say(session, "one", "two")
        index()
        rows = list(SearchText.objects.order_by("pk").values())
        SearchProgress.objects.all().delete()
        index()
        assert list(SearchText.objects.order_by("pk").values()) == rows
        assert index() == 0

    def test_old_logs_are_indexed_in_batches(self, session, monkeypatch):
        say(session, *(f"line{n}" for n in range(25)))
        monkeypatch.setattr(search_index, "BATCH", 4)
        index()
        assert SearchText.objects.filter(kind="message").count() == 25
        progress = SearchProgress.objects.get()
        assert progress.settled_pk == progress.ahead_pk == Event.objects.latest("pk").pk
        assert search_index.lag() == search_index.Lag(0, 0)

    def test_large_events_are_taken_a_few_at_a_time(self, session, monkeypatch):
        say(session, *("x" * 300 for _ in range(9)))
        monkeypatch.setattr(search_batch, "BATCH_BYTES", 700)
        first = Event.objects.order_by("pk").first().pk
        assert len(search_batch.find(above=first - 1, up_to=10**12, limit=100).pks) < 9
        index()
        assert SearchText.objects.filter(kind="message").count() == 9

    def test_deleting_a_session_deletes_its_words(self, session, workspace):
        factories.turn(session, "gone soon")
        other = factories.make_session(workspace, title="stays")
        say(other, "stays here")
        index()
        factories.stop(session)
        delete_session(session)
        assert set(SearchText.objects.values_list("session_id", flat=True)) == {other.pk}
        assert set(SessionFacet.objects.values_list("session_id", flat=True)) == {other.pk}

    @pytest.mark.parametrize("payload", PAYLOADS[::4])
    def test_hostile_text_is_indexed_and_found(self, session, payload):
        last = hostile_events(session, payload)
        index()
        assert SearchProgress.objects.get().settled_pk == last.pk
        words = [word.whole for word in words_in(payload)]
        if words and parse(words[0]):
            assert found(session, words[0])

    @pytest.mark.parametrize(
        "text",
        [
            "a" * 1_000_000,
            "é" * 500_000,
            "wort " * 200_000,
            " ".join(f"w{n}" for n in range(150_000)),
            "\u0000\ufffd\ud800 lone".encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", ""),
            "\U00010400" * 100_000,
            "".join(chr(0x4E00 + n % 20_000) for n in range(120_000)),
            "aB" * 50_000,
        ],
        ids=["one word", "accents", "repeated", "different", "broken", "four bytes", "chinese", "humps"],
    )
    def test_a_million_characters_are_indexed(self, session, text):
        (event,) = say(session, text)
        index()
        assert SearchText.objects.get(pk=event.pk).is_cut == (len(text) > MAX_TEXT)
        first = next(words_in(text)).whole
        assert found(session, first) == [event.seq]

    def test_an_event_too_large_to_read_is_found_by_its_beginning(self, session, monkeypatch):
        monkeypatch.setattr(search_batch, "LARGEST", 1_000)
        (event,) = say(session, "needle " + "hay " * 1_000)
        index()
        row = SearchText.objects.get(pk=event.pk)
        assert (row.is_cut, found(session, "needle")) == (True, [event.seq])

    def test_escapes_that_no_column_can_hold_stop_nothing(self, session):
        bad = json.dumps({"name": "ba\x00sh\ud800", "input": {"command": "needle \x00 \ud800"}})
        use = factories.write_one(session, "agent.tool_use", {"name": "x", "input": {}})
        Event.objects.filter(pk=use.pk).update(payload=bad)
        answer = json.dumps({"tool_use_id": "se\x00vt\ud800", "content": "needle", "is_error": True})
        result = factories.write_one(session, "agent.tool_result", {})
        Event.objects.filter(pk=result.pk).update(payload=answer)
        index()
        assert found(session, "needle") == [use.seq, result.seq]

    def test_one_event_that_cannot_be_stored_keeps_none_of_the_others(self, session, monkeypatch):
        events = say(session, "one", "two", "three")
        real = search_batch._row

        def refuse(event: Any, *rest: Any) -> Any:
            row = real(event, *rest)
            return (*row[:-1], "'broken:") if event.pk == events[1].pk else row

        monkeypatch.setattr(search_batch, "_row", refuse)
        index()
        kept = SearchText.objects.filter(kind="message").order_by("pk").values_list("pk", flat=True)
        assert list(kept) == [events[0].pk, events[2].pk]
        assert SearchProgress.objects.get().settled_pk == events[2].pk


class TestFinding:
    def test_only_in_this_workspace(self, session, workspace):
        elsewhere = factories.make_session(factories.make_workspace("Elsewhere"))
        say(session, "needle")
        say(elsewhere, "needle")
        index()
        hits = search.find_in_workspace(workspace, parse("needle")).hits
        assert [hit.session_pk for hit in hits] == [session.pk]

    def test_the_best_answer_is_first(self, session, workspace):
        far, near, often = say(
            session, "disk " + "word " * 60 + "full", "the disk is full", "disk full disk full disk full"
        )
        index()
        seqs = [hit.seq for hit in search.find_in_workspace(workspace, parse("disk full")).hits]
        assert seqs[-1] == far.seq
        assert set(seqs) == {far.seq, near.seq, often.seq}

    def test_more_than_can_be_ranked_are_the_newest(self, session, workspace, monkeypatch):
        monkeypatch.setattr(search, "MOST_RANKED", 5)
        monkeypatch.setattr(search, "NEWEST", 3)
        events = say(session, *("needle" for _ in range(8)))
        index()
        hits = search.find_in_workspace(workspace, parse("needle"))
        assert hits.is_capped
        assert {hit.seq for hit in hits.hits} == {event.seq for event in events[-3:]}

    def test_what_takes_too_long_is_said_to_be_too_broad(self, session, workspace, monkeypatch):
        say(session, "needle")
        index()
        monkeypatch.setattr(search, "TIMEOUT_MS", 1)
        with connection.cursor() as cursor:
            cursor.execute(
                "CREATE FUNCTION pg_temp.slow(anyelement) RETURNS bool LANGUAGE sql VOLATILE "
                "AS 'SELECT pg_sleep(0.2) IS NOT NULL'"
            )
        rows = SearchText.objects.extra(where=["pg_temp.slow(1)"])
        with pytest.raises(search.TooBroad):
            search._find(rows, parse("needle"), f"'_w{workspace.pk}' & ", search.Filter())

    def test_hits_are_shown_with_their_words(self, session, workspace):
        use = factories.write_one(session, "agent.tool_use", {"name": "grep", "input": {"pattern": "<b>needle"}})
        index()
        query = parse("needle")
        (shown,) = search.show(search.find_in_workspace(workspace, query).hits, query)
        assert (shown.public_id, shown.kind_label, shown.tool, shown.agent_name) == (
            use.public_id,
            "tool input",
            "grep",
            "Scout",
        )
        assert [(piece.text, piece.is_hit) for piece in shown.pieces] == [("grep <b>", False), ("needle", True)]

    def test_the_names_lists_are_narrowed_by(self, workspace):
        for tool in ("bash", "grep", "bash"):
            one = factories.make_session(workspace)
            factories.write_one(one, "agent.tool_use", {"name": tool, "input": {}})
        index()
        assert search.tools_and_models(workspace) == (["bash", "grep"], ["simulated/default"])
        assert search.tools_and_models(factories.make_workspace("Empty")) == ([], [])


class TestNothingIsLost:
    """With real transactions that are open at the same time."""

    @pytest.fixture
    def other(self, committed_db, database_dsn):
        connection = psycopg.connect(database_dsn)
        yield connection
        connection.close()

    @pytest.fixture
    def committed(self, committed_db, settings):
        settings.DAYBREAK_HINTS = False
        return factories.make_session(factories.make_workspace())

    def insert(self, other: psycopg.Connection, session: Session, seq: int, text: str) -> None:
        """As an import that writes and has not committed."""
        other.execute(
            "INSERT INTO agents_event (public_id, session_id, seq, thread_id, type, payload, position, visible,"
            " created_at, processed_at) SELECT %s, %s, %s, id, 'agent.message', %s, %s, true, now(), now()"
            " FROM agents_thread WHERE session_id = %s AND parent_id IS NULL",
            [f"sevt_{seq}", session.pk, seq, json.dumps({"content": text}), seq, session.pk],
        )

    def test_what_was_written_before_and_committed_after_others_is_found(self, committed, other):
        self.insert(other, committed, 1_000, "slow import")
        say(committed, "quick")
        index()
        assert found(committed, "quick")
        assert not found(committed, "slow")
        progress = SearchProgress.objects.get()
        assert progress.settled_pk < progress.ahead_pk  # it does not settle while somebody may still write below
        assert search_index.lag().unsettled
        other.commit()
        index()
        assert found(committed, "slow") == [1_000]
        assert SearchProgress.objects.get().settled_pk == Event.objects.latest("pk").pk

    def test_a_transaction_that_goes_on_keeps_nobody_elses_from_being_found(self, committed, other, database_dsn):
        self.insert(other, committed, 1_000, "never ends")
        with psycopg.connect(database_dsn) as third:
            self.insert(third, committed, 2_000, "second import")
            say(committed, "quick")
            index()
        assert not found(committed, "second")
        index()
        assert found(committed, "second") == [2_000]
        other.rollback()
        index()
        assert SearchProgress.objects.get().settled_pk == Event.objects.latest("pk").pk

    def test_many_transactions_at_once_lose_nothing(self, committed, database_dsn):
        stop = threading.Event()

        def keep_indexing() -> None:
            while not stop.is_set():
                index()
            connection.close()

        def write(first: int) -> None:
            with psycopg.connect(database_dsn) as own:
                for n in range(8):
                    for place in range(5):
                        self.insert(own, committed, first + n * 10 + place, f"word{first + n * 10 + place}")
                        stop.wait(0.002 * (first % 3))
                    own.rollback() if n % 4 == 3 else own.commit()

        indexer = threading.Thread(target=keep_indexing)
        writers = [threading.Thread(target=write, args=[1_000 * n]) for n in range(1, 6)]
        indexer.start()
        [thread.start() for thread in writers]
        [thread.join() for thread in writers]
        stop.set()
        indexer.join()
        index()
        written = set(Event.objects.filter(type="agent.message").values_list("pk", flat=True))
        assert len(written) == 5 * 6 * 5
        assert set(SearchText.objects.filter(kind="message").values_list("pk", flat=True)) == written
        assert search_index.lag() == search_index.Lag(0, 0)

    def test_two_indexers_do_the_work_once(self, committed):
        say(committed, *(f"line{n}" for n in range(30)))
        with transaction.atomic():
            search_index.hold()
            done: list[int] = []

            def other_index() -> None:
                done.append(index())
                connection.close()

            thread = threading.Thread(target=other_index)
            thread.start()
            thread.join()
            assert done == [0]
        assert index() >= 30

    def test_a_session_deleted_while_it_is_indexed_leaves_nothing(self, committed):
        say(committed, *(f"line{n}" for n in range(50)))
        factories.stop(committed)
        started = threading.Event()

        def index_slowly() -> None:
            with transaction.atomic():
                search_index.hold()
                started.set()
                search_batch.index(search_batch.find(above=0, up_to=10**15, limit=1_000).pks)
            connection.close()

        thread = threading.Thread(target=index_slowly)
        thread.start()
        started.wait(10)
        delete_session(committed)
        thread.join()
        assert not SearchText.objects.exists()
        assert not SessionFacet.objects.exists()


def test_the_worker_makes_what_its_agents_say_findable(make_workspace, local_worker):
    session = start_session(make_workspace("Lab"), "Where is the zeppelin?", agent=None)
    wait_idle(session)
    assert wait_until(lambda: found(session, "zeppelin"), timeout_s=20)
    wait_until(lambda: search_index.lag() == search_index.Lag(0, 0), timeout_s=20)
    assert "simulated/tools" in session.facets.filter(kind="model").values_list("value", flat=True)
