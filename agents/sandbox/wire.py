"""The worker's end of a conversation with an executor: one request, its answers, as JSON lines."""

from __future__ import annotations

import contextlib
import json
import socket
from types import TracebackType
from typing import Any, Self


class Connection:
    """Use as a context manager. `hang_up` may come from another thread and ends a blocked `receive`."""

    def __init__(self, client: socket.socket) -> None:
        self._socket = client
        self._buffer = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def hang_up(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def send(self, message: dict[str, Any]) -> bool:
        """False when the executor is gone."""
        self._socket.settimeout(None)
        try:
            self._socket.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            return False
        return True

    def receive(self, *, timeout_s: float) -> dict[str, Any] | None:
        """The next message; None when the connection has ended. Raises TimeoutError."""
        self._socket.settimeout(timeout_s)
        while (end := self._buffer.find(b"\n")) < 0:
            try:
                data = self._socket.recv(262_144)
            except TimeoutError:
                raise
            except OSError:
                return None
            if not data:
                return None
            self._buffer += data
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        message: dict[str, Any] = json.loads(line)
        return message

    def ask(self, message: dict[str, Any], *, timeout_s: float) -> dict[str, Any] | None:
        """One question, one answer; None when the executor is gone or does not answer in time."""
        if not self.send(message):
            return None
        try:
            return self.receive(timeout_s=timeout_s)
        except TimeoutError:
            return None
