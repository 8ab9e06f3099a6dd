"""Agents: the list, one agent with its versions, comparing two of them, creating and changing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from agents.errors import DaybreakError, Invalid, NotBuilt
from agents.models import Agent, AgentVersion, Session
from agents.services import agents as services
from agents.services import multiagent
from console import agent_form
from console.access import MemberRequest, find, member_required, role_required
from console.agent_form import AgentForm
from console.definition_text import as_yaml, sdk_call
from console.pages import page
from console.paging import keyset_page
from console.roster_form import RosterLine, lines_of
from console.rows import SessionRow, session_rows
from console.story.detail import Part, text_diff
from console.views.session import model_of

PAGE_SIZE = 50
VERSIONS_SHOWN = 50
SESSIONS_SHOWN = 5


@dataclass(frozen=True)
class AgentRow:
    agent: Agent
    model: str
    description: str
    tools: int
    leads: int


@dataclass(frozen=True)
class AgentsPage:
    rows: list[AgentRow]
    newer: str
    older: str
    text: str
    archived: bool
    base_url: str


@dataclass(frozen=True)
class AgentPage:
    agent: Agent
    version: AgentVersion
    versions: list[AgentVersion]
    model: str
    system: str
    description: str
    roster: list[RosterLine]
    inline_allowed: bool
    definition: str
    code: str
    sessions: list[SessionRow]
    may_change: bool


@dataclass(frozen=True)
class AgentFormPage:
    """For a new agent `agent` is None."""

    form: AgentForm
    agent: Agent | None = None


@dataclass(frozen=True)
class ComparePage:
    agent: Agent
    before: AgentVersion
    after: AgentVersion
    versions: list[AgentVersion]
    diff: Part
    whole: bool = field(default=False)


def get_agent(request: MemberRequest, agent_id: str) -> Agent:
    """The agent of the member's workspace. Raises Http404 for any other."""
    return find(request, Agent.objects.all(), agent_id)


@require_safe
@member_required
def agents(request: MemberRequest) -> HttpResponse:
    rows = Agent.objects.in_workspace(request.workspace)
    archived = request.GET.get("archived") == "1"
    text = request.GET.get("q", "").strip()[:200]
    rows = rows.filter(archived_at__isnull=not archived)
    if text:
        rows = rows.filter(name__icontains=text)
    found = keyset_page(rows, cursor=request.GET.get("page", ""), size=PAGE_SIZE)
    versions = services.current_versions(found.rows)
    shown = AgentsPage(
        rows=[_row(agent, versions[agent.pk].definition) for agent in found.rows if agent.pk in versions],
        newer=found.newer,
        older=found.older,
        text=text,
        archived=archived,
        base_url=_base_url(request),
    )
    template = "console/agents/_list.html" if request.htmx else "console/agents/list.html"
    return page(request, template, shown)


def _row(agent: Agent, definition: dict[str, Any]) -> AgentRow:
    about = definition.get("description") or ""
    leads = len(multiagent.roster(definition.get("multiagent")))
    return AgentRow(agent, model_of(definition), about, len(definition["tools"]), leads)


@require_safe
@member_required
def agent(request: MemberRequest, agent_id: str) -> HttpResponse:
    found = get_agent(request, agent_id)
    version = _version(found, request.GET.get("version"))
    definition = version.definition
    recent = Session.objects.in_workspace(request.workspace).for_list().filter(agent=found)
    shown = AgentPage(
        agent=found,
        version=version,
        versions=_versions(found),
        model=model_of(definition),
        system=definition.get("system") or "",
        description=definition.get("description") or "",
        roster=lines_of(request.workspace, definition.get("multiagent")),
        inline_allowed=multiagent.allows_inline(definition.get("multiagent")),
        definition=as_yaml({key: value for key, value in definition.items() if key not in ("name", "description")}),
        code=_code(definition, _base_url(request)),
        sessions=session_rows(recent.order_by("-created_at", "-pk")[:SESSIONS_SHOWN]),
        may_change=request.membership.may("operator") and found.archived_at is None and not found.imported,
    )
    return page(request, "console/agents/agent.html", shown)


