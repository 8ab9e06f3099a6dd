"""The bash tool: a shell per thread that survives calls, and ends with everything it started."""

from __future__ import annotations

import pytest

from agents.errors import RequestCancelled
from agents.providers.base import Cancellation
from agents.sandbox import client
from tests.agents.sandbox.boxes import Box, host_processes, in_background, text, wait_until

pytestmark = pytest.mark.bwrap


def test_output_of_both_streams_is_returned_in_order(box: Box) -> None:
    outcome = box.run("bash", command="echo one; echo two >&2; echo three")

    assert text(outcome) == "one\ntwo\nthree"
    assert not outcome.is_error
    assert outcome.duration_ms > 0


def test_a_command_that_prints_nothing_says_so(box: Box) -> None:
    assert box.bash("true") == "(no output)"


def test_directory_variables_and_functions_last_from_call_to_call(box: Box) -> None:
    box.bash("mkdir -p sub && cd sub && export COLOUR=blue && paint() { echo painted $COLOUR; }")

    assert box.bash("pwd; paint; cd ..") == "/workspace/sub\npainted blue"


def test_each_thread_has_its_own_shell(box: Box) -> None:
    box.bash("mkdir -p left right")
    box.bash("cd left; NAME=left", thread="sthr_left")
    box.bash("cd right; NAME=right", thread="sthr_right")

    assert box.bash("pwd; echo $NAME", thread="sthr_left") == "/workspace/left\nleft"
    assert box.bash("pwd; echo $NAME", thread="sthr_right") == "/workspace/right\nright"


def test_threads_run_at_the_same_time(box: Box) -> None:
    # Each waits for a file of the other: one after another, neither could end.
    first = in_background(
        lambda: box.run("bash", thread="sthr_a", exec_id="a", command="touch a; until [ -e b ]; do sleep 0.02; done")
    )
    second = in_background(
        lambda: box.run("bash", thread="sthr_b", exec_id="b", command="touch b; until [ -e a ]; do sleep 0.02; done")
    )

    assert not first().is_error
    assert not second().is_error


def test_calls_of_one_thread_run_one_after_another(box: Box) -> None:
    slow = in_background(lambda: box.run("bash", exec_id="slow", command="touch begun; sleep 0.4; echo slow >>order"))
    wait_until((box.spec.root / "workspace" / "begun").exists)
    box.run("bash", exec_id="fast", command="echo fast >>order")
    slow()

    assert box.bash("cat order") == "slow\nfast"


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("exit_with() { return $1; }; exit_with 7", 7),
        ("false", 1),
        ("no-such-program-here", 127),
        ("kill -9 $BASHPID", 0),
    ],
)
def test_the_exit_code_is_named(box: Box, command: str, code: int) -> None:
    outcome = box.run(
        "bash", command=f"echo before; ( {command} )" if "BASHPID" in command else f"echo before; {command}"
    )

    expected = code or 137
    assert outcome.is_error
    assert text(outcome).startswith("before")
    assert text(outcome).endswith(f"[Exit code {expected}]")


def test_a_broken_quote_is_an_error_and_the_shell_goes_on(box: Box) -> None:
    outcome = box.run("bash", command="echo 'never closed")

    assert outcome.is_error
    assert "unexpected EOF" in text(outcome)
    assert box.bash("echo fine") == "fine"


def test_standard_input_is_empty(box: Box) -> None:
    assert box.bash("cat; read line; echo done") == "done"


def test_exit_is_named_and_the_next_call_opens_a_new_shell(box: Box) -> None:
    box.bash("KEPT=1", thread="sthr_exit")
    outcome = box.run("bash", command="echo leaving; exit 3", thread="sthr_exit")

    assert outcome.is_error
    assert "leaving" in text(outcome)
    assert "Exit code 3" in text(outcome)
    assert box.bash("echo new:$KEPT", thread="sthr_exit") == "new:"


def test_restart_opens_a_new_shell_and_ends_background_jobs(box: Box) -> None:
    box.bash("sleep 98231 >/dev/null 2>&1 & GONE=1", thread="sthr_restart")
    wait_until(lambda: host_processes("98231"))

    assert not box.run("bash", restart=True, thread="sthr_restart").is_error
    assert host_processes("98231") == []
    assert box.bash("echo [$GONE]", thread="sthr_restart") == "[]"


def test_a_timeout_ends_the_whole_tree_and_keeps_what_was_printed(box: Box) -> None:
    command = "echo started; sleep 98232 & (sleep 98232 & setsid nohup sleep 98232 &) ; sleep 98232"
    outcome = box.run("bash", command=command, timeout_ms=700, thread="sthr_slow")

    assert outcome.is_error
    assert text(outcome).startswith("started\n[Timed out after 0.7 s.")
    assert host_processes("98232") == []
    assert box.bash("pwd", thread="sthr_slow") == "/workspace"


