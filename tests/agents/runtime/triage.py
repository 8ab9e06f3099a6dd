"""One agent that finds out why some builds failed: real files in, a report out, and nobody else at work."""

from __future__ import annotations

from typing import Any

from agents.models import Session
from agents.services.blobs import store_bytes
from agents.services.files import create_upload
from agents.simulator.build_logs import generate
from tests.runs import make_agent, start_session

SEED = 7
REQUEST = (
    "The logs of last night's builds are in /mnt/session/uploads. Find the cause of each failure and write a report to "
    "/mnt/session/outputs/report.md."
)


def start_triage(workspace: Any, *, pipelines: int = 4) -> Session:
    agent = make_agent(workspace, name="Triage", model="simulated/build-log-triage")
    resources = []
    for log in generate(pipelines, SEED):
        data = log.text.encode()
        name = log.name.rsplit("/", 1)[-1]
        file = create_upload(
            workspace, filename=name, mime_type="text/plain", sha256=store_bytes(data), size_bytes=len(data)
        )
        resources.append({"type": "file", "file_id": file.public_id, "mount_path": f"/{log.name}"})
    return start_session(workspace, REQUEST, agent=agent, resources=resources)
