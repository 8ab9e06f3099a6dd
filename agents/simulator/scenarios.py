"""Scenarios: what a simulated model id stands for. One YAML file each in `scenarios/`, read once and checked whole.

    title: Build-log triage             # what people choose from a list
    description: One or two sentences.
    policy: build-log-triage            # a Python policy by name (policies.py) ...
    rules: [...]                        # ... or rules (rules.py), not both
    context_window: 200000              # tokens
    faults: 529x2@3, slow               # as in faults.py, on every turn
    latency_ms: [200, 1500]             # of one answer, before DAYBREAK_SIMULATED_LATENCY scales it

The file name without `.yaml` is the id: `scenarios/echo.yaml` is the model `simulated/echo`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from agents.errors import ProviderRejected
from agents.simulator import policies
from agents.simulator.conversation import Conversation, Policy, Reply
from agents.simulator.faults import Fault, read_faults
from agents.simulator.rules import Range, ResultTrigger, Rule, RuleInvalid, follow_rules

FOLDER = Path(__file__).with_name("scenarios")
FIRST = "default"
CONTEXT_WINDOW = 200_000
LATENCY_MS = (200.0, 1_500.0)
KEYS = {"title", "description", "policy", "rules", "context_window", "faults", "latency_ms"}


class ScenarioInvalid(ValueError):
    """A scenario file that cannot be used. The message names the file and the place."""


@dataclass(frozen=True)
class Scenario:
    id: str
    title: str
    description: str
    policy: Policy
    context_window: int = CONTEXT_WINDOW
    faults: tuple[Fault, ...] = ()
    latency_ms: tuple[float, float] = LATENCY_MS


@lru_cache(maxsize=1)
def all_scenarios() -> tuple[Scenario, ...]:
    """Every shipped scenario: the default first, then by id."""
    paths = sorted(FOLDER.glob("*.yaml"), key=lambda path: (path.stem != FIRST, path.stem))
    return tuple(read_scenario(path) for path in paths)


def read_scenario(path: Path) -> Scenario:
    """Raises ScenarioInvalid with one sentence that names the file and the place."""
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
        return _scenario(path.stem, _mapping(raw, "the top level"))
    except (OSError, ValueError, TypeError, yaml.YAMLError, ProviderRejected) as exc:
        reason = " ".join(str(exc).split())
        raise ScenarioInvalid(f"The scenario {path} cannot be used: {reason}") from exc


def _scenario(scenario_id: str, raw: dict[str, Any]) -> Scenario:
    _only(raw, KEYS, "the top level")
    low, high = raw.get("latency_ms", LATENCY_MS)
    return Scenario(
        id=scenario_id,
        title=_text(raw.get("title"), "title"),
        description=_text(raw.get("description"), "description").strip(),
        policy=_policy(raw),
        context_window=int(raw.get("context_window", CONTEXT_WINDOW)),
        faults=tuple(read_faults(f"faults: {raw['faults']}")) if raw.get("faults") else (),
        latency_ms=(float(low), float(high)),
    )


def _policy(raw: dict[str, Any]) -> Policy:
    if ("policy" in raw) == ("rules" in raw):
        raise RuleInvalid("give it either a policy or rules")
    if "policy" in raw:
        if (policy := policies.POLICIES.get(str(raw["policy"]))) is None:
            names = ", ".join(sorted(policies.POLICIES))
            raise RuleInvalid(f"policy {raw['policy']!r} is not one of {names}")
        return policy
    rules = tuple(_rule(item, f"rules[{i}]") for i, item in enumerate(raw["rules"]))
    if len({rule.name for rule in rules}) < len(rules):
        raise RuleInvalid("two rules have the same name")

    def follow(conversation: Conversation) -> Reply:
        return follow_rules(rules, conversation)

    return follow


def _rule(raw: Any, where: str) -> Rule:
    fields = _mapping(raw, where)
    _only(fields, {"name", "when", "times", "do"}, where)
    when = _mapping(fields.get("when") or {}, f"{where}.when")
    texts = ("request", "task", "system", "mail")
    results = ("result", "seen", "not_seen")
    _only(when, {*texts, *results, "tools", "step", "turn"}, f"{where}.when")
    actions = fields.get("do")
    if not isinstance(actions, list) or not actions:
        raise RuleInvalid(f"{where}.do must be a list of actions")
    return Rule(
        name=_text(fields.get("name"), f"{where}.name"),
        patterns={name: _regex(when[name], f"{where}.{name}") for name in texts if name in when},
        tools=tuple(_text(tool, f"{where}.tools") for tool in when.get("tools", ())),
        step=_range(when.get("step"), f"{where}.step"),
        turn=_range(when.get("turn"), f"{where}.turn"),
        times=int(fields.get("times", 1)),
        actions=tuple(_action(item, f"{where}.do[{i}]") for i, item in enumerate(actions)),
        **{name: _result(when.get(name), f"{where}.{name}") for name in results},
    )


def _action(raw: Any, where: str) -> tuple[str, Any]:
    fields = _mapping(raw, where)
    if len(fields) != 1:
        raise RuleInvalid(f"{where} must be one action")
    kind, value = next(iter(fields.items()))
    if kind in ("say", "think", "refuse"):
        return kind, _text(value, where)
    if kind == "write":
        given = _mapping(value, where)
        _only(given, {"path", "content"}, where)
        path, content = (_text(given.get(name), f"{where}.{name}") for name in ("path", "content"))
        return kind, {"file_path": path, "content": content}
    if kind == "call":
        given = _mapping(value, where)
        _only(given, {"tool", "input", "each"}, where)
        return kind, {
            "tool": _text(given.get("tool"), f"{where}.tool"),
            "input": _mapping(given.get("input") or {}, f"{where}.input"),
            "each": _regex(given["each"], f"{where}.each") if "each" in given else None,
        }
    raise RuleInvalid(f"{where}: {kind!r} is not one of think, say, call, write, refuse")


def _result(raw: Any, where: str) -> ResultTrigger | None:
    if raw is None:
        return None
    fields = _mapping(raw, where)
    _only(fields, {"tool", "matches", "error"}, where)
    return ResultTrigger(
        tool=fields.get("tool"),
        matches=_regex(fields["matches"], f"{where}.matches") if "matches" in fields else None,
        error=fields.get("error"),
    )


def _range(raw: Any, where: str) -> Range | None:
    if raw is None:
        return None
    if isinstance(raw, int):
        return Range(raw, raw)
    fields = _mapping(raw, where)
    _only(fields, {"min", "max"}, where)
    return Range(int(fields.get("min", 1)), int(fields.get("max", 1_000_000)))


def _regex(raw: Any, where: str) -> re.Pattern[str]:
    try:
        return re.compile(_text(raw, where), re.IGNORECASE | re.MULTILINE)
    except re.error as exc:
        raise RuleInvalid(f"{where} is not a regular expression: {exc}") from exc


def _text(raw: Any, where: str) -> str:
    if not isinstance(raw, str) or not raw:
        raise RuleInvalid(f"{where} must be text, not {raw!r}")
    return raw


def _mapping(raw: Any, where: str) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise RuleInvalid(f"{where} must be a mapping, not {raw!r}")
    return raw


def _only(given: dict[str, Any], known: set[str], where: str) -> None:
    if unknown := sorted(str(name) for name in given if name not in known):
        raise RuleInvalid(f"{where} has the unknown key {unknown[0]!r}")
