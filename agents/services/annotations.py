"""What people say of single steps: a failure, something good, a note.

Everybody who may view may say something: the experts whose judgement counts are often neither operators nor
reviewers, and a mark changes nothing but itself. Each mark is its author's own; an admin may put any right. Labels that
came with an imported log are part of that log and stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Count, Max
from django.utils import timezone

from agents.errors import Invalid, NotAllowed, NotFound
from agents.models import Annotation, Event, Membership, Session, Workspace
from agents.models.people import Role
from agents.services.log import clean_text

MAX_CATEGORY = 100
MAX_TEXT = 4_000
MAX_PER_EVENT = 200  # more are a program's doing
SUGGESTED = 30


def add_annotation(event: Event, *, by: User, name: str, kind: str, category: str = "", text: str = "") -> Annotation:
    """Mark a step. The same person may mark it several times.

    Args:
        name: how the author is named from now on, also when the account is gone.

    Raises Invalid for an unknown kind, too long a text, or a note that says nothing.
    """
    values = _checked(kind, category, text)
    if event.annotations.count() >= MAX_PER_EVENT:
        raise Invalid(f"This event has {MAX_PER_EVENT} marks already. Remove some to add another.")
    return Annotation.objects.create(
        session_id=event.session_id, event=event, author=by, author_name=name[:200], written_here=True, **values
    )


@transaction.atomic
def change_annotation(
    annotation: Annotation, *, by: Membership, kind: str, category: str = "", text: str = ""
) -> Annotation:
    """Say it differently. The author stays who it was, also when an admin puts it right.

    Raises NotAllowed for somebody else's mark or an imported label, Invalid as `add_annotation` does.
    """
    locked = _lock(annotation, by)
    values = _checked(kind, category, text)
    for field, value in values.items():
        setattr(locked, field, value)
    locked.changed_at = timezone.now()
    locked.save(update_fields=[*values, "changed_at"])
    return locked


@transaction.atomic
def remove_annotation(annotation: Annotation, *, by: Membership) -> None:
    """Take a mark back. Raises NotAllowed as `change_annotation` does."""
    _lock(annotation, by).delete()


def can_change(annotation: Annotation, by: Membership) -> bool:
    return annotation.written_here and (annotation.author_id == by.user_id or by.may(Role.ADMIN))


def _lock(annotation: Annotation, by: Membership) -> Annotation:
    locked = Annotation.objects.select_for_update(of=("self",)).filter(pk=annotation.pk).first()
    if locked is None:
        raise NotFound("This mark is not there any more.")
    if not locked.written_here:
        raise NotAllowed("This label came with the imported log and stays as it is. Add a mark of your own beside it.")
    if not can_change(locked, by):
        raise NotAllowed(f"This mark is {locked.author_name}'s. Only they or an admin can change it.")
    return locked


def _checked(kind: str, category: str, text: str) -> dict[str, Any]:
    category, text = " ".join(clean_text(category).split()), clean_text(text).replace("\r\n", "\n").strip()
    if kind not in Annotation.Kind.values:
        raise Invalid(f"kind: choose one of {', '.join(Annotation.Kind.values)}.")
    if len(category) > MAX_CATEGORY:
        raise Invalid(f"category: use at most {MAX_CATEGORY} characters.")
    if len(text) > MAX_TEXT:
        raise Invalid(f"text: use at most {MAX_TEXT:,} characters.")
    if kind == Annotation.Kind.NOTE and not (category or text):
        raise Invalid("text: write the note.")
    return {"kind": kind, "category": category, "text": text}


@dataclass(frozen=True)
class Agreement:
    """How far those who judged a step agree: `of` people or sources judged it, so many say `kind`."""

    kind: str
    says: int
    of: int
    names: tuple[str, ...]  # of those who say so

    @property
    def is_shared(self) -> bool:
        return self.says == self.of


def agreements(annotations: Iterable[Annotation]) -> list[Agreement]:
    """Per judgement (failure, good) who gave it, of all who judged; empty while only one did. Notes judge nothing.

    Somebody who says both counts for both.
    """
    said: dict[str, dict[object, str]] = {}
    for annotation in annotations:
        if annotation.kind != Annotation.Kind.NOTE:
            said.setdefault(annotation.kind, {})[_voice(annotation)] = annotation.author_name
    judges = {voice for voices in said.values() for voice in voices}
    if len(judges) < 2:
        return []
    order = (Annotation.Kind.FAILURE, Annotation.Kind.GOOD)
    found = ((kind, said[kind]) for kind in order if kind in said)
    return [Agreement(kind.value, len(voices), len(judges), tuple(voices.values())) for kind, voices in found]


def _voice(annotation: Annotation) -> object:
    """Who speaks: a person of this instance, or a name that came with a log."""
    return annotation.author_id or (annotation.written_here, annotation.author_name)


def categories(workspace: Workspace) -> list[str]:
    """What marks were called in this workspace, the commonest first."""
    rows = Annotation.objects.filter(session__workspace=workspace).exclude(category="")
    counted = rows.values("category").annotate(times=Count("pk"), last=Max("pk")).order_by("-times", "-last")
    return [row["category"] for row in counted[:SUGGESTED]]


def authors(workspace: Workspace) -> list[str]:
    """Whose marks there are in this workspace, by name."""
    rows = Annotation.objects.filter(session__workspace=workspace).order_by("author_name")
    return list(rows.values_list("author_name", flat=True).distinct()[:200])


def find_annotation(session: Session, annotation_pk: int) -> Annotation:
    """Raises NotFound."""
    found = session.annotations.select_related("event").filter(pk=annotation_pk).first()
    if found is None:
        raise NotFound("This session has no such mark.")
    return found
