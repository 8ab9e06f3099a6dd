"""The rules of `metadata`, the same on every object that has it."""

from __future__ import annotations

from agents.errors import Invalid

MAX_PAIRS = 16
MAX_KEY_CHARS = 64
MAX_VALUE_CHARS = 512


def check_metadata(metadata: dict[str, str]) -> dict[str, str]:
    """`metadata` itself, when it keeps the contract's limits."""
    if len(metadata) > MAX_PAIRS:
        raise _invalid(f"metadata: holds {len(metadata)} pairs; the most is {MAX_PAIRS}.")
    for key, value in metadata.items():
        if not 1 <= len(key) <= MAX_KEY_CHARS:
            raise _invalid(f"metadata: the key {key[:MAX_KEY_CHARS]!r} must have 1 to {MAX_KEY_CHARS} characters.")
        if len(value) > MAX_VALUE_CHARS:
            raise _invalid(f"metadata.{key}: the value has more than {MAX_VALUE_CHARS} characters.")
    return metadata


def patch_metadata(
    current: dict[str, str], patch: dict[str, str | None] | None, *, empty_deletes: bool = False
) -> dict[str, str]:
    """`current` with `patch` applied: a string sets its key, null deletes it, an absent key stays.

    `empty_deletes`: an empty string deletes too (environments).
    """
    patch = patch or {}
    deleted = {key for key, value in patch.items() if value is None or (empty_deletes and value == "")}
    upserts = {key: value for key, value in patch.items() if key not in deleted and value is not None}
    kept = {key: value for key, value in current.items() if key not in deleted}
    return check_metadata({**kept, **upserts})


def _invalid(message: str) -> Invalid:
    return Invalid(message, code="invalid_metadata")
