"""The URL table: the JSON API under /v1, the console everywhere else."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.urls import include, path

from console.views import (
    accounts,
    agents,
    api_keys,
    environments,
    events,
    export,
    home,
    inspector,
    live,
    picture,
    preferences,
    search,
    session,
    session_acts,
    sessions,
    story,
)
from console.views import annotations as marks


def healthz(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok\n", content_type="text/plain")


pages = [
    path("", home.home, name="home"),
    path("sign-in", accounts.sign_in, name="sign-in"),
    path("sign-in/link/<str:token>", accounts.sign_in_link, name="sign-in-link"),
    path("sign-out", accounts.sign_out, name="sign-out"),
    path("theme", preferences.theme, name="theme"),
    path("workspace", preferences.workspace, name="workspace"),
    path("search", search.search_page, name="search"),
    path("sessions", sessions.sessions, name="sessions"),
    path("sessions/new", sessions.new_session, name="session-new"),
    path("sessions/<str:session_id>", session.session, name="session"),
    path("sessions/<str:session_id>/rows", story.rows, name="session-rows"),
    path("sessions/<str:session_id>/stream", live.stream, name="session-stream"),
    path("sessions/<str:session_id>/picture", picture.picture, name="session-picture"),
    path("sessions/<str:session_id>/why", inspector.why, name="session-why"),
    path("sessions/<str:session_id>/inspect/<str:tab>", inspector.inspect, name="session-inspect"),
    path("sessions/<str:session_id>/file-version", inspector.file_version, name="session-file-version"),
    path("sessions/<str:session_id>/messages", session_acts.send_message, name="session-message"),
    path("sessions/<str:session_id>/interrupt", session_acts.interrupt, name="session-interrupt"),
    path("sessions/<str:session_id>/budget", session_acts.change_budget, name="session-budget"),
    path("sessions/<str:session_id>/threads/end", session_acts.end_thread, name="thread-end"),
    path("sessions/<str:session_id>/archive", session_acts.archive, name="session-archive"),
    path("sessions/<str:session_id>/delete", session_acts.delete, name="session-delete"),
    path("sessions/<str:session_id>/answers/<str:event_id>", session_acts.answer, name="session-answer"),
    path("sessions/<str:session_id>/events/<str:event_id>", events.event, name="event"),
    path("sessions/<str:session_id>/events/<str:event_id>/raw", events.event_raw, name="event-raw"),
    path("sessions/<str:session_id>/outputs/<str:file_id>", events.output, name="session-output"),
    path("sessions/<str:session_id>/search", search.session_search, name="session-search"),
    path("sessions/<str:session_id>/export", export.export, name="session-export"),
    path("sessions/<str:session_id>/events/<str:event_id>/annotations", marks.annotate, name="annotate"),
    path(
        "sessions/<str:session_id>/annotations/<int:annotation_id>/change",
        marks.change,
        name="annotation-change",
    ),
    path(
        "sessions/<str:session_id>/annotations/<int:annotation_id>/remove",
        marks.remove,
        name="annotation-remove",
    ),
    path("agents", agents.agents, name="agents"),
    path("agents/new", agents.new_agent, name="agent-new"),
    path("agents/<str:agent_id>", agents.agent, name="agent"),
    path("agents/<str:agent_id>/edit", agents.edit_agent, name="agent-edit"),
    path("agents/<str:agent_id>/compare", agents.compare, name="agent-compare"),
    path("agents/<str:agent_id>/archive", agents.archive_agent, name="agent-archive"),
    path("environments", environments.environments, name="environments"),
    path("environments/new", environments.new_environment, name="environment-new"),
    path("environments/<str:environment_id>", environments.environment, name="environment"),
    path(
        "environments/<str:environment_id>/archive",
        environments.archive_environment,
        name="environment-archive",
    ),
    path(
        "environments/<str:environment_id>/delete",
        environments.delete_environment,
        name="environment-delete",
    ),
    path("keys", api_keys.api_keys, name="api-keys"),
    path("keys/<str:key_id>/revoke", api_keys.revoke, name="api-key-revoke"),
]

urlpatterns = [
    path("healthz", healthz, name="healthz"),
    path("v1/", include("agents.api.urls")),
    path("", include((pages, "console"))),
]

handler400 = "console.views.errors.bad_request"
handler403 = "console.views.errors.permission_denied"
handler404 = "console.views.errors.not_found"
handler500 = "console.views.errors.server_error"
