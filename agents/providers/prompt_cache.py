"""Where a request carries `cache_control` marks: a pure function of the request, so equal prefixes stay equal.

One mark ends tools and system prompt. Up to three more stand in the messages: on the newest block, and backwards from
there at most 15 blocks apart, because the vendor looks back only about 20 blocks from a mark and a turn with many
parallel tool calls is longer. Four marks is the vendor's limit.
"""

from __future__ import annotations

from typing import Any

MARK = {"cache_control": {"type": "ephemeral"}}
MAX_MARKS = 4
MAX_BLOCKS_APART = 15
UNMARKABLE = ("thinking", "redacted_thinking")

Blocks = list[dict[str, Any]]


def mark_for_cache(
    system: str, tools: list[dict[str, Any]], messages: list[dict[str, Any]]
) -> tuple[Blocks, Blocks, Blocks]:
    """System blocks, tools and messages with marks; the given ones are left as they are."""
    system_blocks: Blocks = [{"type": "text", "text": system}] if system else []
    marked_tools = [dict(tool) for tool in tools]
    left = MAX_MARKS
    if fixed := system_blocks or marked_tools:
        fixed[-1].update(MARK)
        left -= 1
    marked = [{**message, "content": _as_blocks(message.get("content"))} for message in messages]
    blocks = [block for message in marked if isinstance(message["content"], list) for block in message["content"]]
    for position in _positions(blocks, left):
        blocks[position].update(MARK)
    return system_blocks, marked_tools, marked


def _as_blocks(content: Any) -> Any:
    """Content as copies of its blocks; text that the vendor would refuse as an empty block stays as it is."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else content
    if isinstance(content, list):
        return [dict(block) if isinstance(block, dict) else block for block in content]
    return content


def _positions(blocks: Blocks, limit: int) -> list[int]:
    """From the newest block backwards: the farthest markable block that is still near enough."""
    chosen: list[int] = []
    while len(chosen) < limit:
        newest = chosen[-1] if chosen else len(blocks)
        first = 0 if not chosen else max(0, newest - MAX_BLOCKS_APART)
        order = range(first, newest) if chosen else range(newest - 1, -1, -1)
        position = next((i for i in order if _is_markable(blocks[i])), None)
        if position is None:
            break
        chosen.append(position)
    return chosen


def _is_markable(block: Any) -> bool:
    if not isinstance(block, dict) or block.get("type") in UNMARKABLE:
        return False
    return block.get("type") != "text" or bool(block.get("text"))
