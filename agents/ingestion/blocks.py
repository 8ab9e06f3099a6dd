"""Foreign content, in whatever shape, as content blocks of the wire. Nothing is dropped: what the wire has no
block for is kept as its JSON text."""

from __future__ import annotations

import json
import re
from typing import Any

_DATA_URL = re.compile(r"data:(?P<media_type>[\w.+-]+/[\w.+-]+);base64,(?P<data>.*)", re.DOTALL)
_TEXT_TYPES = ("text", "input_text", "output_text")


def text_block(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def as_text(value: Any) -> str:
    """A string as it is, nothing as the empty text, anything else as JSON."""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)


def as_object(value: Any) -> dict[str, Any]:
    """Tool input: the wire wants an object, so anything else is put into one."""
    return value if isinstance(value, dict) else {"value": value}


def content_blocks(content: Any) -> list[dict[str, Any]]:
    """A message's or a tool result's content: text, image and document blocks."""
    if content is None:
        return []
    return [_block(item) for item in (content if isinstance(content, list) else [content])]


def text_blocks(content: Any) -> list[dict[str, Any]]:
    """Content where the wire takes text alone."""
    return [block if block["type"] == "text" else text_block(as_text(block)) for block in content_blocks(content)]


def plain_text(content: Any) -> str:
    """The text of a message, its blocks joined."""
    return "\n".join(b["text"] for b in content_blocks(content) if b["type"] == "text")


def _block(item: Any) -> dict[str, Any]:
    if isinstance(item, str):
        return text_block(item)
    if isinstance(item, dict):
        kind = item.get("type")
        if kind in _TEXT_TYPES and isinstance(item.get("text"), str):
            return text_block(item["text"])
        converter = _CONVERTERS.get(kind) if isinstance(kind, str) else None
        if converter and (block := converter(item)):
            return block
    return text_block(as_text(item))


def _image(item: dict[str, Any]) -> dict[str, Any] | None:
    source = _source(item.get("source"), {"base64": ("media_type", "data"), "url": ("url",), "file": ("file_id",)})
    return {"type": "image", "source": source} if source else None


def _image_url(item: dict[str, Any]) -> dict[str, Any] | None:
    """OpenAI's image part: a web address, or the bytes themselves in a `data:` address."""
    image = item.get("image_url")
    url = image.get("url") if isinstance(image, dict) else image
    if not isinstance(url, str):
        return None
    if match := _DATA_URL.fullmatch(url):
        return {"type": "image", "source": {"type": "base64", **match.groupdict()}}
    return {"type": "image", "source": {"type": "url", "url": url}}


def _document(item: dict[str, Any]) -> dict[str, Any] | None:
    source = _source(
        item.get("source"),
        {
            "base64": ("media_type", "data"),
            "text": ("media_type", "data"),
            "url": ("url",),
            "file": ("file_id",),
        },
    )
    if source is None or (source["type"] == "text" and source["media_type"] != "text/plain"):
        return None
    named = {k: item[k] for k in ("title", "context") if isinstance(item.get(k), str)}
    return {"type": "document", "source": source, **named}


def _source(source: Any, fields: dict[str, tuple[str, ...]]) -> dict[str, Any] | None:
    """The source of a block, reduced to the fields the wire knows; null when it is not whole."""
    if not isinstance(source, dict) or not isinstance(source.get("type"), str):
        return None
    wanted = fields.get(source["type"])
    if wanted is None or not all(isinstance(source.get(name), str) for name in wanted):
        return None
    return {"type": source["type"], **{name: source[name] for name in wanted}}


_CONVERTERS = {"image": _image, "image_url": _image_url, "document": _document}
