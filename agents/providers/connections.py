"""Connections to a vendor that another thread can hang up at any moment, also while the answer has not begun.

Closing a socket does not wake a thread that waits in it; shutting it down does. So every borrowed connection knows the
socket that it uses: each has an SDK client of its own with room for one TCP connection, and notes the socket when it is
opened. Only looking up a name and shaking hands cannot be interrupted; the connect timeout bounds those. Connections
are kept for the next request.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from agents.providers.base import Cancellation

if TYPE_CHECKING:
    import anthropic

MAX_IDLE = 32
KEEP_ALIVE_S = 60.0  # a tool may run between two requests


class Connection:
    """One SDK client with at most one TCP connection."""

    def __init__(self, make_client: Callable[[Callable[[Any], None]], anthropic.Anthropic]) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._in_use = False
        self._hung_up = False
        self.client = make_client(self._watch)

    def _watch(self, request: Any) -> None:
        """Called by the HTTP client before a request is sent."""
        request.extensions["trace"] = self._note

    def _note(self, event: str, info: dict[str, Any]) -> None:
        """Called by the HTTP client while it opens a connection."""
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            with self._lock:
                self._socket = info["return_value"].get_extra_info("socket")
                if self._hung_up:
                    self._shut_down()

    def begin(self) -> None:
        with self._lock:
            self._in_use, self._hung_up = True, False

    def end(self) -> None:
        """After this a late hang-up does nothing: the connection may serve another request."""
        with self._lock:
            self._in_use = False

    def hang_up(self) -> None:
        with self._lock:
            if self._in_use:
                self._hung_up = True
                self._shut_down()

    def _shut_down(self) -> None:
        if self._socket is None:
            return
        try:
            # Not the method of an SSL socket: that one may not be called while another thread reads.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
        except OSError:
            self._socket = None  # already gone


class ConnectionPool:
    def __init__(self, *, api_key: str, base_url: str | None, read_s: float, connect_s: float) -> None:
        self._api_key = api_key
        self._base_url = base_url
        self._read_s = read_s
        self._connect_s = connect_s
        self._lock = threading.Lock()
        self._idle: list[Connection] = []
        self._ssl_context: Any = None

    @contextmanager
    def borrow(self, cancellation: Cancellation) -> Iterator[Connection]:
        """A connection for one request, hung up as soon as `cancellation` fires."""
        connection = self._take()
        connection.begin()
        cancellation.on_cancel(connection.hang_up)
        try:
            yield connection
        finally:
            cancellation.forget(connection.hang_up)
            connection.end()
            self._give_back(connection)

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.client.close()

    def _take(self) -> Connection:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return Connection(self._make_client)

    def _give_back(self, connection: Connection) -> None:
        with self._lock:
            if len(self._idle) < MAX_IDLE:
                self._idle.append(connection)
                return
        connection.client.close()

    def _make_client(self, before_request: Callable[[Any], None]) -> anthropic.Anthropic:
        import anthropic
        import httpx2

        with self._lock:
            if self._ssl_context is None:
                self._ssl_context = httpx2.create_ssl_context()
        timeout = httpx2.Timeout(self._read_s, connect=self._connect_s)
        return anthropic.Anthropic(
            api_key=self._api_key,
            base_url=self._base_url,
            max_retries=0,
            timeout=timeout,
            http_client=anthropic.DefaultHttpxClient(
                timeout=timeout,
                verify=self._ssl_context,
                limits=httpx2.Limits(max_connections=1, keepalive_expiry=KEEP_ALIVE_S),
                event_hooks={"request": [before_request]},
            ),
        )
