"""Finding what was said and done: across all sessions, and within one. Everything that was asked is in the address."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.http import HttpResponse
from django.views.decorators.http import require_safe

from agents.models import Session, SessionFacet, Thread
from agents.services import search
from agents.services.search import Hit, Hits, ShownHit, TooBroad
from agents.services.search_query import Query, parse
from agents.services.search_words import MAX_TEXT
from console.access import MemberRequest, member_required
from console.pages import page
from console.rows import SessionRow, session_rows
from console.session_filters import Chip, SessionFilterForm, filtered_sessions, named
from console.views.session import get_session

SESSIONS_SHOWN = 20  # with hits, on a page
HITS_SHOWN = 3  # of each session
TITLES_SHOWN = 5
SHOWN_WITHIN = 100  # hits on a page of one session
MAX_PAGE = 500
MAX_TYPED = 2_000
KINDS = {**search.KIND_LABELS, "message": "messages", "thinking": "thoughts", "error": "errors"}


@dataclass(frozen=True)
class FoundSession:
    """A session with its best hits, and how many there are."""

    row: SessionRow
    hits: list[ShownHit]
    total: int

    @property
    def more(self) -> int:
        return self.total - len(self.hits)


@dataclass(frozen=True)
class SearchPage:
    q: str
    query: Query
    form: SessionFilterForm
    chips: list[Chip]
    kinds: dict[str, str]
    kind: str
    titles: list[SessionRow]
    found: list[FoundSession]
    total: int
    session_total: int
    is_capped: bool
    most: int
    newest: int
    too_broad: bool
    cut_text: int
    page: int
    has_more: bool


@require_safe
@member_required
def search_page(request: MemberRequest) -> HttpResponse:
    """All sessions of the workspace. Those whose title matches come first, then those in which something was found."""
    typed = _typed(request)
    query = parse(typed)
    form = SessionFilterForm(_without_text(request), workspace=request.workspace)
    chosen = form.chosen()
    kind = _kind(request)
    tool = chosen.pop("tool", "")  # what was found has to be of this tool, not only in a session that used it
    sessions = filtered_sessions(Session.objects.in_workspace(request.workspace), chosen, archived=True)
    wanted = search.Filter(kinds=(kind,) if kind else (), tool=tool, sessions=sessions if chosen else None)
    hits, too_broad = _find(request, query, wanted)
    number = _page_number(request)
    grouped = _by_session(hits.hits)
    shown = SearchPage(
        q=typed,
        query=query,
        form=form,
        chips=list(form.chips()),
        kinds=KINDS,
        kind=kind,
        titles=_titles(sessions, typed) if number == 1 else [],
        found=_found(request, query, grouped, number),
        total=len(hits.hits),
        session_total=len(grouped),
        is_capped=hits.is_capped,
        most=search.MOST_RANKED,
        newest=search.NEWEST,
        too_broad=too_broad,
        cut_text=MAX_TEXT,
        page=number,
        has_more=len(grouped) > number * SESSIONS_SHOWN,
    )
    return page(request, "console/search/_results.html" if request.htmx else "console/search/search.html", shown)


def _find(request: MemberRequest, query: Query, wanted: search.Filter) -> tuple[Hits, bool]:
    try:
        return search.find_in_workspace(request.workspace, query, wanted), False
    except TooBroad:
        return Hits(()), True


def _typed(request: MemberRequest) -> str:
    return request.GET.get("q", "").replace("\x00", "")[:MAX_TYPED].strip()


def _without_text(request: MemberRequest) -> Any:
    """The text is for what was said here, not for titles as on the list of sessions."""
    given = request.GET.copy()
    given.pop("q", None)
    return given


def _kind(request: MemberRequest) -> str:
    kind = request.GET.get("kind", "")
    return kind if kind in KINDS else ""


def _page_number(request: MemberRequest) -> int:
    number = request.GET.get("page", "")
    return min(max(int(number), 1), MAX_PAGE) if number.isascii() and number.isdigit() and len(number) < 9 else 1


def _titles(sessions: Any, typed: str) -> list[SessionRow]:
    """Sessions that are called so, newest first."""
    if not typed or len(typed) > 200:
        return []
    rows = sessions.filter(named(typed)).for_list()
    return session_rows(rows.order_by("-created_at", "-pk")[:TITLES_SHOWN])


def _by_session(hits: tuple[Hit, ...]) -> dict[int, list[Hit]]:
    """Best session first: the hits come best first."""
    grouped: dict[int, list[Hit]] = defaultdict(list)
    for hit in hits:
        grouped[hit.session_pk].append(hit)
    return grouped


def _found(request: MemberRequest, query: Query, grouped: dict[int, list[Hit]], number: int) -> list[FoundSession]:
    pks = list(grouped)[(number - 1) * SESSIONS_SHOWN : number * SESSIONS_SHOWN]
    rows = session_rows(Session.objects.in_workspace(request.workspace).filter(pk__in=pks).for_list())
    by_pk = {row.session.pk: row for row in rows}
    shown: dict[int, list[ShownHit]] = defaultdict(list)
    for hit in search.show([hit for pk in pks for hit in grouped[pk][:HITS_SHOWN]], query):
        shown[hit.session_pk].append(hit)
    return [FoundSession(by_pk[pk], shown[pk], len(grouped[pk])) for pk in pks if pk in by_pk]


@dataclass(frozen=True)
class Asked:
    """What to look for in one session."""

    q: str
    kind: str
    tool: str
    thread: Thread | None
    errors_only: bool
    order: str
    page: int

    @property
    def address(self) -> str:
        """All of it but the page, for a link."""
        asked = {"q": self.q, "kind": self.kind, "tool": self.tool, "order": self.order}
        asked |= {"thread": self.thread.public_id if self.thread else "", "errors": "1" if self.errors_only else ""}
        return urlencode({name: value for name, value in asked.items() if value})

    @property
    def filter(self) -> search.Filter:
        kinds = (self.kind,) if self.kind else ()
        return search.Filter(kinds=kinds, tool=self.tool, errors_only=self.errors_only, thread=self.thread)


@dataclass(frozen=True)
class FoundWithin:
    """Hits in one session: `total` of them, of which this page shows those from `first` to `last`."""

    session: Session
    asked: Asked
    query: Query
    kinds: dict[str, str]
    tools: list[str]
    threads: list[Thread]
    hits: list[ShownHit]
    total: int
    is_capped: bool
    most: int
    newest: int
    too_broad: bool
    cut_text: int
    first: int
    last: int


@require_safe
@member_required
def session_search(request: MemberRequest, session_id: str) -> HttpResponse:
    """Within one session: a fragment for its page, or a page of its own."""
    found = get_session(request, session_id)
    threads = list(found.threads.order_by("ordinal", "pk"))
    tools = list(found.facets.filter(kind=SessionFacet.Kind.TOOL).order_by("value").values_list("value", flat=True))
    asked = _asked(request, tools, threads)
    query = parse(asked.q)
    try:
        hits, too_broad = search.find_in_session(found, query, asked.filter), False
    except TooBroad:
        hits, too_broad = Hits(()), True
    listed = sorted(hits.hits, key=lambda hit: hit.seq) if asked.order == "log" else list(hits.hits)
    before = (asked.page - 1) * SHOWN_WITHIN
    shown = search.show(listed[before : before + SHOWN_WITHIN], query)
    answer = FoundWithin(
        session=found,
        asked=asked,
        query=query,
        kinds=KINDS,
        tools=tools,
        threads=threads,
        hits=shown,
        total=len(listed),
        is_capped=hits.is_capped,
        most=search.MOST_RANKED,
        newest=search.NEWEST,
        too_broad=too_broad,
        cut_text=MAX_TEXT,
        first=before + 1,
        last=min(before + SHOWN_WITHIN, len(listed)),
    )
    return page(request, "console/search/_within.html" if request.htmx else "console/search/within.html", answer)


def _asked(request: MemberRequest, tools: list[str], threads: list[Thread]) -> Asked:
    """A value that this session does not have narrows nothing."""
    given = request.GET
    return Asked(
        q=_typed(request),
        kind=_kind(request),
        tool=next((tool for tool in tools if tool == given.get("tool")), ""),
        thread=next((thread for thread in threads if thread.public_id == given.get("thread")), None),
        errors_only=given.get("errors") == "1",
        order="rank" if given.get("order") == "rank" else "log",
        page=_page_number(request),
    )
