"""What a model gets to see of a tool's output: clean text, and not too much of it."""

from __future__ import annotations

import contextlib
import os
import re
import secrets

PREVIEW_CHARS = 100_000  # above this the output goes to a file (contract: tools)
HEAD_CHARS = 20_000
TAIL_CHARS = 20_000
MEMORY_BYTES = 4 * PREVIEW_CHARS  # UTF-8: more bytes than this are more characters than the preview

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


def clean(text: str) -> str:
    """NUL and lone surrogates, which neither JSON peers nor a database take, become U+FFFD."""
    return _UNSTORABLE.sub("\ufffd", text)


def is_storable(name: str) -> bool:
    """Whether a file's name is text: to the system it is bytes, and need not be UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def text_block(text: str) -> dict[str, str]:
    return {"type": "text", "text": clean(text)}


def failure(text: str) -> dict[str, object]:
    """The outcome of a call that did not work, in the executor's own form."""
    return {"content": [text_block(text)], "is_error": True}


class Output:
    """Collects one call's output: in memory while it is small, else in a file under `folder`.

    Args:
        folder: where the file goes, as this process sees it.
        shown_folder: the same folder as the model sees it.
        name: of the file, without its ending; made unique when it is taken.
    """

    def __init__(self, folder: str, *, shown_folder: str, name: str, limit_bytes: int) -> None:
        self._folder, self._shown_folder, self._name = folder, shown_folder, name
        self._limit = limit_bytes
        self._memory = bytearray()
        self._tail = bytearray()
        self._file: int | None = None
        self._path = ""
        self._broken = ""
        self._stored_bytes = 0
        self.total_bytes = 0

    def append(self, data: bytes) -> None:
        self.total_bytes += len(data)
        if self._file is None and not self._broken:
            self._memory += data
            if len(self._memory) <= MEMORY_BYTES:
                return
            data = bytes(self._memory)
            self._open()
        self._store(data)
        self._tail += data[-2 * MEMORY_BYTES :]
        del self._tail[:-MEMORY_BYTES]

    def keep_file(self) -> str:
        """Make sure the file exists, for output that is still to come; its path as the model sees it, or ""."""
        if self._file is None and not self._broken:
            self._open()
            self._store(bytes(self._memory))
            self._tail += self._memory
        return self._shown_path()

    def shown(self) -> str:
        """The text for the model: all of it, or head, tail and the path of the file that has all of it."""
        if self.total_bytes <= MEMORY_BYTES:
            whole = self._decode(bytes(self._memory))
            if len(whole) <= PREVIEW_CHARS:
                return whole
            self.keep_file()
            head, tail = whole[:HEAD_CHARS], whole[-TAIL_CHARS:]
        else:
            head = self._decode(bytes(self._memory[: 4 * HEAD_CHARS]))[:HEAD_CHARS]
            tail = self._decode(bytes(self._tail[-4 * TAIL_CHARS - 4 :]))[-TAIL_CHARS:]
        return f"{head}\n\n[… {self._explanation()} …]\n\n{tail}"

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _explanation(self) -> str:
        what = f"The output has {self.total_bytes:,} bytes; its middle is left out here."
        if self._broken:
            return f"{what} The full output could not be stored: {self._broken}."
        if self.total_bytes > self._limit:
            return f"{what} Its first {self._limit:,} bytes: {self._shown_path()}"
        return f"{what} Full output: {self._shown_path()}"

    def _shown_path(self) -> str:
        return f"{self._shown_folder}/{os.path.basename(self._path)}" if self._path else ""

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            os.makedirs(self._folder, exist_ok=True)
            for name in (self._name, f"{self._name}-{secrets.token_hex(4)}"):
                self._path = f"{self._folder}/{name}.txt"
                with contextlib.suppress(FileExistsError):
                    self._file = os.open(self._path, flags, 0o644)
                    return
            self._broken = "its file name is taken"
        except OSError as error:
            self._broken = error.strerror or "input/output error"
        self._path = ""

    def _store(self, data: bytes) -> None:
        data = data[: max(0, self._limit - self._stored_bytes)] if self._file is not None else b""
        while data and self._file is not None:
            try:
                written = os.write(self._file, data)
            except OSError as error:
                self._broken = error.strerror or "input/output error"
                self.close()
                return
            self._stored_bytes += written
            data = data[written:]

    @staticmethod
    def _decode(data: bytes) -> str:
        return _ANSI.sub("", data.decode("utf-8", errors="replace"))
