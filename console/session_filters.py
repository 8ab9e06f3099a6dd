"""The filters of lists of sessions. All of it is in the address, and every filter can be taken off by a link."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time
from decimal import Decimal
from typing import Any

from django import forms
from django.db.models import Exists, OuterRef, Q
from django.http import QueryDict

from agents.models import Agent, Annotation, Session, SessionFacet, Workspace
from agents.models.base import WorkspaceQuerySet
from agents.models.sessions import SessionQuerySet
from agents.services import annotations as marks
from agents.services import search
from console.formats import NANOUSD
from console.status import LABELS, with_kind
from console.text import visible

CHOICES_SHOWN = 200  # of agents in a select
SOURCES = {"here": "Run here", "simulated": "Simulated", "imported": "Imported"}
ERRORS = {"any": "Any error", "session": "A failed request or turn", "tool": "A failed tool"}
MARKS = {"any": "Any mark", **dict(Annotation.Kind.choices)}
# What a page is beside what it shows: never a filter.
NOT_FILTERS = ("page",)


@dataclass(frozen=True)
class Chip:
    """A filter that is set, in words, and the address without it."""

    name: str
    label: str
    value: str
    without: str


class SessionFilterForm(forms.Form):
    """Which sessions to show. Values nobody offers, and numbers that are none, are no filters."""

    q = forms.CharField(required=False, max_length=200, label="Search title or id")
    status = forms.ChoiceField(required=False, choices=[("", "Any status"), *LABELS.items()])
    agent = forms.ChoiceField(required=False)
    tool = forms.ChoiceField(required=False)
    model = forms.ChoiceField(required=False)
    source = forms.ChoiceField(required=False, choices=[("", "Run here or imported"), *SOURCES.items()])
    error = forms.ChoiceField(required=False, label="Errors", choices=[("", "With or without errors"), *ERRORS.items()])
    cost_min = forms.DecimalField(required=False, min_value=Decimal(0), max_digits=9, label="Cost from, $")
    cost_max = forms.DecimalField(required=False, min_value=Decimal(0), max_digits=9, label="Cost to, $")
    since = forms.DateField(required=False, label="Started from")
    until = forms.DateField(required=False, label="Started until")
    mark = forms.ChoiceField(required=False, label="Marked by people", choices=[("", "Any"), *MARKS.items()])
    category = forms.CharField(required=False, max_length=100, label="Mark's category")
    author = forms.CharField(required=False, max_length=200, label="Mark's author")

    ALWAYS_SHOWN = ("q", "status", "agent", "source")

    def __init__(self, data: QueryDict, *, workspace: Workspace) -> None:
        super().__init__(data)
        self.given, self.workspace = data, workspace
        tools, models = search.tools_and_models(workspace)
        formats = imported_formats(workspace)
        self._offer("agent", "Any agent", self._agents())
        self._offer("tool", "Any tool", [(name, name) for name in tools])
        self._offer("model", "Any model", [(name, name) for name in models])
        sources = {**SOURCES, **{f"from:{name}": f"Imported from {name}" for name in formats}}
        self._offer("source", "Run here or imported", list(sources.items()))
        for name in ("cost_min", "cost_max"):
            self.fields[name].widget.attrs |= {"step": "0.01", "inputmode": "decimal"}
        for name in ("since", "until"):
            self.fields[name].widget = forms.DateInput(attrs={"type": "date"})
        self.fields["category"].widget.attrs["list"] = "mark-categories"
        self.fields["author"].widget.attrs["list"] = "mark-authors"

    def _offer(self, name: str, anything: str, choices: list[tuple[str, str]]) -> None:
        field: forms.ChoiceField = self.fields[name]  # type: ignore[assignment]
        field.choices = [("", anything), *((value, visible(label)) for value, label in choices)]

    def _agents(self) -> list[tuple[str, str]]:
        agents = Agent.objects.in_workspace(self.workspace).order_by("name", "pk")
        known = list(agents.values_list("public_id", "name")[:CHOICES_SHOWN])
        wanted = str(self.data.get("agent", "")).replace("\x00", "")
        if wanted and wanted not in dict(known):
            known += list(agents.filter(public_id=wanted).values_list("public_id", "name"))
        return known

    def chosen(self) -> dict[str, Any]:
        """The filters that are set."""
        self.is_valid()
        return {name: value for name, value in self.cleaned_data.items() if value not in (None, "")}

    def chips(self) -> Iterator[Chip]:
        """The filters that are set, in words, in the order of the form."""
        for name, value in self.chosen().items():
            field = self.fields[name]
            label = str(field.label or name.capitalize())
            choices: Any = field.choices if isinstance(field, forms.ChoiceField) else ()
            shown = dict(choices).get(value, value)
            yield Chip(name, label, str(shown), self._without(name))

    def _without(self, *names: str) -> str:
        rest = self.given.copy()
        for name in (*names, *NOT_FILTERS):
            rest.pop(name, None)
        for name in [name for name in rest if not any(rest.getlist(name))]:
            rest.pop(name)
        return f"?{rest.urlencode()}"

    def shows_more(self) -> bool:
        """Whether a filter is set that stands under "More"."""
        return any(name not in self.ALWAYS_SHOWN for name in self.chosen())

    def categories(self) -> list[str]:
        return marks.categories(self.workspace)

    def authors(self) -> list[str]:
        return marks.authors(self.workspace)


def imported_formats(workspace: Workspace) -> list[str]:
    """Which tools' logs were imported here, by stepping through an index."""
    rows = Session.objects.in_workspace(workspace).order_by("imported_format")
    found: list[str] = []
    last = ""
    while len(found) < 20:
        following = rows.filter(imported_format__gt=last).values_list("imported_format", flat=True).first()
        if following is None:
            break
        found.append(following)
        last = following
    return found


