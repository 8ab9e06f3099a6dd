"""The demo as `make run` starts it: real logs in, the planted causes out."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from agents.services.blobs import read_blob
from agents.services.demo import PIPELINES, SEED, create_demo
from agents.simulator.build_logs import generate
from tests.runs import log_of, wait_idle


@pytest.fixture
def private_umask() -> Iterator[None]:
    """The supervisor keeps everything it creates to itself."""
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.bwrap
def test_the_demo_finds_every_planted_cause(private_umask, workspace, local_worker):
    triage, waiting = create_demo(workspace)
    wait_idle(triage, timeout_s=90)
    wait_idle(waiting)

    assert [row.data for row in log_of(triage) if row.type == "agent.tool_result" and row.data["is_error"]] == []
    report = read_blob(triage.files.get(kind="output", filename="report.md").sha256).decode()
    logs = generate(PIPELINES, SEED)
    assert any(log.cause for log in logs) and any(log.cause is None for log in logs)
    for log in logs:
        assert log.name.rsplit("/", 1)[-1].removesuffix(".log") in report
        if log.cause is not None:
            assert log.evidence.strip() in report

    assert triage.stop_reason == {"type": "end_turn"} and triage.simulated
    assert waiting.stop_reason["type"] == "requires_action"