def test_an_interrupt_ends_the_whole_tree(box: Box) -> None:
    cancellation = Cancellation()
    command = "sleep 98233 & bash -c 'sleep 98233 & setsid sleep 98233' & wait"
    finish = in_background(
        lambda: box.run("bash", command=command, exec_id="cut", cancellation=cancellation, thread="sthr_cut")
    )
    wait_until(lambda: len(host_processes("98233")) >= 3)
    cancellation.cancel()

    with pytest.raises(RequestCancelled):
        finish()
    assert host_processes("98233") == []
    assert box.bash("echo again", thread="sthr_cut") == "again"


def test_an_interrupted_call_that_still_waits_its_turn_never_runs(box: Box) -> None:
    cancellation = Cancellation()
    first = in_background(lambda: box.run("bash", exec_id="q1", command="touch first; sleep 0.6", thread="sthr_queue"))
    wait_until((box.spec.root / "workspace" / "first").exists)
    second = in_background(
        lambda: box.run("bash", exec_id="q2", command="touch second", thread="sthr_queue", cancellation=cancellation)
    )
    wait_until(lambda: client.lookup(box.spec, "q2") == "running")
    cancellation.cancel()

    with pytest.raises(RequestCancelled):
        second()
    assert not first().is_error
    assert "second" not in box.bash("ls", thread="sthr_queue")


def test_long_output_is_shown_by_head_and_tail_and_kept_in_a_file(box: Box) -> None:
    outcome = box.run("bash", command="seq 1 60000", exec_id="exec_long")

    shown = text(outcome)
    assert not outcome.is_error
    assert shown.startswith("1\n2\n3\n")
    assert shown.endswith("59999\n60000")
    assert len(shown) < 50_000
    assert "/tmp/tool-outputs/exec_long.txt" in shown
    assert box.bash("wc -l </tmp/tool-outputs/exec_long.txt") == "60000"
    found = box.run("grep", pattern="^31415$", path="/tmp/tool-outputs/exec_long.txt")
    assert "31415" in text(found)


def test_long_output_of_a_failing_command_still_names_the_exit_code(box: Box) -> None:
    outcome = box.run("bash", command="seq 1 60000; exit_code() { return 5; }; exit_code")

    assert outcome.is_error
    assert text(outcome).endswith("[Exit code 5]")
    assert "/tmp/tool-outputs/" in text(outcome)


def test_exactly_one_hundred_thousand_characters_are_shown_whole(box: Box) -> None:
    assert box.bash("printf 'é%.0s' $(seq 100000)") == "é" * 100_000


def test_a_background_process_is_not_waited_for_and_its_output_goes_to_a_file(box: Box) -> None:
    shown = box.bash("(sleep 0.3; echo late) & echo early", exec_id="exec_back", thread="sthr_back")

    assert shown.startswith(
        "early\n[Background processes go on; what they print goes to /tmp/tool-outputs/exec_back.txt"
    )
    assert box.bash("wait; echo waited", thread="sthr_back") == "waited"
    wait_until(lambda: (box.spec.root / "tmp/tool-outputs/exec_back.txt").read_text() == "early\nlate\n")


def test_what_a_background_process_prints_does_not_get_into_the_next_result(box: Box) -> None:
    box.bash("while :; do echo noise; sleep 0.01; done & sleep 0.05", thread="sthr_noise")

    assert box.bash("sleep 0.1; echo quiet", thread="sthr_noise") == "quiet"
    box.run("bash", restart=True, thread="sthr_noise")


def test_a_command_may_close_or_redirect_its_own_output(box: Box) -> None:
    assert box.bash("echo before; exec >redirected 2>&1; echo hidden; sleep 0.1") == "before"
    assert box.bash("cat redirected") == "hidden"


def test_shells_that_open_at_the_same_time_do_not_take_each_other_for_background_processes(box: Box) -> None:
    calls = [
        in_background(lambda name=f"sthr_many{n}": box.run("bash", command="echo mine", exec_id=name, thread=name))
        for n in range(12)
    ]

    assert {text(call()) for call in calls} == {"mine"}


def test_bytes_that_are_no_text_become_replacement_characters(box: Box) -> None:
    assert box.bash(r"printf 'a\0b\xff\xed\xa0\x80c'") == "a\ufffdb\ufffd\ufffd\ufffd\ufffdc"


def test_colours_are_left_out(box: Box) -> None:
    assert box.bash(r"printf '\033[31mred\033[0m'") == "red"


def test_writing_to_dev_stderr_does_not_cut_the_output(box: Box) -> None:
    assert box.bash("echo first; echo second >/dev/stderr; echo third | tee /dev/stderr >/dev/null") == (
        "first\nsecond\nthird"
    )


def test_ps_and_pkill_agree_with_kill(box: Box) -> None:
    if "lookup self" in text(box.run("bash", command="ps")):
        pytest.skip("The kernel refuses the shell a /proc of its own here.")
    command = "sleep 98234 >/dev/null 2>&1 & until pkill -f 98234; do sleep 0.02; done; wait $!; echo ended $?"
    shown = box.bash(command, thread="sthr_ps")

    assert "ended 143" in shown
