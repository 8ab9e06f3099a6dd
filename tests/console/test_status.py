"""A session stands in exactly one way, and the filter finds it under that way and no other."""

from __future__ import annotations

import itertools

import pytest
from django.utils import timezone

from agents.models import Session
from console.status import LABELS, status_of, with_kind
from tests import factories

STOPS = (None, "end_turn", "requires_action", "retries_exhausted", "budget_reached", "refusal")


@pytest.fixture
def every_state(workspace):
    """One session for each combination of the fields that matter."""
    base = factories.make_session(workspace)
    made = []
    for status, stop, archived, imported in itertools.product(
        Session.Status.values, STOPS, (False, True), (False, True)
    ):
        made.append(
            Session(
                workspace=workspace,
                agent=base.agent,
                agent_version=1,
                agent_snapshot={},
                environment=base.environment,
                public_id=f"sesn_{len(made)}",
                status=status,
                stop_reason={"type": stop} if stop else None,
                archived_at=timezone.now() if archived else None,
                imported_format="chat" if imported else "",
                external_id=f"x{len(made)}" if imported else "",
            )
        )
    base.delete()
    return Session.objects.bulk_create(made)


def test_every_session_is_found_under_its_own_kind_only(workspace, every_state):
    found = {kind: set(Session.objects.filter(with_kind(kind)).values_list("pk", flat=True)) for kind in LABELS}
    for session in Session.objects.in_workspace(workspace):
        kinds = [kind for kind, pks in found.items() if session.pk in pks]
        assert kinds == [status_of(session).kind], (session.status, session.stop_reason, session.imported_format)


@pytest.mark.parametrize(
    "change, word",
    [
        (lambda session: session, "idle"),
        (factories.run, "running"),
        (factories.stop, "done"),
        (lambda session: factories.stop(session, "retries_exhausted"), "failed"),
        (lambda session: factories.ask(session).session, "waiting for you"),
    ],
)
def test_the_word_follows_what_happened(workspace, change, word):
    session = factories.make_session(workspace)
    change(session)
    session.refresh_from_db()
    assert status_of(session).word == word
