"""How the build-log triage says and writes down what it found."""

from __future__ import annotations

import re
from collections import Counter

from agents.simulator.triage_rules import ALL_CAUSES, FAILED, PASSED, UNDETERMINED, Finding

QUOTE, SINGLE = '"', "'"
LISTING = "find "  # how the listing command of the shell begins
FINDING = re.compile(
    r"- `(?P<log>[^`]+)`: (?P<result>passed|failed|undetermined)"
    r'(?:, (?P<cause>[a-z_]+) at line (?P<line>\d{1,9}) in step "(?P<step>[^"]*)", (?P<aside>\d{1,9}) set aside: '
    r"(?P<evidence>.*))?"
)


def say_finding(finding: Finding) -> str:
    """One line that `read_finding` reads back."""
    if finding.result == PASSED:
        return f"- `{finding.log}`: {PASSED}"
    step, evidence = (" ".join(text.splitlines()) for text in (finding.step, finding.evidence))
    return (
        f"- `{finding.log}`: {finding.result}, {finding.cause} at line {finding.line} in step "
        f'"{step.replace(QUOTE, SINGLE)}", {finding.set_aside} set aside: {evidence}'
    )


def read_finding(line: str) -> Finding | None:
    found = FINDING.fullmatch(line)
    if found is None:
        return None
    return Finding(
        log=found["log"],
        result=found["result"],
        cause=found["cause"] or "",
        step=found["step"] or "",
        line=int(found["line"] or 0),
        evidence=found["evidence"] or "",
        set_aside=int(found["aside"] or 0),
    )


def summary(findings: list[Finding]) -> str:
    counts = Counter(finding.result for finding in findings)
    causes = Counter(finding.cause for finding in findings if finding.result == FAILED)
    named = ", ".join(f"{cause} ({n})" for cause, n in sorted(causes.items()))
    return (
        f"{len(findings)} logs read: {counts[FAILED]} failed, {counts[PASSED]} passed, "
        f"{counts[UNDETERMINED]} undetermined." + (f" Causes: {named}." if named else "")
    )


def report(findings: list[Finding], folder: str, trouble: list[str], readers: list[str] | None = None) -> str:
    """The whole report. `readers` says who read what, when more than one did."""
    lines = [
        "# Build-log triage",
        "",
        "Written by a simulated model: fixed rules decided what counts as a cause. Every cause is quoted from the "
        "log; check the quoted line before acting on it.",
        "",
        summary(findings),
        f"Folder: `{folder}`",
        "",
    ]
    if trouble:
        lines += ["## Trouble while reading", "", *[f"- {sentence}" for sentence in trouble], ""]
    ordered = sorted(findings, key=lambda finding: finding.log)
    if ordered:
        lines += ["## Overview", "", "| Log | Result | Cause |", "| --- | --- | --- |"]
        lines += [f"| {f.log} | {f.result} | {f.cause or '-'} |" for f in ordered]
        lines.append("")
    if readers:
        lines += ["## Who read what", "", *[f"- {reader}" for reader in readers], ""]
    for finding in ordered:
        if finding.result != PASSED:
            lines += _section(finding)
    return "\n".join(lines)


def _section(finding: Finding) -> list[str]:
    lines = [f"## {finding.log}", ""]
    if finding.step:
        lines.append(f"- Failed in step: {finding.step}")
    cause = ALL_CAUSES.get(finding.cause)
    if cause is None:
        lines.append("- Cause: not found; no rule fits what stands before the failure (`unknown`)")
    else:
        lines.append(f"- Cause: {cause.title} (`{cause.key}`)")
    if finding.line:
        lines += [f"- Evidence: `{finding.log}:{finding.line}`", "", f"      {finding.evidence}", ""]
    if finding.set_aside > 0:
        lines.append(f"- Set aside: {finding.set_aside} other alarming lines that did not stop the build")
    if cause is not None:
        lines.append(f"- Next: {cause.advice}")
    return [*lines, ""]
