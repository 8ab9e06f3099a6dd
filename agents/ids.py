"""Public ids: a prefix as the SDK documents it, and 24 random base-58 characters (140 bits)."""

from __future__ import annotations

import secrets

ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
RANDOM_LENGTH = 24

AGENT = "agent"
ENVIRONMENT = "env"
SESSION = "sesn"
THREAD = "sthr"
EVENT = "sevt"
SESSION_RESOURCE = "sesrsc"
FILE = "file"
REQUEST = "req"
WORKSPACE = "wrkspc"
API_KEY = "apikey"
EXEC = "exec"
MESSAGE = "msg"


def new_id(prefix: str) -> str:
    """`new_id("sesn")` -> `sesn_` and 24 random characters."""
    number, digits = secrets.randbelow(len(ALPHABET) ** RANDOM_LENGTH), []
    for _ in range(RANDOM_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        digits.append(ALPHABET[digit])
    return f"{prefix}_{''.join(digits)}"
