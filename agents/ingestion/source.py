"""Reading foreign JSON: bounded, never raising anything but `Unreadable`, and safe to store."""

from __future__ import annotations

import json
import math
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn

import orjson

MAX_FILE_BYTES = 512 * 1024 * 1024
MAX_LINE_BYTES = 64 * 1024 * 1024
MAX_DEPTH = 200

_NOT_STORABLE = re.compile("[\x00\ud800-\udfff]")
_MAY_HOLD_LARGE_NUMBER = re.compile(rb"[:,\[\s]\d{20}")
_MAY_NEED_CLEANING = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")


class Unreadable(Exception):
    """This piece of the source cannot be read. The message says why, for a person."""


@dataclass(frozen=True)
class Parsed:
    """One JSON value. `sanitised` tells that NUL or lone surrogates in it were replaced by U+FFFD."""

    value: Any
    sanitised: bool


def clean_text(text: str) -> str:
    return _NOT_STORABLE.sub("\ufffd", text)


def parse(raw: bytes) -> Parsed:
    """Parse one JSON text, or raise `Unreadable`."""
    if _MAY_HOLD_LARGE_NUMBER.search(raw):
        value = _parse_leniently(raw)  # orjson would round it: some dumps write ids of 128 bits as numbers
    else:
        try:
            value = orjson.loads(raw)
        except orjson.JSONDecodeError:
            value = _parse_leniently(raw)
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH and _depth_exceeds(value, MAX_DEPTH):
        raise Unreadable(f"nested more than {MAX_DEPTH} levels deep")
    if _MAY_NEED_CLEANING.search(raw):
        storable = cleaned(value)
        return Parsed(storable, storable != value)
    return Parsed(value, False)


def read_json(path: Path) -> Parsed:
    """The one JSON value of a file, or raise `Unreadable`."""
    try:
        with open_regular(path) as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror or error}") from error
    if len(raw) > MAX_FILE_BYTES:
        raise Unreadable(f"larger than {MAX_FILE_BYTES // 2**20} MiB")
    return parse(raw)


def read_lines(path: Path) -> Iterator[tuple[int, Parsed | Unreadable]]:
    """The non-empty lines of a JSONL file with their numbers, each parsed or with the reason why not.

    Raises `Unreadable` when the file itself cannot be read.
    """
    with open_regular(path) as file:
        number = 0
        while raw := _read_line(file):
            number += 1
            if len(raw) > MAX_LINE_BYTES:
                yield number, Unreadable(f"longer than {MAX_LINE_BYTES // 2**20} MiB")
            elif not raw.isspace():
                try:
                    yield number, parse(raw)
                except Unreadable as problem:
                    yield number, problem


def open_regular(path: Path) -> IO[bytes]:
    """Open a regular file for reading. Devices and pipes are refused: reading one may never end."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise Unreadable("not a regular file")
        return open(path, "rb")
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror or error}") from error


def _read_line(file: IO[bytes]) -> bytes:
    """The next line. Of a line that is too long, one byte more than allowed; the rest of it is passed over."""
    try:
        raw = file.readline(MAX_LINE_BYTES + 1)
        if len(raw) > MAX_LINE_BYTES:
            rest = raw
            while rest and not rest.endswith(b"\n"):
                rest = file.readline(MAX_LINE_BYTES)
        return raw
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror or error}") from error


def _parse_leniently(raw: bytes) -> Any:
    """orjson refuses lone surrogates, which real logs contain; the standard library takes them."""
    try:
        return json.loads(raw, parse_constant=_refuse_constant, parse_float=_finite)
    except RecursionError as error:
        raise Unreadable("nested too deeply") from error
    except UnicodeDecodeError as error:
        raise Unreadable("not UTF-8 text") from error
    except json.JSONDecodeError as error:
        raise Unreadable(f"not JSON: {error.msg} at column {error.colno}") from error
    except ValueError as error:
        raise Unreadable(f"not JSON: {error}") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("a number is out of range")
    return number


def _depth_exceeds(value: Any, limit: int) -> bool:
    """Whether containers nest deeper than `limit`, found level by level: no recursion, whatever the input."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(limit):
        level = [child for parent in level for child in _containers(parent)]
        if not level:
            return False
    return True


def _containers(parent: dict[str, Any] | list[Any]) -> list[Any]:
    children = parent.values() if isinstance(parent, dict) else parent
    return [child for child in children if isinstance(child, dict | list)]


def cleaned(value: Any) -> Any:
    """A JSON value with `clean_text` over every string in it, keys included."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, list):
        return [cleaned(item) for item in value]
    if isinstance(value, dict):
        return {clean_text(key): cleaned(item) for key, item in value.items()}
    return value
