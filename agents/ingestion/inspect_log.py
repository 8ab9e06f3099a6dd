"""Inspect's evaluation logs: a JSON file, or a zip archive of JSON files (`.eval`). Each sample is a session."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from zlib import error as ZlibError

from agents.ingestion import inspect_spans
from agents.ingestion.blocks import as_text
from agents.ingestion.chat_log import digest, first_line, source_file
from agents.ingestion.model import INSPECT, ImportedAnnotation, ImportedSession, ImportReport
from agents.ingestion.otlp.sessions import convert
from agents.ingestion.source import MAX_FILE_BYTES, Unreadable, open_regular, parse, read_json

SOURCE_NAME = "Inspect"
SUFFIX = ".eval"
MAX_SAMPLES = 100_000
MAX_METADATA = 512
_JUDGEMENTS = {"C": "good", "I": "failure", "1": "good", "0": "failure", "1.0": "good", "0.0": "failure"}


def looks_like(value: Any) -> bool:
    """Whether a parsed JSON value is a log, with or without its samples."""
    return (
        isinstance(value, dict) and isinstance(value.get("eval"), dict) and {"version", "status", "plan"} <= set(value)
    )


def read(paths: list[Path], report: ImportReport) -> Iterator[ImportedSession]:
    report.expected += len(paths)
    for path in paths:
        report.files += 1
        found = 0
        try:
            for header, sample in _samples(path):
                found += 1
                report.expected += found > 1
                yield _session(path, header, sample)
            if found == 0:
                report.skipped_file(path, "an evaluation log without samples")
        except Unreadable as problem:
            report.skipped_file(path, str(problem))


def _samples(path: Path) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    if path.suffix == SUFFIX:
        yield from _of_archive(path)
        return
    log = read_json(path).value
    if not looks_like(log):
        raise Unreadable("no evaluation log of Inspect")
    for sample in log.get("samples") or []:
        if isinstance(sample, dict):
            yield log, sample


def _of_archive(path: Path) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """The archive's index is at its end: a log whose run was cut off has none."""
    with open_regular(path) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                names = archive.namelist()
                header: dict[str, Any] = {}
                for name in ("_journal/start.json", "header.json"):
                    header |= _entry(archive, name) if name in names else {}
                for name in sorted(n for n in names if n.startswith("samples/") and n.endswith(".json"))[:MAX_SAMPLES]:
                    yield header, _entry(archive, name)
        except (zipfile.BadZipFile, NotImplementedError, ZlibError, EOFError, OSError, ValueError) as error:
            raise Unreadable(f"not a readable archive: {error}") from error


def _entry(archive: zipfile.ZipFile, name: str) -> dict[str, Any]:
    with archive.open(name) as entry:
        raw = entry.read(MAX_FILE_BYTES + 1)
    if len(raw) > MAX_FILE_BYTES:
        raise Unreadable(f"{name} in it is larger than {MAX_FILE_BYTES // 2**20} MiB")
    value = parse(raw).value
    if not isinstance(value, dict):
        raise Unreadable(f"{name} in it is no object")
    return value


def _session(path: Path, header: dict[str, Any], sample: dict[str, Any]) -> ImportedSession:
    run = header.get("eval") if isinstance(header.get("eval"), dict) else {}
    task = as_text(run.get("task") if run else "") or path.stem
    place = f"{as_text(sample.get('id'))}/{as_text(sample.get('epoch'))}"
    identity = as_text((run or {}).get("eval_id") or (run or {}).get("run_id") or path.stem)
    name = f"{identity}/{task}/{place}"
    told = convert(name, inspect_spans.spans_of(sample, task, name))
    metadata = {
        "task": task,
        "sample": place,
        "model": as_text((run or {}).get("model")),
        "target": as_text(sample.get("target")),
        "source_file": source_file(path),
    }
    return replace(
        told,
        external_id=name if len(name) <= 250 else digest(name),
        format=INSPECT,
        source_name=SOURCE_NAME,
        title=first_line(f"{task} {place}: {told.title}"),
        metadata={key: value[:MAX_METADATA] for key, value in metadata.items() if value},
        annotations=[_judged(annotation) for annotation in told.annotations],
        spans=(),
    )


def _judged(annotation: ImportedAnnotation) -> ImportedAnnotation:
    """Inspect's own marks for right and wrong; any other score is a note."""
    value = annotation.text.partition(":")[0].strip()
    kind = _JUDGEMENTS.get(value, "note")
    return replace(annotation, kind=kind, author=f"Inspect scorer {annotation.category or ''}".strip())  # type: ignore[arg-type]
