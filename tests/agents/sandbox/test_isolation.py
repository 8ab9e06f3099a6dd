"""What a command in the sandbox cannot see, reach or change."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from agents.sandbox import bubblewrap, client, launcher, processes
from tests.agents.sandbox.boxes import ROOT, Box

pytestmark = pytest.mark.bwrap


def test_files_of_the_host_are_invisible(box: Box, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")

    for path in (
        tmp_path,
        Path.home() / ".bashrc",
        ROOT / "agents",
        ROOT / ".git",
        ROOT / "pyproject.toml",
        "/boot",
        "/srv",
    ):
        assert box.run("bash", command=f"ls -d {path}").is_error
    assert "root:x:" not in box.bash("cat /etc/shadow 2>&1 || true")


def test_of_the_repository_only_the_executors_own_files_are_there(box: Box) -> None:
    shown = box.bash("find /run/daybreak -type f -printf '%P\\n'")

    assert sorted(shown.split()) == sorted(f"agents/sandbox/{name}" for name in bubblewrap.INSIDE)


def test_other_sessions_and_the_data_dir_are_invisible(box: Box) -> None:
    other = box.spec.data_dir / "sandboxes" / "sesn_other"
    other.mkdir(parents=True, exist_ok=True)

    assert box.run("bash", command=f"ls {box.spec.data_dir}").is_error
    assert "sesn_other" not in box.bash("find / -maxdepth 6 -name 'sesn_*' 2>/dev/null || true")


def test_secrets_of_the_workers_environment_are_nowhere(
    make_box: Callable[..., Box], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-secret-98236")
    box = make_box()
    box.run("glob", pattern="*")  # so that every kind of process runs
    shown = box.bash("env; cat /proc/*/environ 2>/dev/null | tr '\\0' '\\n'; cat /proc/*/cmdline | tr '\\0' '\\n'")

    assert "HOME=/home/agent" in shown
    assert "98236" not in shown


def test_there_is_no_network(box: Box) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        outcome = box.run("bash", command=f"exec 3<>/dev/tcp/127.0.0.1/{port}")

    assert outcome.is_error
    assert box.bash("cat /proc/net/dev | grep -c :") == "1"


def test_the_network_is_there_when_the_session_may_use_it(make_box: Callable[..., Box]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert make_box(network=True).bash(f"exec 3<>/dev/tcp/127.0.0.1/{port} && echo connected") == "connected"


def test_nothing_outside_the_sessions_folders_can_be_written(box: Box) -> None:
    for path in ("/x", "/usr/x", "/etc/x", "/etc/passwd", "/dev/x", "/run/daybreak/agents/sandbox/bash.py"):
        assert box.run("bash", command=f"echo x >>{path}").is_error, path
    (box.folder("uploads") / "given.txt").write_text("given")
    for command in ("echo x >/mnt/session/uploads/given.txt", "rm /mnt/session/uploads/given.txt"):
        assert box.run("bash", command=command).is_error
    assert box.bash("cat /mnt/session/uploads/given.txt") == "given"


def test_kernel_settings_cannot_be_written_even_by_a_worker_that_is_root(box: Box) -> None:
    for name in ("kernel/core_pattern", "vm/swappiness", "kernel/hostname"):
        assert box.run("bash", command=f"cat /proc/sys/{name} >/proc/sys/{name}").is_error, name
    # Nor through another namespace, in which the command is root again.
    outcome = box.run("bash", command="unshare -Ur sh -c 'cat /proc/sys/vm/swappiness >/proc/sys/vm/swappiness'")
    assert outcome.is_error


def test_commands_have_no_rights_on_the_host(box: Box) -> None:
    box.bash("echo mine >owned.txt")
    owner = (box.spec.root / "workspace" / "owned.txt").stat().st_uid

    assert owner == (bubblewrap.HOST_UID if os.getuid() == 0 else os.getuid())
    assert box.bash("grep NoNewPrivs /proc/self/status").split()[1] == "1"
    assert box.bash("id -un") == "agent"


def test_the_executor_cannot_be_looked_into_or_ended(box: Box) -> None:
    box.run("bash", command="kill -9 -1; for p in /proc/[0-9]*; do kill -9 ${p#/proc/}; done", thread="sthr_killer")

    assert box.bash("echo still here") == "still here"
    assert box.run("bash", command="ls /proc/[0-9]*/fd/ 2>/dev/null | grep -i sock").is_error


def test_a_module_planted_in_the_home_or_workspace_is_not_loaded_by_the_executor(make_box: Callable[..., Box]) -> None:
    box = make_box()
    planted = "open('/tmp/loaded', 'w')"
    site = f"~/.local/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    files = f"{site}/usercustomize.py agents/__init__.py json.py"
    box.bash(f'mkdir -p {site} agents && for f in {files}; do echo "{planted}" >$f; done')
    launcher.end(box.spec)

    box.run("glob", pattern="*")
    assert box.run("bash", command="ls /tmp/loaded").is_error


def test_the_sandbox_is_a_process_session_of_its_own(box: Box) -> None:
    box.bash("true")
    running = processes.find(box.spec.data_dir, box.spec.session_id)

    assert running is not None
    assert os.getsid(running.pid) != os.getsid(0)


def test_a_data_dir_with_a_long_name_works(data_dir: Path) -> None:
    long = Box(data_dir / ("d" * 120), "sesn_long", client.BUBBLEWRAP)

    assert long.bash("echo reached") == "reached"
    client.destroy(long.spec)


def test_the_repository_and_the_data_dir_are_hidden_when_they_lie_under_usr(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bubblewrap, "REPOSITORY", Path("/usr/share"))
    spec = client.SandboxSpec("sesn_usr", tmp_path / "sandboxes" / "sesn_usr", client.BUBBLEWRAP)
    bubblewrap.make_folders(spec)
    made = bubblewrap.plan(spec)
    shown = subprocess.run(
        ["bwrap", *made.arguments, "--setenv", "PATH", "/usr/bin:/usr/sbin", *made.entry, "ls", "-A", "/usr/share"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert shown.stdout == ""


def test_an_environment_made_inside_the_repository_shows_only_python(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("bin", "lib", "secrets"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(bubblewrap, "REPOSITORY", tmp_path)
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    spec = client.SandboxSpec("sesn_venv", tmp_path / "var" / "sandboxes" / "sesn_venv", client.BUBBLEWRAP)
    arguments = bubblewrap.plan(spec).arguments

    assert str(tmp_path / "bin") in arguments
    assert ["--ro-bind", str(tmp_path), str(tmp_path)] not in [arguments[at : at + 3] for at in range(len(arguments))]
    assert str(tmp_path / "secrets") not in arguments


def test_the_probe_says_what_works_here() -> None:
    assert client.probe() == client.BUBBLEWRAP
    assert client.probe_reason() == "bubblewrap and an isolated shell in it work."
    assert client.process_limit_mode() in ("cgroup", "ulimit", "watchdog")


def test_python_below_the_sandboxes_own_tmp_still_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A checkout under /tmp: the sandbox's own /tmp must not cover the interpreter."""
    folder = Path(tempfile.mkdtemp(prefix="checkout-", dir="/tmp"))
    try:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        monkeypatch.setattr(sys, "prefix", str(folder))
        monkeypatch.setattr(bubblewrap, "REPOSITORY", folder)
        spec = client.SandboxSpec("sesn_tmp", tmp_path / "sandboxes" / "sesn_tmp", client.BUBBLEWRAP)
        bubblewrap.make_folders(spec)
        made = bubblewrap.plan(spec)
        python = [str(folder / "bin" / "python"), "-I", "-S", "-c", "print('works')"]
        shown = subprocess.run(
            ["bwrap", *made.arguments, "--setenv", "PATH", "/usr/bin:/usr/sbin", *made.entry, *python],
            capture_output=True,
            text=True,
            check=True,
        )
    finally:
        shutil.rmtree(folder)

    assert shown.stdout == "works\n"
