"""The paths a model knows (`/workspace`, `/mnt/session/...`, `/tmp`) and where they are, when there is no sandbox."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence

WORKDIR = "/workspace"
# Hosted path and the folder of the session that holds it.
FOLDERS = {
    WORKDIR: "workspace",
    "/mnt/session/uploads": "uploads",
    "/mnt/session/outputs": "outputs",
    "/tmp": "tmp",  # noqa: S108 (the sandbox's own)
}
PATH_FIELDS = ("file_path", "path")


def hosted_path(path: str) -> str:
    """A path as a model may write it, absolute and without `.` and `..`."""
    return "/" + posixpath.normpath(posixpath.join(WORKDIR, path)).lstrip("/")


class HostedPaths:
    """Translates between both, in tool input and in what a tool says.

    Args:
        pairs: hosted path and real path, both absolute and without a slash at the end; real paths are resolved.
    """

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        self._to_real = sorted(pairs, key=lambda pair: -len(pair[0]))
        self._to_hosted = {real: hosted for hosted, real in pairs}
        longest_first = sorted(self._to_hosted, key=len, reverse=True)
        alternatives = "|".join(re.escape(real) for real in longest_first)
        self._real = re.compile(f"(?:{alternatives})" + r"(?![\w.-])")

    def real(self, path: str) -> str:
        """Where a hosted path is. A path that is none of ours stays one, for the tool to refuse."""
        normal = hosted_path(path)
        for hosted, real in self._to_real:
            if normal == hosted or normal.startswith(hosted + "/"):
                return real + normal[len(hosted) :]
        return normal

    def hosted(self, real: str) -> str:
        """The hosted path of a real one."""
        for folder, hosted in self._to_hosted.items():
            if real == folder or real.startswith(folder + "/"):
                return hosted + real[len(folder) :]
        return real

    def real_input(self, tool_input: Mapping[str, object]) -> dict[str, object]:
        translated = dict(tool_input)
        for field in PATH_FIELDS:
            value = translated.get(field)
            if isinstance(value, str):
                translated[field] = self.real(value)
        return translated

    def hosted_text(self, text: str, *, line_starts_only: bool = False) -> str:
        """Real paths become hosted ones: everywhere, or only where a line begins (what glob and grep print)."""

        def replace(found: re.Match[str]) -> str:
            if line_starts_only and found.start() and text[found.start() - 1] != "\n":
                return found[0]
            return self._to_hosted[found[0]]

        return self._real.sub(replace, text)
