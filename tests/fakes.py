"""Stand-ins that tests share. `MessagesServer` speaks the Messages API on 127.0.0.1 as it is told to.

    with MessagesServer() as server:
        server.add(error(529, "overloaded_error", "Overloaded"))
        server.add(answer("Hello", tool_calls=[("bash", {"command": "ls"})]))
        client = anthropic.Anthropic(api_key="test", base_url=server.url)
        ...
        assert server.requests[0].body["model"] == "claude-opus-5-5"

Answers are given in the order in which they were added; without any the server answers "ok".
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SILENT_S = 30.0  # how long a hanging answer hangs; a test is over long before


@dataclass(frozen=True)
class RecordedRequest:
    path: str
    headers: dict[str, str]
    body: dict


@dataclass
class Scripted:
    """One answer. `events` are (name, data) frames; `cut_after` closes the connection after so many of them."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: dict | None = None
    events: list[tuple[str, dict]] = field(default_factory=list)
    cut_after: int | None = None
    hang_before_headers: bool = False
    hang_after: int | None = None
    delay_s: float = 0.0  # between two frames
    raw_frames: list[bytes] | None = None


def answer(
    text: str = "",
    *,
    thinking: str | None = None,
    tool_calls: list[tuple[str, dict]] | None = None,
    stop_reason: str | None = None,
    usage: dict | None = None,
    stop_details: dict | None = None,
    raw_tool_json: str | None = None,
    pieces: int = 3,
    **how,
) -> Scripted:
    """A streamed answer; `raw_tool_json` replaces the JSON of every tool call's input as it goes over the wire."""
    blocks: list[tuple[dict, list[dict]]] = []
    if thinking is not None:
        deltas = [{"type": "thinking_delta", "thinking": part} for part in _parts(thinking, pieces)]
        deltas.append({"type": "signature_delta", "signature": "sig-1"})
        blocks.append(({"type": "thinking", "thinking": "", "signature": ""}, deltas))
    for part in [text] if text else []:
        deltas = [{"type": "text_delta", "text": piece} for piece in _parts(part, pieces)]
        blocks.append(({"type": "text", "text": ""}, deltas))
    for number, (name, tool_input) in enumerate(tool_calls or []):
        start = {"type": "tool_use", "id": f"toolu_{number}", "name": name, "input": {}}
        wire = json.dumps(tool_input) if raw_tool_json is None else raw_tool_json
        deltas = [{"type": "input_json_delta", "partial_json": p} for p in _parts(wire, pieces)]
        blocks.append((start, deltas))
    reason = stop_reason or ("tool_use" if tool_calls else "end_turn")
    return Scripted(events=_frames(blocks, reason, usage or {}, stop_details), **how)


def blocks_answer(blocks: list[tuple[dict, list[dict]]], stop_reason: str = "end_turn") -> Scripted:
    """A streamed answer of any blocks: (content_block, deltas)."""
    return Scripted(events=_frames(blocks, stop_reason, {}, None))


def error(status: int, type: str, message: str, *, headers: dict[str, str] | None = None) -> Scripted:
    body = {"type": "error", "error": {"type": type, "message": message}, "request_id": "req_test"}
    return Scripted(status=status, headers=headers or {}, body=body)


def error_in_stream(type: str, message: str) -> Scripted:
    """A stream that begins well and then says that it failed."""
    scripted = answer("never finished")
    body = {"type": "error", "error": {"type": type, "message": message}}
    scripted.events = [*scripted.events[:3], ("error", body)]
    return scripted


def hanging() -> Scripted:
    """Nothing at all comes back, not even headers."""
    return Scripted(hang_before_headers=True)


