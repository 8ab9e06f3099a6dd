"""Every URL under `/v1/`: each module of this package lists its own."""

from __future__ import annotations

from agents.api import agents, environments, events, files, models, resources, sessions, streams, traces, unbuilt

app_name = "api"

# `unbuilt` is last: its patterns catch what is left of each family.
urlpatterns = [
    *agents.urlpatterns,
    *environments.urlpatterns,
    *sessions.urlpatterns,
    *events.urlpatterns,
    *streams.urlpatterns,
    *resources.urlpatterns,
    *files.urlpatterns,
    *models.urlpatterns,
    *traces.urlpatterns,
    *unbuilt.urlpatterns,
]
