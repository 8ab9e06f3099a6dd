"""What a session may use, and what happens when it wants more."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agents.sandbox import bubblewrap, cgroups, client
from agents.sandbox.limits import GIB, Limits
from tests.agents.sandbox.boxes import Box, host_processes, text, wait_until

FORKS = (
    "import os, time, sys\n"
    "for _ in range({levels}):\n"
    "    try: os.fork()\n"
    "    except OSError: pass\n"
    "os.write(os.open('/workspace/count', os.O_WRONLY | os.O_CREAT | os.O_APPEND), b'.')\n"
    "time.sleep(30)\n"
)


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Set limits for the sandboxes started from now on."""

    def set_limits(**values: float) -> None:
        for name, value in values.items():
            monkeypatch.setenv(f"DAYBREAK_SANDBOX_{name.upper()}", str(value))

    return set_limits


@pytest.fixture
def watchdog_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine where neither `ulimit -u` nor a control group binds."""
    monkeypatch.setattr(bubblewrap, "rlimit_binds", lambda: False)
    monkeypatch.setattr(cgroups, "create", lambda *_: [])


@pytest.mark.bwrap
def test_a_process_gets_two_gibibytes_of_memory(box: Box) -> None:
    outcome = box.run("bash", command="python3 -c 'x = bytearray(3 * 2**30)'")

    assert outcome.is_error
    assert "MemoryError" in text(outcome)
    assert box.bash("ulimit -v") == str(2 * GIB // 1024)


@pytest.mark.bwrap
def test_a_session_that_uses_too_much_memory_in_all_is_ended(
    make_box: Callable[..., Box], limit: Callable[..., None], watchdog_only: None
) -> None:
    limit(memory_bytes=256 * 2**20)
    hog = "import time; x = bytearray(180 * 2**20); time.sleep(30)"
    outcome = make_box().run("bash", command=f"for i in 1 2 3; do python3 -c '{hog}' & done; wait; echo survived")

    assert outcome.is_error
    assert "more than 0.25 GiB of memory" in text(outcome)


@pytest.mark.bwrap
def test_a_fork_bomb_stays_within_the_limit(make_box: Callable[..., Box], limit: Callable[..., None]) -> None:
    if bubblewrap.process_limit_mode() == "watchdog":
        pytest.skip("Neither ulimit -u nor a control group binds on this machine.")
    limit(processes=48)
    box = make_box()
    (box.folder("workspace") / "bomb.py").write_text(FORKS.format(levels=8))
    outcome = box.run("bash", command="python3 bomb.py", timeout_ms=3000)

    assert outcome.is_error
    # How many it gets to depends on how busy the machine is; never more than the limit.
    assert 1 <= (box.spec.root / "workspace" / "count").stat().st_size <= 48
    assert host_processes("bomb.py") == []


@pytest.mark.bwrap
def test_where_the_kernel_does_not_limit_processes_the_watchdog_ends_the_shell(
    make_box: Callable[..., Box], limit: Callable[..., None], watchdog_only: None
) -> None:
    limit(processes=48)
    box = make_box()
    (box.folder("workspace") / "bomb.py").write_text(FORKS.format(levels=7))
    outcome = box.run("bash", command="python3 bomb.py", thread="sthr_bomb")

    assert outcome.is_error
    assert "more than 48 processes" in text(outcome)
    assert host_processes("bomb.py") == []
    assert box.bash("echo on", thread="sthr_bomb") == "on"


@pytest.mark.bwrap
def test_the_watchdog_spares_the_shells_of_other_threads(
    make_box: Callable[..., Box], limit: Callable[..., None], watchdog_only: None
) -> None:
    limit(processes=48)
    box = make_box()
    box.bash("KEPT=yes", thread="sthr_good")
    (box.folder("workspace") / "bomb.py").write_text(FORKS.format(levels=7))
    box.run("bash", command="python3 bomb.py", thread="sthr_bomb")

    assert box.bash("echo $KEPT", thread="sthr_good") == "yes"


@pytest.mark.bwrap
def test_a_file_cannot_grow_without_end(make_box: Callable[..., Box], limit: Callable[..., None]) -> None:
    limit(file_size_bytes=5 * 2**20)
    box = make_box()

    assert box.run("bash", command="head -c 20000000 /dev/zero >big").is_error
    assert (box.spec.root / "workspace" / "big").stat().st_size <= 5 * 2**20


@pytest.mark.bwrap
def test_endless_output_does_not_fill_the_disk(make_box: Callable[..., Box], limit: Callable[..., None]) -> None:
    limit(spill_bytes=2_000_000)
    box = make_box()
    shown = box.bash("head -c 30000000 /dev/zero | tr '\\0' x", exec_id="exec_big")

    assert "30,000,000 bytes" in shown
    assert "Its first 2,000,000 bytes: /tmp/tool-outputs/exec_big.txt" in shown
    assert (box.spec.root / "tmp/tool-outputs/exec_big.txt").stat().st_size == 2_000_000


@pytest.mark.bwrap
def test_a_full_disk_ends_what_writes_and_can_be_cleared(
    make_box: Callable[..., Box], limit: Callable[..., None]
) -> None:
    limit(disk_bytes=12 * 2**20)
    box = make_box()
    outcome = box.run("bash", command="for i in $(seq 8); do head -c 4000000 /dev/zero >f$i; done; sleep 30")

    assert outcome.is_error
    assert "disk is full" in text(outcome)
    refused = box.run("write", file_path="more.txt", content="x")
    assert refused.is_error
    assert "disk is full" in text(refused)
    box.bash("rm f*")
    assert not box.run("write", file_path="more.txt", content="x").is_error


@pytest.mark.bwrap
def test_a_background_process_cannot_fill_the_disk_between_calls(
    make_box: Callable[..., Box], limit: Callable[..., None]
) -> None:
    limit(disk_bytes=12 * 2**20)
    box = make_box()
    box.bash("(for i in $(seq 1000); do head -c 1000000 /dev/zero >f$i; sleep 0.02; done) >/dev/null 2>&1 &")
    wait_until(lambda: len(list((box.spec.root / "workspace").iterdir())) > 12)

    told = wait_until(lambda: (shown := text(box.run("bash", command="true"))) != "(no output)" and shown)
    assert "disk is full" in told


def test_too_many_files_are_refused_without_a_sandbox_too(
    make_box: Callable[..., Box], limit: Callable[..., None]
) -> None:
    limit(disk_entries=20)
    box = make_box("files_only")
    for number in range(30):
        (box.folder("workspace") / f"{number}.txt").touch()

    outcome = box.run("write", file_path="one-more.txt", content="x")
    assert outcome.is_error
    assert "more than 20 files" in text(outcome)


@pytest.mark.bwrap
def test_a_timeout_cannot_be_longer_than_the_longest(make_box: Callable[..., Box], limit: Callable[..., None]) -> None:
    limit(bash_longest_s=0.5)

    assert "Timed out after 0.5 s" in text(make_box().run("bash", command="sleep 30", timeout_ms=3_000_000))


@pytest.mark.bwrap
def test_open_files_and_core_dumps_are_limited(box: Box) -> None:
    assert box.bash("ulimit -n; ulimit -c") == "1024\n0"
    assert box.run("bash", command="ulimit -n 4096").is_error


def test_limits_come_from_the_environment_and_name_what_is_wrong() -> None:
    assert Limits.from_environment({}) == Limits()
    assert Limits.from_environment({"DAYBREAK_SANDBOX_IDLE_S": "2.5", "DAYBREAK_SANDBOX_ALIVE": "3"}) == Limits(
        idle_s=2.5, alive=3
    )
    for wrong in ("many", "0", "-1"):
        with pytest.raises(ValueError, match="DAYBREAK_SANDBOX_ALIVE must be a number above zero"):
            Limits.from_environment({"DAYBREAK_SANDBOX_ALIVE": wrong})


@pytest.mark.bwrap
def test_groups_of_ended_sandboxes_are_removed(make_box: Callable[..., Box]) -> None:
    if not cgroups.controllers():
        pytest.skip("No control group can be created on this machine.")
    box = make_box()
    box.bash("true")
    group = [path for path in cgroups.create(box.spec.data_dir, box.spec.session_id, Limits()) if path.is_dir()]
    assert group
    assert all((path / "cgroup.procs").read_text() for path in group)

    client.stop(box.spec)
    assert not any(path.is_dir() for path in group)


def test_without_control_groups_nothing_is_created(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cgroups, "controllers", lambda: ())

    assert cgroups.create(tmp_path, "sesn_1", Limits()) == []
    assert not cgroups.binds_processes()