def filtered_sessions(
    rows: WorkspaceQuerySet[Session], chosen: dict[str, Any], *, archived: bool = False
) -> SessionQuerySet:
    """The sessions that match every filter. Without a status, archived ones only when `archived`."""
    found: WorkspaceQuerySet[Session] = rows if archived else rows.unarchived()
    if "status" in chosen:
        found = rows.filter(with_kind(chosen["status"]))
    if text := str(chosen.get("q", "")).strip():
        found = found.filter(named(text))
    found = _by_properties(found, chosen)
    found = _by_facets(found, chosen)
    found = _by_marks(found, chosen)
    return found  # type: ignore[return-value]


def named(text: str) -> Q:
    """Sessions that are called so. Ids hold no spaces, and each condition is a pass over every session."""
    called = Q(title__icontains=text)
    return called if " " in text else called | Q(public_id__contains=text) | Q(external_id__icontains=text)


def _by_properties(rows: WorkspaceQuerySet[Session], chosen: dict[str, Any]) -> WorkspaceQuerySet[Session]:
    if agent := chosen.get("agent"):
        rows = rows.filter(agent__public_id=agent)
    source = chosen.get("source", "")
    if source.startswith("from:"):
        rows = rows.filter(imported_format=source.removeprefix("from:"))
    elif source:
        rows = rows.exclude(imported_format="") if source == "imported" else rows.filter(imported_format="")
        rows = rows.filter(simulated=True) if source == "simulated" else rows
    if (lowest := chosen.get("cost_min")) is not None:
        rows = rows.filter(list_cost_nanousd__gte=int(lowest * NANOUSD))
    if (highest := chosen.get("cost_max")) is not None:
        rows = rows.filter(list_cost_nanousd__lte=int(highest * NANOUSD))
    if since := chosen.get("since"):
        rows = rows.filter(created_at__gte=datetime.combine(since, time(), UTC))
    if until := chosen.get("until"):
        rows = rows.filter(created_at__lte=datetime.combine(until, time.max, UTC))
    return rows


def _by_facets(rows: WorkspaceQuerySet[Session], chosen: dict[str, Any]) -> WorkspaceQuerySet[Session]:
    kinds = SessionFacet.Kind
    for name, kind in (("tool", kinds.TOOL), ("model", kinds.MODEL), ("error", kinds.ERROR)):
        if value := chosen.get(name):
            facets = SessionFacet.objects.filter(session=OuterRef("pk"), kind=kind)
            rows = rows.filter(Exists(facets if value == "any" and kind == kinds.ERROR else facets.filter(value=value)))
    return rows


def _by_marks(rows: WorkspaceQuerySet[Session], chosen: dict[str, Any]) -> WorkspaceQuerySet[Session]:
    """One mark has to have all that is asked of marks."""
    wanted: dict[str, Any] = {}
    if (mark := chosen.get("mark")) and mark != "any":
        wanted["kind"] = mark
    if category := chosen.get("category"):
        wanted["category__iexact"] = category
    if author := chosen.get("author"):
        wanted["author_name__iexact"] = author
    if not wanted and not mark:
        return rows
    return rows.filter(Exists(Annotation.objects.filter(session=OuterRef("pk"), **wanted)))
