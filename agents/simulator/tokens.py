"""Token counts of a simulated model, estimated from characters."""

from __future__ import annotations

import json
from typing import Any

CHARS_PER_TOKEN = 4


def count_tokens(value: Any) -> int:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return -(-len(text) // CHARS_PER_TOKEN)
