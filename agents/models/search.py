"""What can be found: the words of events, and what a session holds that lists are filtered by.

Both tables are made from the log by the indexer (`agents.services.search_index`) and can be made again from it. Their
references carry no constraint in the database: checking one would lock the session's row, on which the engine works.
Whoever deletes a session holds the indexer's lock meanwhile, so nothing is left behind.
"""

from __future__ import annotations

from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVectorField
from django.db import models
from django.db.models import Q

from agents.models.events import Event
from agents.models.people import Workspace
from agents.models.sessions import Session
from agents.models.threads import Thread


class SearchText(models.Model):
    """The words of one event. The text itself stays in the event alone.

    `words` also holds `_w` and the workspace's key, `_s` and the session's, which no text contains: the index itself
    can then narrow a search to one of them, however common the words are elsewhere.
    """

    class Kind(models.TextChoices):
        MESSAGE = "message"
        THINKING = "thinking"
        TOOL_INPUT = "tool_input"
        TOOL_OUTPUT = "tool_output"
        DELEGATION = "delegation"
        ERROR = "error"
        NOTE = "note"  # everything else with words of its own

    event = models.OneToOneField(
        Event, on_delete=models.DO_NOTHING, primary_key=True, db_constraint=False, related_name="search_text"
    )
    workspace = models.ForeignKey(
        Workspace, on_delete=models.CASCADE, db_constraint=False, db_index=False, related_name="+"
    )
    session = models.ForeignKey(
        Session, on_delete=models.CASCADE, db_constraint=False, db_index=False, related_name="search_texts"
    )
    thread = models.ForeignKey(
        Thread, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    seq = models.BigIntegerField()
    created_at = models.DateTimeField()
    kind = models.CharField(max_length=12, choices=Kind.choices)
    tool = models.CharField(max_length=200, blank=True)
    is_error = models.BooleanField(default=False)
    is_cut = models.BooleanField(default=False)  # its text is longer than what is indexed of one event
    words = SearchVectorField()

    class Meta:
        indexes = [
            GinIndex(fields=["words"], name="search_words"),
            models.Index(fields=["workspace", "-created_at", "-event"], name="search_newest"),
            models.Index(fields=["session", "seq"], name="search_in_session"),
            models.Index(fields=["session", "-seq"], condition=Q(is_error=True), name="search_errors"),
        ]

    def __str__(self) -> str:
        return f"words of event {self.event_id}"


class SessionFacet(models.Model):
    """Something a session holds: a tool it used, a model that answered in it, a kind of error."""

    class Kind(models.TextChoices):
        TOOL = "tool"
        MODEL = "model"
        ERROR = "error"

    workspace = models.ForeignKey(
        Workspace, on_delete=models.CASCADE, db_constraint=False, db_index=False, related_name="+"
    )
    session = models.ForeignKey(
        Session, on_delete=models.CASCADE, db_constraint=False, db_index=False, related_name="facets"
    )
    kind = models.CharField(max_length=8, choices=Kind.choices)
    value = models.CharField(max_length=200)
    session_created_at = models.DateTimeField()  # the order of lists

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["session", "kind", "value"], name="session_facet_once"),
        ]
        indexes = [
            models.Index(
                fields=["workspace", "kind", "value", "-session_created_at", "-session"], name="session_facet_newest"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.value} in session {self.session_id}"


class SearchProgress(models.Model):
    """How far the indexer is. One row.

    Keys of events are given out before their transaction commits, so a later key may be visible before an earlier
    one. `ahead_pk`: what was visible up to here is indexed. `settled_pk`: everything up to here is indexed, and no
    event with such a key can appear any more. `target_pk` is where `settled_pk` may move once the transactions named in
    `writers`, which were writing events when it was chosen, have all ended.
    """

    ahead_pk = models.BigIntegerField(default=0)
    settled_pk = models.BigIntegerField(default=0)
    target_pk = models.BigIntegerField(null=True, blank=True)
    writers = models.JSONField(default=list)
    indexed_at = models.DateTimeField(null=True, blank=True)  # when nothing was left to do

    def __str__(self) -> str:
        return f"indexed to event {self.settled_pk}"
