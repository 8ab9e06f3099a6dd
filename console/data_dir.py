"""The folder where one Daybreak keeps everything it owns. Free of Django, so that anything can use it."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MIN_SECRET_LENGTH = 50


class DataDirError(Exception):
    """The data directory cannot be used; the message says what to do."""


def default_data_dir() -> Path:
    """`DAYBREAK_DATA_DIR`, or `var/` beside the code."""
    chosen = os.environ.get("DAYBREAK_DATA_DIR", "").strip()
    return Path(chosen).expanduser().absolute() if chosen else ROOT / "var"


def ensure_data_dir(path: Path | str) -> Path:
    """Create the folder for its owner only, or check that an existing one can be used."""
    folder = Path(path).expanduser().absolute()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as exc:
        raise DataDirError(f"The data directory {folder} is not a directory. Choose another with --data-dir.") from exc
    except OSError as exc:
        raise DataDirError(
            f"The data directory {folder} cannot be created ({exc.strerror}). "
            "Choose another with --data-dir or change its permissions."
        ) from exc
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise DataDirError(
            f"The data directory {folder} cannot be read and written by this user. "
            "Choose another with --data-dir or change its permissions."
        )
    return folder


def secret_key(path: Path | str) -> str:
    """The installation's signing key, made on first use and readable by its owner only."""
    file = ensure_data_dir(path) / "secret_key"
    try:
        return _read_secret(file)
    except FileNotFoundError:
        pass
    except OSError as exc:
        raise DataDirError(f"The file {file} cannot be read ({exc.strerror}).") from exc
    draft = file.with_name(f"secret_key.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as handle:
            handle.write(secrets.token_urlsafe(64))
            handle.flush()
            os.fsync(handle.fileno())
        try:
            os.link(draft, file)  # fails when another process was first: then theirs counts
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    except OSError as exc:
        raise DataDirError(f"The file {file} cannot be written ({exc.strerror}).") from exc
    return _read_secret(file)


def _read_secret(file: Path) -> str:
    value = file.read_text().strip()
    if len(value) < MIN_SECRET_LENGTH:
        raise DataDirError(f"The file {file} is damaged. Delete it to get a new signing key.")
    return value