def _versions(found: Agent) -> list[AgentVersion]:
    return list(found.versions.order_by("-version").only("version", "created_at", "agent")[:VERSIONS_SHOWN])


def _version(found: Agent, wanted: str | None) -> AgentVersion:
    if wanted is not None and not (wanted.isascii() and wanted.isdigit() and 0 < len(wanted) < 9):
        raise BadRequest("The version in this address is not a number.")
    number = int(wanted) if wanted else found.version
    version = found.versions.filter(version=number).first()
    if version is None:
        raise Http404("This agent has no such version.")
    return version


def _code(definition: dict[str, Any], base_url: str) -> str:
    keys = ("name", "description", "model", "system", "tools", "mcp_servers", "multiagent", "metadata")
    arguments = {key: definition[key] for key in keys if definition.get(key)}
    arguments["model"] = model_of(definition)
    return sdk_call("agents.create", arguments, base_url, result="agent")


@require_safe
@member_required
def compare(request: MemberRequest, agent_id: str) -> HttpResponse:
    """What changed between two versions, line by line."""
    found = get_agent(request, agent_id)
    after = _version(found, request.GET.get("to"))
    before = _version(found, request.GET.get("from") or str(max(1, after.version - 1)))
    whole = request.GET.get("whole") == "1"
    diff = text_diff(as_yaml(before.definition), as_yaml(after.definition), context=10_000 if whole else 3)
    shown = ComparePage(found, before, after, _versions(found), Part("diff", diff), whole)
    return page(request, "console/agents/compare.html", shown)


@require_http_methods(["GET", "HEAD", "POST"])
@role_required("operator")
def new_agent(request: MemberRequest) -> HttpResponse:
    form = AgentForm(request.POST if request.method == "POST" else None, workspace=request.workspace)
    if form.is_bound and form.is_valid():
        try:
            made = agent_form.create(request.workspace, form)
        except Invalid as exc:
            form.blame(exc)
        except DaybreakError as exc:
            form.add_error("rest", exc.message)
        else:
            messages.success(request, f"The agent {made.name} was created.")
            return redirect("console:agent", made.public_id)
    return page(request, "console/agents/form.html", AgentFormPage(form), status=422 if form.is_bound else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@role_required("operator")
def edit_agent(request: MemberRequest, agent_id: str) -> HttpResponse:
    found = get_agent(request, agent_id)
    definition = _version(found, None).definition
    given = request.POST if request.method == "POST" else None
    initial = agent_form.initial_of(definition, found.version)
    form = AgentForm(given, initial=initial, workspace=request.workspace, owner=found, current=definition)
    if form.is_bound and form.is_valid():
        try:
            changed = agent_form.update(found, form, definition)
        except Invalid as exc:
            form.blame(exc, definition)
        except NotBuilt as exc:
            form.add_error("rest", exc.message)
        except DaybreakError as exc:
            form.add_error(None, exc.message)
        else:
            return _changed(request, found, changed)
    shown = AgentFormPage(form, found)
    return page(request, "console/agents/form.html", shown, status=422 if form.is_bound else 200)


def _changed(request: HttpRequest, before: Agent, after: Agent) -> HttpResponse:
    if after.version == before.version:
        messages.info(request, "Nothing was different, so there is no new version.")
    else:
        messages.success(request, f"Version {after.version} is saved. New sessions use it.")
    return redirect("console:agent", after.public_id)


@require_POST
@role_required("operator")
def archive_agent(request: MemberRequest, agent_id: str) -> HttpResponse:
    found = get_agent(request, agent_id)
    try:
        services.archive_agent(found)
    except DaybreakError as exc:
        messages.error(request, exc.message)
    else:
        messages.success(request, f"{found.name} is archived. Its sessions stay.")
    return redirect("console:agent", found.public_id)


def _base_url(request: HttpRequest) -> str:
    return request.build_absolute_uri("/").rstrip("/")
