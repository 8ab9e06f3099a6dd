"""The inspector beside a session's story: why a step happened, and what there is to know of the whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_safe

from agents.models import Event, Session, ToolCall
from agents.services.file_history import content
from console.access import MemberRequest, find, member_required
from console.pages import page
from console.story.detail import Fact, Part, facts_of, parts_of, raw_of
from console.story.inspector import events, files
from console.story.inspector.asked import Asked
from console.story.inspector.tabs import TABS, WHY, Tab, default_tab
from console.story.rows import Lane, lanes_of
from console.story.team import acts_on
from console.story.told import told_events
from console.story.why import Why, why_of


@dataclass(frozen=True)
class Acts:
    """What the person may do about the event: answer its call, or stop, end or write to an agent."""

    may_act: bool
    call: ToolCall | None
    call_id: str
    can_interrupt: bool
    can_interrupt_all: bool
    can_end: bool
    can_write: bool

    @property
    def any(self) -> bool:
        return self.may_act and any(
            (self.call is not None, self.can_interrupt, self.can_interrupt_all, self.can_end, self.can_write)
        )


@dataclass(frozen=True)
class WhyCard:
    """One event: what it holds, why it happened, and what can be done about it."""

    session: Session
    event_id: str
    why: Why
    parts: tuple[Part, ...]
    facts: tuple[Fact, ...]
    raw: Part
    acts: Acts
    annotations: tuple[Any, ...]
    permalink: str


@dataclass(frozen=True)
class Inspector:
    """The pane: its tabs, which one is open, and what that one shows. `body` is None when it is loaded later."""

    session: Session
    tabs: tuple[Tab, ...]
    tab: str
    template: str
    body: Any
    event_id: str
    may_act: bool
    can_receive: bool
    no_network: bool
    is_alone: bool  # on a page of its own, without the story beside it


@dataclass(frozen=True)
class InspectorPage:
    session: Session
    inspector: Inspector
    body: Any
    may_act: bool
    can_receive: bool


@require_safe
@member_required
def why(request: MemberRequest, session_id: str) -> HttpResponse:
    """The card of one event: `?event=<id>`, or `?seq=` for the event at that place of the log, or just before it."""
    found = _find(request, session_id)
    event = selected_event(request, found)
    if event is None:
        raise Http404("Say which event is meant: ?event=… or ?seq=….")
    return _answer(request, found, WHY, event)


@require_safe
@member_required
def inspect(request: MemberRequest, session_id: str, tab: str) -> HttpResponse:
    found = _find(request, session_id)
    if tab not in TABS:
        raise Http404("The inspector has no such tab.")
    if tab == "events" and request.GET.get("open"):
        return _opened(request, found)
    if tab == "files" and request.GET.get("version"):
        return _version(request, found)
    return _answer(request, found, tab, selected_event(request, found))


@require_safe
@member_required
def file_version(request: MemberRequest, session_id: str) -> HttpResponseBase:
    """The bytes of one version of a file (`?path=&version=`), always as a download: an agent wrote them."""
    version = _find_version(request, _find(request, session_id))
    data = content(version.sha256) if version.is_kept else None
    if data is None:
        raise Http404("This version of the file was not kept.")
    response = HttpResponse(data, content_type="application/octet-stream")
    name = version.path.rsplit("/", 1)[-1] or "file"
    response["Content-Disposition"] = content_disposition_header(True, name) or "attachment"
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = "sandbox; default-src 'none'"
    return response


def inspector_of(
    request: MemberRequest,
    session: Session,
    lanes: Mapping[int, Lane],
    *,
    tab: str = "",
    event: Event | None = None,
    is_alone: bool = False,
    lazy: bool = False,
) -> Inspector:
    """The pane for a page: the tab that is asked for, else the one that fits what is selected.

    Args:
        lazy: leave the body out; the browser asks for it. Not for why: a permalink shows it at once.
    """
    name = tab if tab in TABS else default_tab(event)
    may_act = request.membership.may("operator")
    body = None
    if name == WHY:
        body = None if event is None else why_context(request, session, event, lanes)["card"]
    elif not lazy:
        base = request.build_absolute_uri("/").rstrip("/")
        body = TABS[name].body(Asked(session, lanes, event, request.GET, base))
    return Inspector(
        session=session,
        tabs=tuple(TABS.values()),
        tab=name,
        template=TABS[name].template,
        body=body,
        event_id=event.public_id if event is not None else "",
        may_act=may_act,
        can_receive=not session.is_imported and not session.is_terminated,
        no_network=not session.is_imported and settings.DAYBREAK_SANDBOX_NETWORK == "off",
        is_alone=is_alone,
    )


def why_context(request: MemberRequest, session: Session, event: Event, lanes: Mapping[int, Lane]) -> dict[str, Any]:
    """What `_why.html` needs, for the fragment and for a page that shows the card at once."""
    found = why_of(event, session, lanes)
    card = WhyCard(
        session=session,
        event_id=event.public_id,
        why=found,
        parts=tuple(parts_of(event.type, event.data, event.private_data)),
        facts=tuple(facts_of(event, session, found.row)),
        raw=raw_of(event),
        acts=_acts(request, session, found),
        annotations=found.row.annotations,
        permalink=request.build_absolute_uri(f"/sessions/{session.public_id}?event={event.public_id}"),
    )
    return {"session": session, "card": card}


def _find(request: MemberRequest, session_id: str) -> Session:
    return find(request, Session.objects.select_related("agent", "environment", "created_by"), session_id)


def selected_event(request: HttpRequest, session: Session) -> Event | None:
    """The event that an address names, by its id or by its place in the log; None when it names none."""
    told = told_events(session)
    if wanted := request.GET.get("event"):
        event = told.filter(public_id=wanted).first()
        if event is None:
            raise Http404("This session has no such event.")
        return event
    seq = Asked(session, {}, None, request.GET).number("seq")
    return None if seq is None else told.filter(seq__lte=seq).order_by("-seq").first()


def _answer(request: MemberRequest, found: Session, tab: str, event: Event | None) -> HttpResponse:
    inspector = inspector_of(request, found, lanes_of(found), tab=tab, event=event, is_alone=not request.htmx)
    shown = InspectorPage(found, inspector, inspector.body, inspector.may_act, inspector.can_receive)
    return page(request, inspector.template if request.htmx else "console/sessions/inspector/page.html", shown)


def _acts(request: MemberRequest, session: Session, why: Why) -> Acts:
    may_act = request.membership.may("operator") and not session.is_imported and session.archived_at is None
    waits = why.call is not None and why.call.state == ToolCall.State.WAITING and why.call.kind != ToolCall.Kind.TEAM
    interrupt, end = acts_on(why.lane.thread, session)
    working = session.status in (Session.Status.RUNNING, Session.Status.RESCHEDULING)
    return Acts(
        may_act=may_act,
        call=why.call if waits else None,
        call_id=why.call.use_event.public_id if waits and why.call is not None else "",
        can_interrupt=interrupt,
        can_interrupt_all=working,
        can_end=end,
        can_write=not session.is_imported and not session.is_terminated,
    )


def _opened(request: MemberRequest, found: Session) -> HttpResponse:
    wanted = Event.objects.filter(session=found, visible=True, public_id=request.GET["open"]).first()
    if wanted is None:
        raise Http404("This session has no such event.")
    shown = {"session": found, "opened": events.opened(wanted)}
    return render(request, "console/sessions/inspector/_json.html", shown)


def _version(request: MemberRequest, found: Session) -> HttpResponse:
    version = _find_version(request, found)
    shown = {"session": found, "part": files.difference_part(version), "version": version}
    return render(request, "console/sessions/inspector/_difference.html", shown)


def _find_version(request: MemberRequest, found: Session) -> Any:
    number = Asked(found, {}, None, request.GET).number("version")
    path = request.GET.get("path", "")
    version = files.version_of(found, path, number) if number is not None and number < 2**31 else None
    if version is None:
        raise Http404("This session has no such version of a file.")
    return version
