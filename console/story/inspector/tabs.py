"""The inspector's tabs by name, and reading one of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.utils import timezone

from agents.models import Event
from console.story import storyline
from console.story.inspector import context, events, files, memory, session, threads, tools
from console.story.inspector.asked import Asked

WHY, SUMMARY = "why", "summary"


@dataclass(frozen=True)
class Tab:
    """`body` reads what the tab's template shows; the template is `inspector/_<name>.html`."""

    name: str
    label: str
    body: Callable[[Asked], Any]

    @property
    def template(self) -> str:
        return f"console/sessions/inspector/_{self.name}.html"


TABS = {
    tab.name: tab
    for tab in (
        Tab(SUMMARY, "Summary", lambda asked: storyline.storyline_of(asked.session, asked.lanes)),
        Tab(WHY, "Why", lambda asked: None),  # the card of one event: see console.views.inspector
        Tab("session", "Session", session.read),
        Tab("threads", "Agents", lambda asked: threads.read(asked, timezone.now())),
        Tab("tools", "Tools", tools.read),
        Tab("files", "Files", files.read),
        Tab("memory", "Memory", memory.read),
        Tab("context", "Context", context.read),
        Tab("events", "Events", events.read),
    )
}


def default_tab(event: Event | None) -> str:
    """What is open before anybody chose: why, once something is selected; until then the summary."""
    return SUMMARY if event is None else WHY
