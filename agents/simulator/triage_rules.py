"""What the build-log triage knows: signs of causes, marks of steps, and how to judge one log from what was read.

Signs are written so that ripgrep, Python and `grep -E` read them alike. A sign alone proves nothing: it must stand in
the step that failed, before the failure, and nothing after it may say that the work went on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

PASSED, FAILED, UNDETERMINED = "passed", "failed", "undetermined"
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Cause:
    key: str
    title: str
    signs: tuple[str, ...]
    advice: str


CAUSES = (
    Cause(
        "certificate_expired",
        "an expired certificate",
        ("certificate has expired", "certificate is expired", "CERT_HAS_EXPIRED"),
        "Renew the certificate of the host that is named, then run the pipeline again.",
    ),
    Cause(
        "disk_full",
        "a full disk",
        ("[Nn]o space left on device", "ENOSPC", "[Dd]isk quota exceeded"),
        "Free or enlarge the runner's disk; look at image layers and caches first.",
    ),
    Cause(
        "out_of_memory",
        "memory ran out",
        ("[Oo]ut of memory: Kill", "oom-kill", "OutOfMemoryError", "heap out of memory", "OOMKilled"),
        "Raise the memory limit of this step or lower its parallelism.",
    ),
    Cause(
        "dependency_conflict",
        "dependency versions that exclude each other",
        ("ResolutionImpossible", "ERESOLVE", "version solving failed", "conflicting versions of"),
        "Loosen one of the two version constraints and lock again.",
    ),
    Cause(
        "checksum_mismatch",
        "a package that does not match its checksum",
        ("[Hh]ash mismatch", "[Cc]hecksum mismatch", "EINTEGRITY"),
        "Compare the lock file with the registry; do not retry blindly, the package may be tampered with.",
    ),
    Cause(
        "missing_environment",
        "a missing or wrong environment variable",
        (
            "environment variable [A-Z_]+ is not set",
            "KeyError: '[A-Z][A-Z_]+'",
            "invalid value .* for environment variable",
        ),
        "Set the variable in the pipeline's settings for this branch.",
    ),
    Cause(
        "registry_timeout",
        "a registry that could not be reached in time",
        ("i/o timeout", "ETIMEDOUT", "ReadTimeoutError", "context deadline exceeded"),
        "Check the network path to the registry; every retry ran into the time limit.",
    ),
    Cause(
        "pull_rate_limit",
        "the registry's pull rate limit",
        ("toomanyrequests", "pull rate limit"),
        "Sign in to the registry or use a mirror.",
    ),
    Cause(
        "access_denied",
        "missing access rights",
        ("requested access to the resource is denied", "401 Unauthorized", "403 Forbidden"),
        "Renew the token of the pipeline's service account or grant it the right.",
    ),
    Cause(
        "compile_error",
        "a compile error",
        ("error TS[0-9]+:", "error: cannot find symbol", "[.]go:[0-9]+:[0-9]+: undefined:", "SyntaxError: "),
        "Fix the named source line.",
    ),
    Cause(
        "migration_failed",
        "a database migration that failed",
        ("DuplicateColumn", "relation .* already exists", "migration [^ ]+ failed"),
        "Compare the migration with the state of the test database.",
    ),
    Cause(
        "port_in_use",
        "a port that is already in use",
        ("address already in use", "EADDRINUSE"),
        "Find what still listens on the port, or let the test choose a free one.",
    ),
    Cause(
        "job_timeout",
        "the job's time limit",
        ("exceeded the maximum execution time",),
        "Look at the last line before the silence: something hung there.",
    ),
)
TEST_SIGNS = ("FAILED [^ ]+::", " > [^ ]+ FAILED", "--- FAIL: ", "FAIL [^ ]+ > ")
REAL_TEST = Cause("test_failure", "a failing test", TEST_SIGNS, "The test failed every time it ran: fix the code.")
FLAKY_TEST = Cause(
    "flaky_test",
    "a flaky test",
    TEST_SIGNS,
    "The same test passed and failed on the same commit: quarantine it and find what it depends on.",
)
ALL_CAUSES = {cause.key: cause for cause in (*CAUSES, REAL_TEST, FLAKY_TEST)}

STEP_SIGNS = ("=== Step [0-9]+/[0-9]+: ", 'Starting step "', "##.section.Starting: ")
FAILURE_SIGNS = ("failed with exit code [0-9]+", "exited with code [1-9]", "completed with exit code [1-9]")
RESULT_SIGNS = ("finished: (SUCCESS|FAILED)", "Job result: (success|failed)", "##.section.Job (succeeded|failed)")
NAME_SIGNS = ("Pipeline [^ ]+ #[0-9]+",)
# One search per log finds the frame of the log and every candidate.
SEARCH = "|".join(
    [
        *(sign for cause in CAUSES for sign in cause.signs),
        *TEST_SIGNS,
        *STEP_SIGNS,
        *FAILURE_SIGNS,
        *RESULT_SIGNS,
        *NAME_SIGNS,
    ]
)

STEP = re.compile(r'(?:=== Step \d+/\d+: |Starting step "|##.section.Starting: )(?P<name>[^"]*)')
FAILURE = re.compile("|".join(FAILURE_SIGNS))
TOLERATED = re.compile(r"allowed to fail|continue-on-error|\(ignored\)")
RESULT = re.compile("|".join(RESULT_SIGNS))
GOOD = re.compile("SUCCESS|success|succeeded")
TEST_PASSED = re.compile(r"\bPASS(ED)?\b|--- PASS:")
WENT_ON = re.compile(
    r"succeeded on (attempt|retry)|(attempt|retry) \d+(/\d+)? (succeeded|ok)|recovered|continuing|\(ignored\)|"
    r"non-fatal|fell back to|expected by the test|freed \d+|warning only",
    re.IGNORECASE,
)
TEST_NAME = re.compile(
    r"FAILED (?P<a>\S+::\S+)|(?P<b>[\w.$]+ > \S+) FAILED|--- FAIL: (?P<c>\S+)|FAIL (?P<d>\S+ > .+?)(?: \(\d+ ms\))?$"
)
HIT = re.compile(r"(?:(?P<path>/[^:\n]*):)?(?P<line>\d+):(?P<text>.*)")
LINES_AFTER = 12  # within how many lines a log says that it went on


@dataclass(frozen=True)
class Hit:
    line: int
    text: str


@dataclass(frozen=True)
class Finding:
    """What is concluded about one log. `line` and `evidence` are of the log itself."""

    log: str
    result: str
    cause: str = ""
    step: str = ""
    line: int = 0
    evidence: str = ""
    set_aside: int = 0


@dataclass
class LogView:
    """Everything read from one log: lines by number, from the search and from reading ranges."""

    lines: dict[int, str] = field(default_factory=dict)

    @property
    def hits(self) -> list[Hit]:
        return [Hit(number, self.lines[number]) for number in sorted(self.lines)]


@dataclass(frozen=True)
class Frame:
    """Where the failing step lies: from its first line to the line that says that it failed."""

    start: int
    end: int
    step: str
    passed: bool
    complete: bool


def parse_hits(output: str) -> dict[int, str]:
    """Line numbers and lines of a search result, with or without a path in front; other lines are passed over."""
    found = (HIT.fullmatch(line) for line in output.splitlines())
    return {int(match["line"]): match["text"] for match in found if match}


def frame_of(view: LogView) -> Frame:
    start, step, end, passed, complete = 1, "", 0, False, False
    for hit in view.hits:
        if result := RESULT.search(hit.text):
            passed = GOOD.search(result[0]) is not None
            complete = True
        elif end:
            continue  # whatever comes after the failure is a consequence
        elif match := STEP.search(hit.text):
            start, step = hit.line, match["name"].strip()
        elif FAILURE.search(hit.text) and not TOLERATED.search(hit.text):
            end = hit.line
    last = max(view.lines, default=0)
    return Frame(start, end or last + 1, step, passed, complete or bool(end))


def candidates(view: LogView, frame: Frame) -> list[Hit]:
    """Signs of causes in the failing step, in order."""
    return [hit for hit in view.hits if frame.start <= hit.line < frame.end and _cause_of(hit.text) is not None]


def judge(name: str, view: LogView) -> Finding:
    """The conclusion from all that was read of a log."""
    frame = frame_of(view)
    signs = sum(_cause_of(hit.text) is not None for hit in view.hits)
    if frame.passed:
        return Finding(name, PASSED, set_aside=signs)
    standing = [hit for hit in candidates(view, frame) if not _went_on_after(view, hit, frame)]
    if not standing:
        return _undetermined(name, view, frame, signs)
    hit = standing[-1]
    cause = _cause_of(hit.text) or REAL_TEST
    if cause is REAL_TEST and _also_passed(view, hit):
        cause = FLAKY_TEST
    return Finding(name, FAILED, cause.key, frame.step, hit.line, hit.text.strip(), signs - 1)


def test_name(text: str) -> str | None:
    """The name of the test that a line says has failed."""
    match = TEST_NAME.search(text)
    return next((group for group in match.groups() if group), None) if match else None


def escape(text: str) -> str:
    """`text` as a pattern that ripgrep, Python and `grep -E` read alike."""
    return re.sub(r"([\\.^$*+?()\[\]{}|])", r"\\\1", text)


def _undetermined(name: str, view: LogView, frame: Frame, signs: int) -> Finding:
    before = [hit for hit in view.hits if hit.line < frame.end and hit.text.strip()]
    failure = view.lines.get(frame.end, "").strip() if frame.complete else ""
    last = before[-1] if before else Hit(0, "")
    line, evidence = (frame.end, failure) if failure else (last.line, last.text.strip())
    return Finding(name, UNDETERMINED, UNKNOWN, frame.step, line, evidence, signs)


def _cause_of(text: str) -> Cause | None:
    if TEST_PASSED.search(text) or TOLERATED.search(text):
        return None
    for cause in CAUSES:
        if _SIGNS[cause.key].search(text):
            return cause
    return REAL_TEST if _SIGNS[REAL_TEST.key].search(text) else None


def _went_on_after(view: LogView, hit: Hit, frame: Frame) -> bool:
    last = min(hit.line + LINES_AFTER, frame.end - 1)
    numbers = range(hit.line, last + 1)
    return any(WENT_ON.search(view.lines[n]) for n in numbers if n in view.lines)


def _also_passed(view: LogView, hit: Hit) -> bool:
    if (name := test_name(hit.text)) is None:
        return False
    whole = re.compile(rf"(?<!\w){re.escape(name)}(?!\w)")
    return any(TEST_PASSED.search(text) and whole.search(text) for text in view.lines.values())


_SIGNS = {cause.key: re.compile("|".join(cause.signs)) for cause in (*CAUSES, REAL_TEST)}
