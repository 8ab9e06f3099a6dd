"""Rules of a scenario: triggers on what the model sees, actions for its next answer.

    rules:
      - name: list                      # needed, unique
        when:                           # all of them must hold; no `when` always holds
          request: REGEX                # the newest text from a person
          task: REGEX                   # the first text from a person
          system: REGEX
          tools: [bash, read]           # all are offered
          step: 1                       # number of the answer in the turn, or {min: 2, max: 5}
          turn: 1                       # number of the message that asks for something, or a range
          mail: REGEX                   # all messages that other agents have sent since the request
          result: {tool: grep, matches: REGEX, error: false}   # a result of the answer just before
          seen: {...}                   # a result anywhere in the turn
          not_seen: {...}
        times: 1                        # how often the rule may fire in a turn; 1 unless said, 0 is without limit
        do:                             # in order; the first rule that holds makes the answer
          - think: TEXT
          - say: TEXT
          - call: {tool: NAME, input: {...}, each: REGEX}
          - write: {path: PATH, content: TEXT}
          - refuse: TEXT

Named groups of the regexes are variables: `{{name}}` in any text of `do`, beside {{request}}, {{task}}, {{step}},
{{mail}} and {{result}} (the results of the answer just before). `each` makes one call for every match in {{result}},
its groups being variables of that call. An answer without a call ends the turn. When no rule holds, the turn ends.

Which rules fired before is worked out again from the conversation, so a rule set has no state.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from agents.simulator.conversation import Conversation, Reply, ToolCall
from agents.simulator.steps import Call

VARIABLE = re.compile(r"\{\{\s*(\w+)\s*\}\}")
MAX_EACH = 25
NOTHING_LEFT = "This is a simulated model. Its scenario has nothing more to do here."


class RuleInvalid(ValueError):
    """A rule that cannot be used; the message says where and why."""


@dataclass(frozen=True)
class Range:
    low: int
    high: int

    def __contains__(self, number: int) -> bool:
        return self.low <= number <= self.high


@dataclass(frozen=True)
class ResultTrigger:
    tool: str | None = None
    matches: re.Pattern[str] | None = None
    error: bool | None = None

    def found_in(self, calls: list[Call]) -> dict[str, str] | None:
        """The named groups of the first call that fits; None when none does."""
        for call in calls:
            if call.result is None or self.tool not in (None, call.name):
                continue
            if self.error not in (None, call.is_error):
                continue
            if self.matches is None:
                return {}
            if (match := self.matches.search(call.result)) is not None:
                return _groups(match)
        return None


@dataclass(frozen=True)
class Rule:
    name: str
    patterns: dict[str, re.Pattern[str]] = field(default_factory=dict)
    tools: tuple[str, ...] = ()
    step: Range | None = None
    turn: Range | None = None
    result: ResultTrigger | None = None
    seen: ResultTrigger | None = None
    not_seen: ResultTrigger | None = None
    times: int = 1
    actions: tuple[tuple[str, Any], ...] = ()

    def variables(self, conversation: Conversation) -> dict[str, str] | None:
        """The captures when every trigger holds, else None."""
        if not conversation.has(*self.tools):
            return None
        if self.step is not None and len(conversation.steps) + 1 not in self.step:
            return None
        if self.turn is not None and conversation.turn not in self.turn:
            return None
        captured: dict[str, str] = {}
        for source, pattern in self.patterns.items():
            match = pattern.search(_source(conversation, source))
            if match is None:
                return None
            captured |= _groups(match)
        last = list(conversation.last_calls)
        for trigger, calls in ((self.result, last), (self.seen, conversation.calls)):
            if trigger is not None:
                groups = trigger.found_in(calls)
                if groups is None:
                    return None
                captured |= groups
        if self.not_seen is not None and self.not_seen.found_in(conversation.calls) is not None:
            return None
        return captured


def follow_rules(rules: tuple[Rule, ...], conversation: Conversation) -> Reply:
    fired: list[str] = []
    for done in range(len(conversation.steps)):
        if (choice := _choose(rules, conversation.until(done), fired)) is not None:
            fired.append(choice[0].name)
    choice = _choose(rules, conversation, fired)
    if choice is None:
        return Reply(text=NOTHING_LEFT)
    rule, captured = choice
    return _answer(rule, {**_known(conversation), **captured}, conversation)


def _choose(
    rules: tuple[Rule, ...], conversation: Conversation, fired: list[str]
) -> tuple[Rule, dict[str, str]] | None:
    for rule in rules:
        if rule.times and fired.count(rule.name) >= rule.times:
            continue
        if (captured := rule.variables(conversation)) is not None:
            return rule, captured
    return None


def _known(conversation: Conversation) -> dict[str, str]:
    return {
        "request": conversation.request,
        "task": conversation.task,
        "step": str(len(conversation.steps) + 1),
        "mail": _source(conversation, "mail"),
        "result": _results(conversation),
    }


def _source(conversation: Conversation, name: str) -> str:
    """The text that a trigger's pattern is looked for in."""
    if name == "mail":
        return "\n".join(f"{mail.sender}: {mail.text}" for mail in conversation.mail)
    text: str = getattr(conversation, name)
    return text


def _results(conversation: Conversation) -> str:
    return "\n".join(call.result or "" for call in conversation.last_calls)


def _answer(rule: Rule, variables: dict[str, str], conversation: Conversation) -> Reply:
    said: list[str] = []
    thought: list[str] = []
    calls: list[ToolCall] = []
    for kind, value in rule.actions:
        if kind == "refuse":
            return Reply(refusal=_filled(value, variables))
        if kind == "say":
            said.append(_filled(value, variables))
        elif kind == "think":
            thought.append(_filled(value, variables))
        elif kind == "write":
            calls.append(ToolCall("write", _filled(value, variables)))
        else:
            calls += _calls(value, variables, _results(conversation))
    if not said and not calls:
        said = [NOTHING_LEFT]
    return Reply(text="\n".join(said), thinking="\n".join(thought), calls=tuple(calls))


def _calls(value: dict[str, Any], variables: dict[str, str], results: str) -> Iterator[ToolCall]:
    each: re.Pattern[str] | None = value["each"]
    if each is None:
        yield ToolCall(value["tool"], _filled(value["input"], variables))
        return
    for number, match in enumerate(each.finditer(results)):
        if number == MAX_EACH:
            return
        yield ToolCall(value["tool"], _filled(value["input"], {**variables, **_groups(match)}))


def _groups(match: re.Match[str]) -> dict[str, str]:
    return {name: text or "" for name, text in match.groupdict().items()}


def _filled(value: Any, variables: dict[str, str]) -> Any:
    if isinstance(value, str):
        return VARIABLE.sub(lambda found: variables.get(found[1], ""), value)
    if isinstance(value, dict):
        return {key: _filled(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, variables) for item in value]
    return value
