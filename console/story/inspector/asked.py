"""What a tab is asked for, and how its lists are cut into pages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from agents.models import Event, Session
from console.story.rows import Lane

BIGGEST = 2**62


@dataclass(frozen=True)
class Asked:
    """A tab of one session's inspector, with the event that is selected and the parameters of the address."""

    session: Session
    lanes: Mapping[int, Lane]
    event: Event | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    base_url: str = ""

    def text(self, name: str) -> str:
        return str(self.parameters.get(name) or "")

    def number(self, name: str) -> int | None:
        """A count in the address; None when it is missing or no number."""
        given = self.text(name)
        return min(int(given), BIGGEST) if given.isascii() and given.isdigit() and len(given) <= 18 else None

    def lane_of(self, public_id: str) -> Lane | None:
        return next((lane for lane in self.lanes.values() if lane.public_id == public_id), None)
