"""What generated build logs say: services, steps, ordinary lines, red herrings, and the planted causes.

Nothing here is shared with the triage's rules: they must recognise these lines as they would a real log's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

INFO, WARN, ERROR = "INFO", "WARN", "ERROR"
Message = tuple[str, str]  # level and text

STEPS = (
    "checkout",
    "restore cache",
    "install dependencies",
    "lint",
    "compile",
    "unit tests",
    "integration tests",
    "build image",
    "push image",
    "deploy preview",
)
BRANCHES = ("main", "main", "main", "release/2026.11", "fix/rounding", "feat/slots", "chore/update")


@dataclass(frozen=True)
class Service:
    name: str
    language: str  # python, node, go or java


SERVICES = tuple(
    Service(name, language)
    for language, names in {
        "python": ("payments-api", "report-builder", "notifications", "fraud-scoring", "exports"),
        "node": ("web-shop", "checkout", "cart", "admin-console", "mail-preview"),
        "go": ("search-indexer", "auth-gateway", "image-resizer", "edge-proxy", "scheduler"),
        "java": ("ledger", "inventory", "billing-worker", "pricing", "shipping"),
    }.items()
    for name in names
)
WORDS = ("order", "total", "refund", "slot", "address", "invoice", "session", "stock", "voucher", "quota")
VERBS = ("rounds", "rejects", "keeps", "merges", "expires", "retries", "sorts", "splits", "restores")
PACKAGES = ("httpwire", "jsonfast", "tinyorm", "logline", "clockwork", "yamlet", "retryx", "pathfind", "colorset")
HOSTS = ("registry.example.net", "packages.example.net", "mirror.example.org")


def filler(random: Random, service: Service, step: str, count: int) -> Iterator[Message]:
    """Ordinary lines of a step."""
    write = {
        "checkout": _checkout_line,
        "restore cache": _cache_line,
        "install dependencies": _install_line,
        "lint": _lint_line,
        "compile": _compile_line,
        "unit tests": _test_line,
        "integration tests": _integration_line,
    }.get(step, _image_line)
    for number in range(count):
        yield write(random, service, number)


def _version(random: Random) -> str:
    return f"{random.randrange(1, 9)}.{random.randrange(20)}.{random.randrange(10)}"


def _checkout_line(random: Random, service: Service, number: int) -> Message:
    return (INFO, f"remote: Counting objects: {number * 37 % 100}% ({number}/{number + 211})")


def _cache_line(random: Random, service: Service, number: int) -> Message:
    return (INFO, f"cache: restored {random.choice(PACKAGES)}-{number} ({random.randrange(2, 900)} kB)")


def _install_line(random: Random, service: Service, number: int) -> Message:
    package = f"{random.choice(PACKAGES)}{number % 53 or ''}"
    if random.random() < 0.04:
        return (WARN, f"deprecated {package}@{_version(random)}: use {random.choice(PACKAGES)} instead")
    verb = {"python": "Collecting", "node": "added", "go": "go: downloading", "java": "Downloaded"}
    return (INFO, f"{verb[service.language]} {package} {_version(random)} from {random.choice(HOSTS)}")


def _lint_line(random: Random, service: Service, number: int) -> Message:
    if random.random() < 0.05:
        return (WARN, f"src/{random.choice(WORDS)}.py:{number + 3}: line is {random.randrange(101, 140)} long")
    return (INFO, f"checked src/{random.choice(WORDS)}_{number}: 0 errors, 0 warnings")


def _compile_line(random: Random, service: Service, number: int) -> Message:
    if random.random() < 0.03:
        return (WARN, f"{random.choice(WORDS)}_{number}: unused import is ignored")
    return (INFO, f"[{number + 1}] compiling {service.name}/{random.choice(WORDS)}_{number}")


def _test_line(random: Random, service: Service, number: int) -> Message:
    name = f"{random.choice(VERBS)}_{random.choice(WORDS)}_{number}"
    if random.random() < 0.03:
        return (INFO, f"captured log: ERROR handler: division by zero while {name} (expected by the test)")
    return (INFO, passed_line(service.language, name))


def passed_line(language: str, name: str) -> str:
    return {
        "python": f"PASSED tests/test_shop.py::test_{name}",
        "node": f"PASS src/shop.test.ts > {name}",
        "go": f"--- PASS: Test_{name} (0.01s)",
        "java": f"ShopTest > {name} PASSED",
    }[language]


def failed_line(language: str, name: str, why: str) -> str:
    return {
        "python": f"FAILED tests/test_shop.py::test_{name} - {why}",
        "node": f"FAIL src/shop.test.ts > {name}",
        "go": f"--- FAIL: Test_{name} (0.02s)",
        "java": f"ShopTest > {name} FAILED",
    }[language]


def _integration_line(random: Random, service: Service, number: int) -> Message:
    if random.random() < 0.02:
        return (WARN, f"slow query ({random.randrange(300, 900)} ms): select from {random.choice(WORDS)}s")
    status = random.choice((200, 200, 200, 201, 204, 404))
    path = f"/v1/{random.choice(WORDS)}s/{number}"
    return (INFO, f"{service.name} GET {path} {status} in {random.randrange(2, 90)} ms")


def _image_line(random: Random, service: Service, number: int) -> Message:
    digest = f"{random.getrandbits(48):012x}"
    return (INFO, f"layer {number + 1}: {digest} {random.choice(('cached', 'built', 'pushed'))}")


# Red herrings: alarming, and harmless because the log says that the work went on.


def red_herrings(random: Random, step: str) -> list[list[Message]]:
    count = random.choice((0, 0, 1, 1, 2))
    return [random.choice(HERRINGS)(random) for _ in range(count)] if step != "checkout" else []


def _cured_timeout(random: Random) -> list[Message]:
    host = random.choice(HOSTS)
    return [
        (ERROR, f"request to https://{host}/index failed, reason: connect ETIMEDOUT 10.4.0.9:443"),
        (WARN, "waiting 4 s before the next attempt"),
        (INFO, "attempt 2/3 succeeded after 1.2 s"),
    ]


def _cured_disk(random: Random) -> list[Message]:
    return [
        (ERROR, f"cache: write /cache/blob-{random.randrange(999)}: no space left on device"),
        (WARN, "cache: removed old entries, freed 4200 MB"),
    ]


def _tls_test(random: Random) -> list[Message]:
    return [
        (ERROR, "app.tls: handshake with old.example.net: certificate has expired"),
        (INFO, "the refusal above is expected by the test"),
    ]


def _tls_test_name(random: Random) -> list[Message]:
    return [(INFO, "PASS src/tls.test.ts > refuses a host whose certificate has expired")]


def _mirror(random: Random) -> list[Message]:
    return [
        (WARN, "hub answered toomanyrequests: slow down"),
        (INFO, f"fell back to {HOSTS[2]}"),
    ]


def _lost_worker(random: Random) -> list[Message]:
    pid = random.randrange(300, 9_000)
    return [
        (WARN, f"Out of memory: Killed process {pid} (test-worker)"),
        (INFO, f"worker {pid % 8} recovered, its tests were moved"),
    ]


def _busy_port(random: Random) -> list[Message]:
    return [(WARN, "bind 127.0.0.1:5432: address already in use; fell back to port 5433")]


def _cured_test(random: Random) -> list[Message]:
    name = f"mail_{random.choice(WORDS)}"
    return [
        (ERROR, f"FAILED tests/test_mail.py::test_{name} - TimeoutError: mailbox is empty"),
        (INFO, "rerun 1 of 2"),
        (INFO, f"PASSED tests/test_mail.py::test_{name}"),
        (INFO, "retry 1/2 succeeded"),
    ]


def _refused_call(random: Random) -> list[Message]:
    return [(ERROR, "client: GET /v1/me 401 Unauthorized (expected by the test)")]


def _nearly_expired(random: Random) -> list[Message]:
    return [(WARN, f"certificate of *.example.net expires in {random.randrange(2, 29)} days")]


HERRINGS = (
    _cured_timeout,
    _cured_disk,
    _tls_test,
    _tls_test_name,
    _mirror,
    _lost_worker,
    _busy_port,
    _cured_test,
    _refused_call,
    _nearly_expired,
)


def lint_complaints(random: Random) -> list[Message]:
    """A step that may fail does."""
    return [
        (WARN, f"src/{random.choice(WORDS)}.ts(12,5): error TS6133: '{random.choice(WORDS)}' is never read"),
        (WARN, "lint found 1 problem"),
    ]


def aftermath(random: Random) -> list[Message]:
    """Noise after a failure: consequences, not causes."""
    noise = [
        (ERROR, "cleanup: context deadline exceeded while removing network ci_default"),
        (WARN, "artifacts: nothing matched dist/**"),
        (ERROR, "cache: not saved, no space left on device"),
        (WARN, "coverage: no report to upload"),
        (INFO, "post-job: containers stopped"),
    ]
    return random.sample(noise, random.randrange(1, 4))


# Causes: the lines, and which of them is the evidence.

Planted = tuple[list[Message], int]


@dataclass(frozen=True)
class PlantedCause:
    steps: tuple[str, ...]
    messages: Callable[[Random, Service], Planted]
    exit_code: int = 1


def _certificate(random: Random, service: Service) -> Planted:
    day = f"2026-11-{random.randrange(10, 15)}T00:00:00Z"
    return [
        (INFO, f"connecting to {random.choice(HOSTS)}:443"),
        (ERROR, f"x509: certificate has expired or is not yet valid: current time is after {day}"),
        (ERROR, "cannot go on without the index"),
    ], 1


def _disk(random: Random, service: Service) -> Planted:
    layer = f"{random.getrandbits(48):012x}"
    return [
        (INFO, f"extracting layer {layer}"),
        (ERROR, f"failed to register layer: write /var/lib/images/{layer}: no space left on device"),
    ], 1


def _memory(random: Random, service: Service) -> Planted:
    pid = random.randrange(300, 9_000)
    detail = {
        "node": "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory",
        "java": "java.lang.OutOfMemoryError: Java heap space",
    }.get(service.language, f"Out of memory: Killed process {pid} ({service.name}) total-vm:8123456kB")
    return [(INFO, "linking"), (ERROR, detail), (ERROR, "Killed")], 1


def _conflict(random: Random, service: Service) -> Planted:
    one, two = random.sample(PACKAGES, 2)
    head = f"{service.name} needs {one}>=3 but {two} {_version(random)} needs {one}<3"
    tail = {
        "python": "ERROR: ResolutionImpossible: the requirements conflict",
        "node": f"npm ERR! code ERESOLVE could not resolve {one}",
    }.get(service.language, f"version solving failed: conflicting versions of {one}")
    return [(ERROR, head), (ERROR, tail)], 1


def _checksum(random: Random, service: Service) -> Planted:
    package = random.choice(PACKAGES)
    text = {
        "node": f"npm ERR! code EINTEGRITY sha512 of {package} does not fit the lock file",
        "go": f"verifying {package}@v{_version(random)}: checksum mismatch",
    }.get(service.language, f"hash mismatch for {package}: the lock file names another sha256")
    return [(INFO, f"verifying {package}"), (ERROR, text), (ERROR, "stopped for safety")], 1


def _environment(random: Random, service: Service) -> Planted:
    name = f"{service.name.replace('-', '_').upper()}_{random.choice(('DB_URL', 'TOKEN', 'REGION'))}"
    text = random.choice(
        (
            f"environment variable {name} is not set",
            f"KeyError: '{name}'",
            f"invalid value 'stagin' for environment variable {name}",
        )
    )
    return [(INFO, f"starting {service.name}"), (ERROR, text), (INFO, "process ended")], 1


def _registry(random: Random, service: Service) -> Planted:
    host = random.choice(HOSTS)
    attempts: list[Message] = []
    for attempt in range(1, 6):
        attempts.append((ERROR, f"attempt {attempt}/5: dial tcp: lookup {host}: i/o timeout"))
        if attempt < 5:
            attempts.append((WARN, f"next attempt in {2**attempt} s"))
    return [*attempts, (ERROR, "giving up after 5 attempts")], len(attempts) - 1


def _rate_limit(random: Random, service: Service) -> Planted:
    return [
        (INFO, "pulling base image"),
        (ERROR, "toomanyrequests: You have reached your pull rate limit"),
    ], 1


def _access(random: Random, service: Service) -> Planted:
    text = random.choice(
        (
            "denied: requested access to the resource is denied",
            f"push to {HOSTS[0]}/{service.name} answered 403 Forbidden",
        )
    )
    return [(INFO, f"pushing {HOSTS[0]}/{service.name}"), (ERROR, text)], 1


def _compile(random: Random, service: Service) -> Planted:
    word = random.choice(WORDS)
    text = {
        "python": f"SyntaxError: invalid syntax in src/{word}.py, line {random.randrange(9, 400)}",
        "node": f"src/{word}.ts({random.randrange(9, 400)},5): error TS2345: wrong argument type",
        "go": f"./{word}.go:{random.randrange(9, 400)}:2: undefined: {word}Total",
        "java": f"{word.title()}.java:[{random.randrange(9, 400)},12] error: cannot find symbol",
    }[service.language]
    return [(ERROR, text), (ERROR, "1 error")], 0


def _migration(random: Random, service: Service) -> Planted:
    word = random.choice(WORDS)
    text = random.choice(
        (
            f'DuplicateColumn: column "{word}_id" of relation "{word}s" is there twice',
            f'relation "{word}s" already exists',
            f"migration 00{random.randrange(10, 99)}_{word} failed",
        )
    )
    return [(INFO, f"applying 00{random.randrange(10, 99)}_{word}"), (ERROR, text)], 1


def _port(random: Random, service: Service) -> Planted:
    port = random.choice((5432, 6379, 8080, 9092))
    text = {"node": f"Error: listen EADDRINUSE: 0.0.0.0:{port}"}.get(
        service.language, f"listen tcp 0.0.0.0:{port}: bind: address already in use"
    )
    return [(INFO, "starting the stack"), (ERROR, text), (ERROR, "the stack did not start")], 1


def _timeout(random: Random, service: Service) -> Planted:
    return [
        (INFO, f"waiting for {random.choice(WORDS)} queue to drain"),
        (INFO, "still waiting (1200 s)"),
        (INFO, "still waiting (2400 s)"),
        (ERROR, "The job exceeded the maximum execution time of 60m0s"),
    ], 3


def _failing_test(random: Random, service: Service) -> Planted:
    name = f"rounds_{random.choice(WORDS)}_to_cents"
    why = f"AssertionError: expected 1200, got {random.randrange(1_100, 1_199)}"
    line = failed_line(service.language, name, why)
    return [
        (ERROR, line),
        (INFO, why),
        (INFO, "rerunning failed tests, attempt 2/2"),
        (ERROR, line),
        (INFO, "1 failed, 412 others fine"),
    ], 3


def _flaky(random: Random, service: Service) -> Planted:
    name = f"sends_{random.choice(WORDS)}_mail"
    line = failed_line(service.language, name, "AssertionError: mailbox is empty")
    return [
        (ERROR, line),
        (INFO, "rerunning failed tests, attempt 2/3"),
        (INFO, passed_line(service.language, name)),
        (INFO, "confirming, attempt 3/3"),
        (ERROR, line),
        (INFO, "results differ between attempts on one commit"),
    ], 4


CAUSES = {
    "certificate_expired": PlantedCause(("install dependencies", "push image"), _certificate),
    "disk_full": PlantedCause(("build image",), _disk),
    "out_of_memory": PlantedCause(("compile", "build image"), _memory, exit_code=137),
    "dependency_conflict": PlantedCause(("install dependencies",), _conflict),
    "checksum_mismatch": PlantedCause(("install dependencies",), _checksum),
    "missing_environment": PlantedCause(("integration tests", "deploy preview"), _environment),
    "registry_timeout": PlantedCause(("install dependencies", "push image"), _registry),
    "pull_rate_limit": PlantedCause(("build image",), _rate_limit),
    "access_denied": PlantedCause(("push image",), _access),
    "compile_error": PlantedCause(("compile",), _compile, exit_code=2),
    "migration_failed": PlantedCause(("integration tests",), _migration),
    "port_in_use": PlantedCause(("integration tests",), _port),
    "job_timeout": PlantedCause(("integration tests", "deploy preview"), _timeout, exit_code=143),
    "test_failure": PlantedCause(("unit tests",), _failing_test),
    "flaky_test": PlantedCause(("unit tests",), _flaky),
}
