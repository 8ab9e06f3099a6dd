"""Reading a model catalogue file. `catalog.yaml` explains the fields."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, TypedDict

import yaml

# What may follow a key: a snapshot date, as in claude-haiku-4-5-20251001, or the alias of the newest one.
SNAPSHOT = re.compile(r"(-\d{8}|-latest)?")


class CatalogInvalid(ValueError):
    """A catalogue file that cannot be used. The message names the file and the key."""


@dataclass(frozen=True)
class Prices:
    """US dollars for a million tokens."""

    input: Decimal
    output: Decimal
    cache_read: Decimal
    cache_write_5m: Decimal
    cache_write_1h: Decimal


@dataclass(frozen=True)
class PricesAbove:
    """Prices of requests that read more than `input_tokens`."""

    input_tokens: int
    prices: Prices


class ModelFields(TypedDict, total=False):
    display_name: str
    context_window: int
    max_tokens: int
    max_output_tokens: int
    released: date
    thinking: str
    efforts: tuple[str, ...]
    default_effort: str
    prompt_caching: bool
    prices: Prices | None
    prices_above: PricesAbove | None


@dataclass(frozen=True)
class Catalog:
    models: dict[str, ModelFields] = field(default_factory=dict)
    session_hour_usd: Decimal = Decimal(0)
    web_search_per_1000_usd: Decimal = Decimal(0)
    stated: frozenset[str] = frozenset()

    def fields_of(self, model_id: str) -> ModelFields:
        """The fields of the longest key that covers `model_id`; empty when none does."""
        fitting = [key for key in self.models if _covers(key, model_id)]
        return self.models[max(fitting, key=len)] if fitting else {}

    def listed(self) -> list[str]:
        return [key for key in self.models if not key.endswith("*")]

    def merged_with(self, other: Catalog) -> Catalog:
        """This catalogue with everything that `other` states, model by model and field by field."""
        models = dict(self.models)
        for key, fields in other.models.items():
            models[key] = {**models.get(key, {}), **fields}
        stated = {name: getattr(other, name) for name in other.stated}
        return replace(self, models=models, **stated)


def read_catalog(path: Path) -> Catalog:
    """Raises CatalogInvalid with one sentence that names the file and the key."""
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as exc:
        raise CatalogInvalid(f"The model catalogue {path} cannot be read: {exc}.") from exc
    except yaml.YAMLError as exc:
        reason = " ".join(str(exc).split())
        raise CatalogInvalid(f"The model catalogue {path} is not valid YAML: {reason}.") from exc
    reader = _Reader(path)
    return reader.catalog({} if raw is None else raw)


def _covers(key: str, model_id: str) -> bool:
    if key == "*":
        return not model_id.startswith("simulated/")  # those facts come from the scenario
    if key.endswith("*"):
        return model_id.startswith(key[:-1])
    return model_id.startswith(key) and SNAPSHOT.fullmatch(model_id, len(key)) is not None


class _Reader:
    """Checks values one by one; every complaint names the file and the path of the key."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def catalog(self, raw: Any) -> Catalog:
        top = self.mapping(raw, "the top level")
        self.only(top, {"models", "session_hour_usd", "web_search_per_1000_usd"}, "the top level")
        models = {
            str(key): self.model(value, f"models.{key}")
            for key, value in self.mapping(top.get("models") or {}, "models").items()
        }
        amounts = {
            name: self.amount(top[name], name)
            for name in ("session_hour_usd", "web_search_per_1000_usd")
            if name in top
        }
        return Catalog(models=models, stated=frozenset(amounts), **amounts)

    def model(self, raw: Any, where: str) -> ModelFields:
        fields = self.mapping(raw, where)
        self.only(fields, set(ModelFields.__annotations__), where)
        checks = {
            "display_name": self.text,
            "context_window": self.count,
            "max_tokens": self.count,
            "max_output_tokens": self.count,
            "released": self.day,
            "thinking": self.thinking,
            "efforts": self.words,
            "default_effort": self.text,
            "prompt_caching": self.flag,
            "prices": self.prices,
            "prices_above": self.prices_above,
        }
        read = {name: checks[name](value, f"{where}.{name}") for name, value in fields.items()}
        return ModelFields(**read)  # type: ignore[typeddict-item]

    def prices(self, raw: Any, where: str) -> Prices | None:
        if raw is None:
            return None
        values = self.mapping(raw, where)
        names = set(Prices.__dataclass_fields__)
        self.only(values, names, where)
        if missing := sorted(names - set(values)):
            raise self.bad(where, f"lacks {', '.join(missing)}")
        return Prices(**{name: self.amount(values[name], f"{where}.{name}") for name in names})

    def prices_above(self, raw: Any, where: str) -> PricesAbove | None:
        if raw is None:
            return None
        values = self.mapping(raw, where)
        self.only(values, {"input_tokens", "prices"}, where)
        prices = self.prices(values.get("prices"), f"{where}.prices")
        if prices is None:
            raise self.bad(where, "lacks prices")
        return PricesAbove(self.count(values.get("input_tokens"), f"{where}.input_tokens"), prices)

    def mapping(self, raw: Any, where: str) -> dict[Any, Any]:
        if not isinstance(raw, dict):
            raise self.bad(where, f"must be a mapping, not {raw!r}")
        return raw

    def only(self, values: dict[Any, Any], known: set[str], where: str) -> None:
        if unknown := sorted(str(name) for name in values if name not in known):
            raise self.bad(where, f"has the unknown key {unknown[0]!r}; use {_any_of(known)}")

    def count(self, raw: Any, where: str) -> int:
        if isinstance(raw, bool) or not isinstance(raw, int) or raw < 1:
            raise self.bad(where, f"must be a whole number above zero, not {raw!r}")
        return raw

    def amount(self, raw: Any, where: str) -> Decimal:
        if isinstance(raw, bool) or not isinstance(raw, int | float | str):
            raise self.bad(where, f"must be a number, not {raw!r}")
        try:
            value = Decimal(str(raw))
        except InvalidOperation as exc:
            raise self.bad(where, f"must be a number, not {raw!r}") from exc
        if not value.is_finite() or value < 0:
            raise self.bad(where, f"must be zero or more, not {raw!r}")
        return value

    def text(self, raw: Any, where: str) -> str:
        if not isinstance(raw, str) or not raw:
            raise self.bad(where, f"must be text, not {raw!r}")
        return raw

    def words(self, raw: Any, where: str) -> tuple[str, ...]:
        if not isinstance(raw, list):
            raise self.bad(where, f"must be a list, not {raw!r}")
        return tuple(self.text(word, where) for word in raw)

    def flag(self, raw: Any, where: str) -> bool:
        if not isinstance(raw, bool):
            raise self.bad(where, f"must be true or false, not {raw!r}")
        return raw

    def day(self, raw: Any, where: str) -> date:
        if type(raw) is not date:
            raise self.bad(where, f"must be a date such as 2026-11-20, not {raw!r}")
        return raw

    def thinking(self, raw: Any, where: str) -> str:
        if raw not in ("adaptive", "none"):
            raise self.bad(where, f"must be adaptive or none, not {raw!r}")
        return str(raw)

    def bad(self, where: str, why: str) -> CatalogInvalid:
        return CatalogInvalid(f"The model catalogue {self.path} is wrong at {where}: it {why}.")


def _any_of(names: set[str]) -> str:
    return ", ".join(sorted(names))