def _frames(
    blocks: list[tuple[dict, list[dict]]],
    stop_reason: str,
    usage: dict,
    stop_details: dict | None,
) -> list[tuple[str, dict]]:
    counts = {"input_tokens": 10, "output_tokens": 1, **usage}
    message = {
        "id": "msg_test",
        "type": "message",
        "role": "assistant",
        "model": "test",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": counts,
    }
    frames: list[tuple[str, dict]] = [("message_start", {"message": message})]
    for index, (block, deltas) in enumerate(blocks):
        frames.append(("content_block_start", {"index": index, "content_block": block}))
        frames += [("content_block_delta", {"index": index, "delta": delta}) for delta in deltas]
        frames.append(("content_block_stop", {"index": index}))
    end = {"stop_reason": stop_reason, "stop_sequence": None, "stop_details": stop_details}
    output = {"output_tokens": usage.get("output_tokens", 7)}
    frames.append(("message_delta", {"delta": end, "usage": output}))
    frames.append(("message_stop", {}))
    return [(name, {"type": name, **data}) for name, data in frames]


def _parts(text: str, count: int) -> list[str]:
    size = max(1, -(-len(text) // count))
    return [text[start : start + size] for start in range(0, len(text), size)]


class MessagesServer:
    """Runs in a thread from `start()` (or `with`) until `stop()`. Safe to use from several threads."""

    def __init__(self) -> None:
        self.requests: list[RecordedRequest] = []
        self.disconnected = threading.Event()  # a client hung up while it was being answered
        self.connections = 0
        self._scripted: list[Scripted] = []
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._arrived = threading.Condition(self._lock)
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def add(self, *scripted: Scripted) -> None:
        with self._lock:
            self._scripted += scripted

    def wait_for_requests(self, count: int, timeout_s: float = 10.0) -> None:
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self.requests) >= count, timeout_s):
                raise AssertionError(f"{len(self.requests)} requests came, not {count}.")

    def start(self) -> MessagesServer:
        self._thread.start()
        return self

    def stop(self) -> None:
        self._stopping.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(5)

    def __enter__(self) -> MessagesServer:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def _next(self, recorded: RecordedRequest) -> Scripted:
        with self._arrived:
            self.requests.append(recorded)
            self._arrived.notify_all()
            return self._scripted.pop(0) if self._scripted else answer("ok")


def _handler(server: MessagesServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            with server._lock:
                server.connections += 1

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))))
            headers = {name.lower(): value for name, value in self.headers.items()}
            scripted = server._next(RecordedRequest(self.path, headers, body))
            try:
                self._answer(scripted)
            except (BrokenPipeError, ConnectionResetError):
                self._hung_up()

        def _answer(self, scripted: Scripted) -> None:
            if scripted.hang_before_headers:
                return self._hang()
            if scripted.body is not None:
                return self._send_json(scripted)
            self.send_response(scripted.status)
            for name, value in {"content-type": "text/event-stream", **scripted.headers}.items():
                self.send_header(name, value)
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            frames = scripted.raw_frames or [
                f"event: {name}\ndata: {json.dumps(data)}\n\n".encode() for name, data in scripted.events
            ]
            for number, frame in enumerate(frames):
                if number == scripted.cut_after:
                    self.close_connection = True
                    return None
                if number == scripted.hang_after:
                    return self._hang()
                self.wfile.write(b"%x\r\n%b\r\n" % (len(frame), frame))
                self.wfile.flush()
                if scripted.delay_s:
                    time.sleep(scripted.delay_s)
            self.wfile.write(b"0\r\n\r\n")
            return None

        def _send_json(self, scripted: Scripted) -> None:
            data = json.dumps(scripted.body).encode()
            self.send_response(scripted.status)
            headers = {"content-type": "application/json", **scripted.headers}
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _hang(self) -> None:
            """Say nothing until the client hangs up or the server stops."""
            self.close_connection = True
            self.connection.settimeout(0.05)
            deadline = time.monotonic() + SILENT_S
            while not server._stopping.is_set() and time.monotonic() < deadline:
                try:
                    if not self.connection.recv(1):
                        return self._hung_up()
                except TimeoutError:
                    continue
                except OSError:
                    return self._hung_up()
            return None

        def _hung_up(self) -> None:
            self.close_connection = True
            server.disconnected.set()

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler
