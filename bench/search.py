"""Rows about finding: indexing a long log, and looking for words in a million events."""

from __future__ import annotations

import http.cookiejar
import json
import os
import random
import time
import urllib.parse
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from bench.instance import PASSWORD, Instance, running
from bench.rows import Measured, percentile, row
from console.embedded_postgres import EmbeddedPostgres

EVENTS = int(os.environ.get("BENCH_SEARCH_EVENTS", "1000000"))
PER_SESSION = 100
VOCABULARY = 40_000
SENTENCES = 20_000
ROUNDS = int(os.environ.get("BENCH_SEARCH_ROUNDS", "5"))
LIMIT_MS = 400
# Words planted in the log: how many there are of each kind, and in how many of a million events each stands.
PLANTED = {"few": (20, 12), "thousand": (20, 1_000), "ten-thousand": (10, 9_900), "more": (4, 60_000)}
# What a log is made of, in tens: type and how its text is held.
SHAPES = (
    ("user.message", "content"),
    ("span.model_request_start", ""),
    ("agent.thinking", "thinking"),
    ("agent.message", "content"),
    ("agent.tool_use", "command"),
    ("span.model_request_end", ""),
    ("agent.tool_result", "content"),
    ("agent.message", "content"),
    ("agent.tool_use", "command"),
    ("agent.tool_result", "content"),
)


class Visitor:
    """Somebody signed in, who reads pages and counts how long each takes."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.cookies = http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.cookies))
        self.read("/sign-in")
        token = next(cookie.value for cookie in self.cookies if "csrf" in cookie.name) or ""
        form = {"username": "admin", "password": PASSWORD, "csrfmiddlewaretoken": token}
        request = urllib.request.Request(  # noqa: S310 (our own instance)
            f"{url}/sign-in", urllib.parse.urlencode(form).encode(), {"Referer": url, "Origin": url}
        )
        self.opener.open(request).read()

    def read(self, path: str, **query: str) -> tuple[str, float]:
        """The page, and the milliseconds from the request to its last byte."""
        address = f"{self.url}{path}?{urllib.parse.urlencode(query)}" if query else self.url + path
        began = time.perf_counter()
        with self.opener.open(address) as answer:
            text = answer.read().decode()
        return text, 1_000 * (time.perf_counter() - began)


@row(
    "search",
    f"Search over {EVENTS:,} events; indexing them",
    f"p95 ≤ {LIMIT_MS} ms for words with ≤ 10,000 hits",
)
def search() -> Measured:
    with running() as instance:
        words = write_log(instance, EVENTS)
        per_second, rows = wait_until_indexed(instance)
        with psycopg.connect(EmbeddedPostgres(instance.folder).dsn, autocommit=True) as connection:
            connection.execute("VACUUM (ANALYZE) agents_searchtext")  # as autovacuum does within minutes
            connection.execute("VACUUM (ANALYZE) agents_event")
            [[size]] = connection.execute("SELECT pg_total_relation_size('agents_searchtext')").fetchall()
        took = measure(instance, words)
    figures = {kind: (percentile(times, 0.5), percentile(times, 0.95)) for kind, times in took.items()}
    bounded = [time for kind, times in took.items() if kind != "more" for time in times]
    p95 = percentile(bounded, 0.95)
    told = ", ".join(f"{kind} {p50:.0f}/{high:.0f}" for kind, (p50, high) in figures.items())
    return Measured(
        f"p95 {p95:.0f} ms; p50/p95 by hits: {told} ms; indexed {per_second:,.0f} events/s",
        p95 <= LIMIT_MS,
        {
            "p95_ms": p95,
            "by_hits_ms": {kind: {"p50": p50, "p95": high} for kind, (p50, high) in figures.items()},
            "indexed_per_second": per_second,
            "events": EVENTS,
            "rows": rows,
            "index_mib": size / 2**20,
        },
    )


def write_log(instance: Instance, count: int) -> dict[str, list[str]]:
    """So many events, in one transaction as of a large import. Returns the planted words by how common they are."""
    choose = random.Random(7)  # noqa: S311 (the same log every time)
    sentences = _sentences(choose)
    words, planted = _planted(choose, count)
    with psycopg.connect(EmbeddedPostgres(instance.folder).dsn) as connection:
        sessions = _sessions(instance, connection, count // PER_SESSION)
        copy_events = (
            "COPY agents_event (public_id, session_id, seq, thread_id, type, payload, private, position, visible,"
            " created_at, processed_at) FROM STDIN"
        )
        with connection.cursor() as cursor, cursor.copy(copy_events) as copy:
            for line in _events(choose, sessions, sentences, planted):
                copy.write_row(line)
        connection.execute(
            "UPDATE agents_session SET last_seq = %s, event_count = %s WHERE id = ANY(%s)",
            [PER_SESSION, PER_SESSION, [pk for pk, _ in sessions]],
        )
    return words


def _sentences(choose: random.Random) -> list[str]:
    """Sentences whose words are as unequal as those of a language: a few are everywhere, most are rare."""
    letters = "etaoinshrdlcumwfgypbvk"
    vocabulary = ["".join(choose.choices(letters, k=choose.randint(2, 10))) for _ in range(VOCABULARY)]
    weights = [1 / (place + 3) for place in range(VOCABULARY)]
    return [" ".join(choose.choices(vocabulary, weights, k=12)) for _ in range(SENTENCES)]


def _planted(choose: random.Random, count: int) -> tuple[dict[str, list[str]], dict[int, list[str]]]:
    words = {kind: [f"planted{kind.replace('-', '')}{n}x" for n in range(many)] for kind, (many, _) in PLANTED.items()}
    texted = [n for n in range(count) if SHAPES[n % len(SHAPES)][1]]
    places: dict[int, list[str]] = defaultdict(list)
    for kind, (_, hits) in PLANTED.items():
        for word in words[kind]:
            for place in choose.sample(texted, max(1, hits * count // 1_000_000)):
                places[place].append(word)
    return words, places


def _sessions(instance: Instance, connection: psycopg.Connection, count: int) -> list[tuple[int, int]]:
    """So many copies of one session with its thread, by SQL: their keys, and their threads'."""
    client = instance.client()
    agent = client.beta.agents.create(name="Bench", model="simulated/default")
    environment = client.beta.environments.create(name="Bench")
    made = client.beta.sessions.create(agent=agent.id, environment_id=environment.id)
    [[pk]] = connection.execute("SELECT id FROM agents_session WHERE public_id = %s", [made.id]).fetchall()
    now = datetime.now(UTC)
    changes = {
        "public_id": "'sesn_bench' || n",
        "title": "'Bench session ' || n",
        "created_at": f"'{now.isoformat()}'::timestamptz - n * interval '1 minute'",
    }
    sessions = copy_rows(connection, "agents_session", f"id = {pk}", changes, count)
    copies = f"(ARRAY{sessions})[n]"
    changes = {"public_id": "'sthr_bench' || n", "session_id": copies}
    threads = copy_rows(connection, "agents_thread", f"session_id = {pk}", changes, count)
    return list(zip(sessions, threads, strict=True))


def copy_rows(
    connection: psycopg.Connection, table: str, condition: str, changes: dict[str, str], count: int
) -> list[int]:
    """Rows like one that is there, numbered `n` from 1, with some columns changed. Their keys in this order."""
    columns = [
        name
        for (name,) in connection.execute(
            "SELECT column_name::text FROM information_schema.columns WHERE table_name = %s AND column_name <> 'id'"
            " AND table_schema = 'public'",
            [table],
        ).fetchall()
    ]
    values = ", ".join(changes.get(name, f'"{name}"') for name in columns)
    names = ", ".join(f'"{name}"' for name in columns)
    statement = (
        f"INSERT INTO {table} ({names}) SELECT {values} FROM {table}, generate_series(1, {count}) n"  # noqa: S608
        f" WHERE {condition} ORDER BY n RETURNING id"
    )
    return [key for (key,) in connection.execute(statement).fetchall()]  # type: ignore[arg-type]


def _events(
    choose: random.Random, sessions: list[tuple[int, int]], sentences: list[str], planted: dict[int, list[str]]
) -> Iterator[tuple[Any, ...]]:
    start = datetime.now(UTC) - timedelta(days=60)
    number = 0
    for session, thread in sessions:
        for seq in range(1, PER_SESSION + 1):
            type_, holds = SHAPES[number % len(SHAPES)]
            text = " ".join([*choose.choices(sentences, k=choose.randint(1, 8)), *planted.get(number, ())])
            payload, private = _held(holds, text, number)
            at = start + timedelta(seconds=5 * number)
            public_id = f"sevt_bench{number}"
            yield public_id, session, seq, thread, type_, payload, private, seq, True, at, at
            number += 1


def _held(holds: str, text: str, number: int) -> tuple[str, str | None]:
    if holds == "thinking":
        return "{}", json.dumps({"thinking": text})
    if holds == "command":
        name = ("bash", "grep", "read", "edit")[number // 10 % 4]
        return json.dumps({"name": name, "input": {"command": text}}), None
    if holds == "content":
        return json.dumps({"content": [{"type": "text", "text": text}]}), None
    return "{}", None


def wait_until_indexed(instance: Instance, seconds: float = 3_600.0) -> tuple[float, int]:
    """Events per second that the worker's own indexer takes in, rests included, and the rows it made."""
    began = time.monotonic()
    [[highest]] = instance.query("SELECT max(id) FROM agents_event")
    while True:
        found = instance.query("SELECT settled_pk FROM agents_searchprogress")
        if found and found[0][0] >= highest:
            break
        if time.monotonic() - began > seconds:
            raise SystemExit("The log of the bench was not indexed in time.")
        time.sleep(0.5)
    took = time.monotonic() - began
    [[events]] = instance.query("SELECT count(*) FROM agents_event")
    [[rows]] = instance.query("SELECT count(*) FROM agents_searchtext")
    return events / took, rows


def measure(instance: Instance, words: dict[str, list[str]]) -> dict[str, list[float]]:
    """Whole pages with their excerpts, for each planted word alone and together with a common one."""
    visitor = Visitor(instance.url)
    visitor.read("/search", q="warm")
    took: dict[str, list[float]] = defaultdict(list)
    for turn in range(ROUNDS):
        for kind, planted in words.items():
            for word in planted:
                text, ms = visitor.read("/search", q=word if turn % 2 == 0 else f"{word[:-1]}* {word}")
                if "hit" not in text:
                    raise SystemExit(f"Nothing was found for {word}.")
                took[kind].append(ms)
    return took
