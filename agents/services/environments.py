"""Environments: where sessions run. Not versioned; archived for good, or deleted while no session refers to them."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.utils import timezone

from agents.errors import Conflict, Invalid, NotBuilt, NotFound
from agents.models import Environment, Workspace
from agents.services.metadata import check_metadata, patch_metadata

Wire = dict[str, Any]

MAX_NAME_CHARS = 256
MAX_DESCRIPTION_CHARS = 2048
PACKAGE_MANAGERS = ("apt", "cargo", "gem", "go", "npm", "pip")
UNRESTRICTED = {"type": "unrestricted"}
LIMITED = {"type": "limited", "allowed_hosts": [], "allow_mcp_servers": False, "allow_package_managers": False}
NO_PACKAGES = {"type": "packages", **{manager: [] for manager in PACKAGE_MANAGERS}}


def get_environment(workspace: Workspace, public_id: str) -> Environment:
    environment = Environment.objects.in_workspace(workspace).filter(public_id=public_id).first()
    if environment is None:
        raise NotFound(f"There is no environment {public_id[:80]!r} in this workspace.", code="environment_not_found")
    return environment


@transaction.atomic
def create_environment(workspace: Workspace, *, definition: Wire) -> Environment:
    """A new environment. `definition` is the body of a create request."""
    _check_scope(definition)
    name = _checked_name(definition["name"])
    config = write_out_config(definition.get("config") or {"type": "cloud"})
    _check_name_is_free(workspace, name)
    now = timezone.now()
    return Environment.objects.create(
        workspace=workspace,
        name=name,
        description=_checked_description(definition.get("description")),
        config=config,
        metadata=check_metadata(definition.get("metadata") or {}),
        created_at=now,
        updated_at=now,
    )


@transaction.atomic
def update_environment(environment: Environment, *, changes: Wire) -> Environment:
    """Apply the body of an update request: absent keys keep, metadata is a patch.

    Raises:
        Invalid: it is archived, or its `config.type` would change.
        Conflict: another environment has the new name.
    """
    locked = Environment.objects.select_for_update().get(pk=environment.pk)
    if locked.archived_at is not None:
        raise Invalid(
            f"Environment {locked.public_id} is archived and cannot change. Create a new one.",
            code="environment_archived",
        )
    _check_scope(changes)
    before = (locked.name, locked.description, locked.config, locked.metadata)
    if changes.get("name") is not None and changes["name"] != locked.name:
        locked.name = _checked_name(changes["name"])
        _check_name_is_free(locked.workspace, locked.name)
    if "description" in changes:
        locked.description = _checked_description(changes["description"])
    if changes.get("config") is not None:
        locked.config = write_out_config(changes["config"], current=locked.config)
    locked.metadata = patch_metadata(locked.metadata, changes.get("metadata"), empty_deletes=True)
    if (locked.name, locked.description, locked.config, locked.metadata) != before:
        locked.updated_at = timezone.now()
        locked.save(update_fields=["name", "description", "config", "metadata", "updated_at"])
    return locked


def archive_environment(environment: Environment) -> Environment:
    """No new session may use it; running ones go on. Archiving again changes nothing."""
    Environment.objects.filter(pk=environment.pk, archived_at__isnull=True).update(archived_at=timezone.now())
    environment.refresh_from_db()
    return environment


@transaction.atomic
def delete_environment(environment: Environment) -> None:
    """Remove it, when no session refers to it."""
    locked = Environment.objects.select_for_update().get(pk=environment.pk)
    if locked.sessions.exists():
        raise Invalid(
            f"Sessions refer to environment {locked.public_id}. Archive it instead, or delete its sessions first."
        )
    locked.delete()


def environment_wire(environment: Environment) -> Wire:
    return {
        "id": environment.public_id,
        "type": "environment",
        "name": environment.name,
        "description": environment.description,
        "scope": "organization",
        "config": environment.config,
        "metadata": environment.metadata,
        "created_at": environment.created_at,
        "updated_at": environment.updated_at,
        "archived_at": environment.archived_at,
    }


# The configuration


def write_out_config(given: Wire, *, current: Wire | None = None) -> Wire:
    """`given` with what it leaves out taken from `current`, or else from the defaults."""
    if current is not None and given["type"] != current["type"]:
        raise Invalid(
            f"config.type is {current['type']} and cannot change. Create another environment.",
            code="invalid_config_type_change",
        )
    if given["type"] == "self_hosted":
        raise NotBuilt("Self-hosted environments are not built yet. Use config.type `cloud`.")
    networking = _networking(given.get("networking"), (current or {}).get("networking", UNRESTRICTED))
    packages = _packages(given.get("packages"), (current or {}).get("packages", NO_PACKAGES))
    wants_packages = any(packages[manager] for manager in PACKAGE_MANAGERS)
    if wants_packages and networking["type"] == "limited" and not networking["allow_package_managers"]:
        raise Invalid("config.packages: limited networking needs networking.allow_package_managers to install them.")
    if wants_packages:
        raise NotBuilt("Installing packages into an environment (config.packages) is not built yet. Leave them out.")
    if networking.get("allowed_hosts"):
        raise NotBuilt(
            "Letting an environment reach chosen hosts only (networking.allowed_hosts) is not built yet. "
            "Leave the list empty."
        )
    return {"type": "cloud", "networking": networking, "packages": packages}


def _networking(given: Wire | None, current: Wire) -> Wire:
    if given is None:
        return current
    if given["type"] == "unrestricted":
        return dict(UNRESTRICTED)
    base = current if current["type"] == "limited" else LIMITED
    return {**base, **{key: value for key, value in given.items() if value is not None}}


def _packages(given: Wire | None, current: Wire) -> Wire:
    return {**current, **{key: value for key, value in (given or {}).items() if value is not None}}


def _checked_name(name: str) -> str:
    if not name.strip() or len(name) > MAX_NAME_CHARS:
        raise Invalid(f"name: must have 1 to {MAX_NAME_CHARS} characters.")
    return name


def _checked_description(description: str | None) -> str | None:
    if description is not None and len(description) > MAX_DESCRIPTION_CHARS:
        raise Invalid(f"description: has more than {MAX_DESCRIPTION_CHARS:,} characters.")
    return description


def _check_scope(body: Wire) -> None:
    if body.get("scope") == "account":
        raise Invalid("scope: `account` is not possible here; use `organization` or leave it out.")


def _check_name_is_free(workspace: Workspace, name: str) -> None:
    """Two callers with the same name queue on the workspace's row, so that only one gets it."""
    Workspace.objects.select_for_update(no_key=True).get(pk=workspace.pk)
    if Environment.objects.in_workspace(workspace).unarchived().filter(name=name).exists():
        raise Conflict(f"Another environment is called {name!r}. Choose a different name.")
