"""What an agent may be, and the written-out form of it that a version stores.

A definition is a plain dictionary in the API's shapes, with every default filled in, so that equal definitions are
equal dictionaries and the engine never asks "what if it is missing". Nothing here touches the database.
"""

from __future__ import annotations

from typing import Any

from agents.errors import Invalid, NotBuilt
from agents.providers import catalog
from agents.services import multiagent
from agents.services.metadata import check_metadata, patch_metadata
from agents.services.toolsets import write_out_mcp_servers, write_out_tools

Wire = dict[str, Any]

MAX_NAME_CHARS = 256
MAX_DESCRIPTION_CHARS = 2048
MAX_SYSTEM_CHARS = 100_000
MAX_MODEL_ID_CHARS = 200
FALLBACK_EFFORT = "high"  # of a model whose own default nobody knows
GEOGRAPHIES = ("us", "global")
SERVICE_ACCOUNT = {"type": "service_account"}


def new_definition(given: Wire) -> Wire:
    """The definition that `given`, the body of a create request, asks for.

    References in `multiagent` are as they were given: `members.pin` looks them up.
    """
    servers = write_out_mcp_servers(given.get("mcp_servers"))
    tools = write_out_tools(given.get("tools"), servers)
    team = multiagent.write_out(given.get("multiagent"))
    multiagent.check_tool_names(tools, team)
    return {
        "name": _name(given["name"]),
        "description": _text("description", given.get("description"), MAX_DESCRIPTION_CHARS),
        "model": write_out_model(given["model"]),
        "system": _text("system", given.get("system"), MAX_SYSTEM_CHARS),
        "tools": tools,
        "mcp_servers": servers,
        "skills": _skills(given.get("skills")),
        "metadata": check_metadata(given.get("metadata") or {}),
        "multiagent": team,
        "execution_identity": _execution_identity(given.get("execution_identity")),
    }


def changed_definition(current: Wire, changes: Wire) -> Wire:
    """`current` with the body of an update request applied.

    An absent key keeps. Null or empty clears texts and lists, which are otherwise replaced whole. Metadata is a patch,
    and so may be `multiagent`.
    """
    changed = {**current, **{key: value for key, value in changes.items() if key not in {"metadata", "model"}}}
    if "model" in changes:
        changed["model"] = _changed_model(current["model"], changes["model"])
    if "multiagent" in changes:
        changed["multiagent"] = multiagent.merge(current["multiagent"], changes["multiagent"])
    changed["metadata"] = patch_metadata(current["metadata"], changes.get("metadata"))
    return new_definition(changed)


def write_out_model(given: str | Wire) -> Wire:
    """The object form of a model, its default effort and speed filled in."""
    model: Wire = {"id": given} if isinstance(given, str) else given
    model_id = model["id"]
    if not 1 <= len(model_id) <= MAX_MODEL_ID_CHARS or model_id != model_id.strip():
        raise Invalid(f"model.id: must have 1 to {MAX_MODEL_ID_CHARS} characters, with no spaces around them.")
    _check_geography(model.get("inference_geo"))
    if model.get("speed") == "fast":
        raise Invalid(f"model.speed: {model_id} cannot run fast here. Use `standard` or leave it out.")
    return {
        "id": model_id,
        "effort": _effort(model_id, model.get("effort")),
        "inference_geo": None,
        "speed": "standard",
    }


def _changed_model(current: Wire, given: str | Wire) -> Wire:
    """Replaced whole, but the same model without an effort keeps the stored one."""
    model: Wire = {"id": given} if isinstance(given, str) else given
    if model["id"] == current["id"] and model.get("effort") is None:
        return {**model, "effort": current["effort"]}
    return model


def _effort(model_id: str, given: str | Wire | None) -> Wire:
    info = catalog.lookup(model_id)
    if given is None:
        return {"type": info.default_effort or FALLBACK_EFFORT}
    level = given if isinstance(given, str) else given["type"]
    if info.efforts and level not in info.efforts:
        raise Invalid(f"model.effort: {model_id} has no effort {level}; it has {', '.join(info.efforts)}.")
    return {"type": level}


def _check_geography(given: str | None) -> None:
    if given is None:
        return
    if given not in GEOGRAPHIES:
        raise Invalid(f"model.inference_geo: must be one of {', '.join(GEOGRAPHIES)}.")
    raise NotBuilt("Choosing where a model runs (model.inference_geo) is not built yet. Leave it out.")


def _name(given: str) -> str:
    if not given.strip() or len(given) > MAX_NAME_CHARS:
        raise Invalid(f"name: must have 1 to {MAX_NAME_CHARS} characters.")
    return given


def _text(key: str, given: str | None, max_chars: int) -> str | None:
    if given and len(given) > max_chars:
        raise Invalid(f"{key}: has {len(given):,} characters; the most is {max_chars:,}.")
    return given or None


def _skills(given: list[Wire] | None) -> list[Wire]:
    if given:
        raise NotBuilt("Skills are not built yet. Leave `skills` out or empty.")
    return []


def _execution_identity(given: Wire | None) -> Wire:
    if given is not None and given["type"] != "service_account":
        raise NotBuilt("Execution identities other than service_account are not built yet.")
    return dict(SERVICE_ACCOUNT)
