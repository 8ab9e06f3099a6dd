"""Realistic build logs with planted causes: what the triage scenarios and the demo read.

Everything follows from the seed. A failed log has one cause, in the step that failed, and around it what makes real
logs hard: errors that a retry cured, alarming test names, steps that may fail, and noise after the failure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from agents.simulator import build_log_phrases as phrases
from agents.simulator.build_log_phrases import ERROR, INFO, WARN, Message

STYLES = ("stamped", "short", "runner")
FIRST_DAY = datetime(2026, 11, 16, 6, 0)
SHARE_PASSED = 0.25
LINES = (200, 5_000)
SPARE = 60  # at most so many lines of a log are not filler
CAUSES = tuple(phrases.CAUSES)


@dataclass(frozen=True)
class GeneratedLog:
    """`cause` is None for a pipeline that passed; else `evidence` is line number `line` of the text."""

    name: str
    text: str
    cause: str | None
    service: str
    evidence: str
    line: int


def generate(pipelines: int, seed: int, *, lines: tuple[int, int] = LINES) -> list[GeneratedLog]:
    """`pipelines` logs with a number of lines in `lines` each; with enough of them every kind of cause occurs."""
    random = Random(f"build-logs-{seed}")  # noqa: S311 — repeatable, not secret
    planned = _plan(pipelines, random)
    numbers = random.sample(range(1_000, 1_000 + pipelines * 7 + 10), pipelines)
    return [
        _one_log(Random(f"{seed}-{number}"), cause, number, lines)  # noqa: S311
        for cause, number in zip(planned, sorted(numbers), strict=True)
    ]


def _plan(pipelines: int, random: Random) -> list[str | None]:
    causes: list[str | None] = []
    while len(causes) < pipelines:
        round_of_causes: list[str | None] = [*CAUSES]
        random.shuffle(round_of_causes)
        causes += round_of_causes
    causes = causes[:pipelines]
    for index in random.sample(range(pipelines), int(pipelines * SHARE_PASSED)):
        causes[index] = None
    return causes


def _one_log(random: Random, cause: str | None, number: int, lines: tuple[int, int]) -> GeneratedLog:
    service = random.choice(phrases.SERVICES)
    low, high = lines[0] + SPARE, lines[1] - SPARE
    size = int(low * (high / low) ** random.random())
    writer = _Writer(random, random.choice(STYLES), service.name, number)
    evidence = _write_steps(writer, service, cause, size)
    return GeneratedLog(
        name=f"{service.name}-{number}.log",
        text="\n".join([*writer.lines, ""]),
        cause=cause,
        service=service.name,
        evidence=writer.lines[evidence - 1] if evidence else "",
        line=evidence,
    )


def _write_steps(writer: _Writer, service: phrases.Service, cause: str | None, size: int) -> int:
    """Write the whole log; the line number of the evidence, 0 when the pipeline passed."""
    random = writer.random
    steps = phrases.STEPS
    failing = random.choice(phrases.CAUSES[cause].steps) if cause else None
    last = steps.index(failing) if failing else len(steps) - 1
    weights = [random.uniform(0.6, 1.4) for _ in range(last + 1)]
    writer.header(random)
    for index, step in enumerate(steps[: last + 1]):
        writer.start(step, index + 1, len(steps))
        here = int((size - SPARE) * weights[index] / sum(weights)) + 1
        writer.body(phrases.filler(random, service, step, here), phrases.red_herrings(random, step))
        if step == failing and cause:
            evidence = writer.plant(phrases.CAUSES[cause].messages(random, service))
            writer.fail(step, phrases.CAUSES[cause].exit_code)
            writer.body(phrases.aftermath(random), [])
            writer.finish(passed=False)
            return evidence
        if step == "lint" and random.random() < 0.3:
            writer.body(phrases.lint_complaints(random), [])
            writer.fail(step, 2, allowed=True)
        else:
            writer.passed(step)
    writer.finish(passed=True)
    return 0


class _Writer:
    """Appends lines in one of three styles, with a clock that only goes forward."""

    def __init__(self, random: Random, style: str, service: str, number: int) -> None:
        self.random = random
        self.style = style
        self.service = service
        self.number = number
        self.step = "setup"
        self.lines: list[str] = []
        self.now = FIRST_DAY + timedelta(seconds=random.randrange(5 * 24 * 3600))

    def line(self, message: Message) -> int:
        """Append one line and return its number."""
        self.now += timedelta(milliseconds=self.random.choice((3, 12, 40, 180, 900, 2_400)))
        level, text = message
        if self.style == "stamped":
            stamp = self.now.isoformat(timespec="milliseconds")
            self.lines.append(f"{stamp}Z {level:<5} [{self.step}] {text}")
        elif self.style == "short":
            self.lines.append(f"[{self.now:%H:%M:%S}] {level} {text}")
        else:
            mark = {INFO: "", WARN: "##[warning]", ERROR: "##[error]"}[level]
            self.lines.append(f"{self.now.isoformat(timespec='microseconds')}0Z {mark}{text}")
        return len(self.lines)

    def header(self, random: Random) -> None:
        commit = f"{random.getrandbits(28):07x}"
        branch = random.choice(phrases.BRANCHES)
        self.line((INFO, f"Pipeline {self.service} #{self.number} (branch {branch}, commit {commit})"))
        self.line((INFO, f"Runner runner-{random.randrange(1, 40):02d}, image ci-base:2026.11"))

    def body(self, filler: Iterable[Message], herrings: list[list[Message]]) -> None:
        """Filler with each red herring put in whole at a random place."""
        messages = list(filler)
        places = sorted((self.random.randrange(len(messages) + 1) for _ in herrings), reverse=True)
        for place, herring in zip(places, herrings, strict=True):
            messages[place:place] = herring
        for message in messages:
            self.line(message)

    def plant(self, planted: tuple[list[Message], int]) -> int:
        messages, evidence = planted
        numbers = [self.line(message) for message in messages]
        return numbers[evidence]

    def start(self, step: str, index: int, count: int) -> None:
        self.step = step
        text = {
            "stamped": f"=== Step {index}/{count}: {step}",
            "short": f'Starting step "{step}"',
            "runner": f"##[section]Starting: {step}",
        }[self.style]
        self.line((INFO, text))

    def passed(self, step: str) -> None:
        seconds = self.random.randrange(2, 300)
        text = {
            "stamped": f"--- Step {step} passed in {seconds}.{seconds % 10}s",
            "short": f'Step "{step}" completed (exit 0, {seconds} s)',
            "runner": f"##[section]Finishing: {step}",
        }[self.style]
        self.line((INFO, text))

    def fail(self, step: str, code: int, *, allowed: bool = False) -> None:
        text = {
            "stamped": f"--- Step {step} failed with exit code {code}",
            "short": f'Step "{step}" exited with code {code}',
            "runner": f"Process completed with exit code {code}.",
        }[self.style]
        suffix = " (allowed to fail)" if allowed else ""
        self.line((WARN if allowed else ERROR, text + suffix))

    def finish(self, *, passed: bool) -> None:
        name = f"Pipeline {self.service} #{self.number}"
        text = {
            "stamped": f"{name} finished: {'SUCCESS' if passed else 'FAILED'}",
            "short": f"Job result: {'success' if passed else 'failed'}",
            "runner": f"##[section]Job {'succeeded' if passed else 'failed'}",
        }[self.style]
        self.line((INFO, text))
