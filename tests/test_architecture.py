"""Who may import whom. The arrows of the house point down, and only down."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("agents", "console", "reviews")

MAY_NOT_IMPORT = {
    "agents": ("reviews", "console"),
    "reviews": ("console",),
    "agents/models": ("django.http", "celery", "agents.services", "agents.api", "agents.runtime"),
    "agents/services": ("django.http", "agents.runtime", "agents.api"),
    "agents/runtime": ("django.http", "celery", "agents.api", "agents.tasks"),
    "agents/providers": (
        "django.http",
        "django.db",
        "celery",
        "agents.models",
        "agents.services",
        "agents.api",
        "agents.runtime",
    ),
    "agents/ingestion": ("django", "celery", "agents.models", "agents.services", "agents.api", "agents.runtime"),
    "agents/tasks.py": ("django.http", "agents.api"),
}

# The one late import the house allows: services enqueue a task, and the task's body imports what it runs.
ALLOWED = {("agents/tasks.py", "agents.runtime")}

# `anthropic` costs seconds and megabytes, so it is reached through few doors: what describes the wire, who asks a
# model, and the tools inside a sandbox. Only the last may import it when the module loads.
MAY_IMPORT_ANTHROPIC = (
    "agents/api/schemas.py",
    "agents/api/betas.py",
    "agents/api/coverage.py",
    "agents/providers/anthropic.py",
    "agents/providers/anthropic_errors.py",
    "agents/providers/connections.py",
    "agents/sandbox/",
)
START = """
import sys
import django
django.setup()
from django.urls import get_resolver
get_resolver().url_patterns
import console.celery, agents.tasks, agents.runtime.engine, agents.runtime.worker
sys.exit("anthropic" in sys.modules)
"""

# These run where Django is not: in the supervisor, in a sandbox, or for every simulated answer.
WITHOUT_DJANGO = {
    "manage.py": ("console",),
    "console/supervisor.py": ("console",),
    "console/start_checks.py": ("console",),
    "console/guard.py": (),
    "console/embedded_postgres.py": ("console",),
    "console/unprivileged.py": ("console",),
    "console/child_process.py": (),
    "console/data_dir.py": (),
    "agents/sandbox": ("agents.sandbox", "agents.providers.base", "agents.errors", "anthropic"),
    "agents/simulator": ("agents.simulator", "agents.providers.base", "agents.errors", "yaml"),
}
LATE_IMPORTS = {
    "manage.py": ("django",),  # run_django, after `up` was handled
    "console/start_checks.py": ("psycopg",),  # only when DATABASE_URL is set
}

VAGUE_NAMES = {"utils.py", "helpers.py", "util.py", "helper.py", "misc.py", "common.py"}


def python_files(where: str) -> list[Path]:
    path = ROOT / where
    files = [path] if path.is_file() else sorted(path.rglob("*.py"))
    assert files, f"{where} moved: update the rule."
    return files


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imported_names(node: ast.AST) -> Iterator[str]:
    """Every module an import statement under `node` may load, by its full name."""
    for child in ast.walk(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and child.module and not child.level:
            yield child.module
            yield from (f"{child.module}.{alias.name}" for alias in child.names)


def is_under(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("where, banned", MAY_NOT_IMPORT.items())
def test_imports_point_down(where, banned):
    wrong = [
        f"{relative(path)} -> {name}"
        for path in python_files(where)
        for name in imported_names(tree(path))
        if is_under(name, banned) and not any(relative(path) == p and is_under(name, (n,)) for p, n in ALLOWED)
    ]
    assert wrong == []


@pytest.mark.parametrize("package", PACKAGES)
def test_the_sdk_is_imported_behind_few_doors(package):
    wrong = [
        relative(path)
        for path in python_files(package)
        if any(is_under(name, ("anthropic",)) for name in imported_names(tree(path)))
        and not relative(path).startswith(MAY_IMPORT_ANTHROPIC)
    ]
    assert wrong == []


def test_web_and_worker_start_without_the_sdk():
    done = subprocess.run([sys.executable, "-c", START], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("where, allowed", WITHOUT_DJANGO.items())
def test_django_free_code_imports_the_standard_library_only(where, allowed):
    wrong = []
    for path in python_files(where):
        late = LATE_IMPORTS.get(relative(path), ())
        names = set(imported_names(tree(path))) - ({n for n in imported_names(tree(path)) if is_under(n, late)})
        names |= {name for name in imported_at_start(path) if is_under(name, late)}
        wrong += [
            f"{relative(path)} -> {name}"
            for name in sorted(names)
            if name.split(".")[0] not in sys.stdlib_module_names and not is_under(name, allowed)
        ]
    assert wrong == []


def imported_at_start(path: Path) -> set[str]:
    """Names imported when the module loads: not inside a function, and not for type checkers only."""
    names: set[str] = set()
    waiting: list[ast.AST] = [tree(path)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= set(imported_names(node))
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting += ast.iter_child_nodes(node)
    return names


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_are_absolute(package):
    wrong = [
        f"{relative(path)}:{node.lineno}"
        for path in python_files(package)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert wrong == []


def test_html_is_rendered_in_the_console_only():
    renderers = ("django.shortcuts.render", "django.template", "django_htmx")
    wrong = [
        f"{relative(path)} -> {name}"
        for package in ("agents", "reviews")
        for path in python_files(package)
        for name in imported_names(tree(path))
        if is_under(name, renderers)
    ]
    assert wrong == []


def test_files_say_what_they_hold():
    vague = [
        relative(path) for package in (*PACKAGES, "tests") for path in python_files(package) if path.name in VAGUE_NAMES
    ]
    assert vague == []


def test_no_module_reads_settings_when_it_is_imported():
    """Settings are read inside functions, so that a test or a command can change them."""
    wrong = []
    for package in PACKAGES:
        for path in python_files(package):
            if relative(path) in {"console/settings.py", "console/urls.py"} or "/migrations/" in relative(path):
                continue
            for statement in tree(path).body:
                if isinstance(statement, ast.Assign | ast.AnnAssign | ast.Expr) and any(
                    isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "settings"
                    for node in ast.walk(statement)
                ):
                    wrong.append(f"{relative(path)}:{statement.lineno}")
    assert wrong == []
