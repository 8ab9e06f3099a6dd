"""`/v1/models`, in the API's older way of paging. The catalogue holds a few dozen models at most."""

from __future__ import annotations

from datetime import UTC, datetime, time
from typing import Any

from django.urls import path

from agents.api.http import ApiRequest, endpoint
from agents.api.schemas import parse_query
from agents.errors import Invalid, NotFound
from agents.providers import catalog

Wire = dict[str, Any]

UNKNOWN_RELEASE = datetime(1970, 1, 1, tzinfo=UTC)


def list_models(request: ApiRequest) -> Wire:
    query = parse_query(request, "models.list")
    stages = query.get("lifecycle")
    models = catalog.list_models() if stages is None or "active" in stages else []
    if "after_id" in query and "before_id" in query:
        raise Invalid("after_id: cannot be combined with before_id.")
    ids = [model.id for model in models]
    limit = query["limit"]
    start, end = 0, len(ids)
    if "after_id" in query:
        start = _index(ids, query["after_id"]) + 1
    if "before_id" in query:
        end = _index(ids, query["before_id"])
        start = max(0, end - limit)
        has_more = start > 0
    else:
        has_more = start + limit < end
        end = min(end, start + limit)
    shown = [model_wire(model) for model in models[start:end]]
    return {
        "data": shown,
        "has_more": has_more,
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
    }


def _index(ids: list[str], wanted: str) -> int:
    if wanted not in ids:
        raise Invalid(f"There is no model {wanted[:80]!r} to page from.")
    return ids.index(wanted)


def retrieve_model(request: ApiRequest, model_id: str) -> Wire:
    found = next((model for model in catalog.list_models() if model.id == model_id), None)
    if found is None:
        raise NotFound(f"There is no model {model_id[:80]!r}. List the models to see what this server can run.")
    return model_wire(found)


def model_wire(model: catalog.ModelInfo) -> Wire:
    released = datetime.combine(model.released, time.min, tzinfo=UTC) if model.released else UNKNOWN_RELEASE
    return {
        "id": model.id,
        "type": "model",
        "display_name": model.display_name,
        "created_at": released,
        "lifecycle": "active",
        "max_input_tokens": model.context_window,
        "max_tokens": model.max_output_tokens,
    }


urlpatterns = [
    path("models", endpoint(GET=list_models), name="models"),
    # Ids such as simulated/default hold a slash, which the SDK sends as %2F and ASGI has decoded.
    path("models/<path:model_id>", endpoint(GET=retrieve_model), name="model"),
]
