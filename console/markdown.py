"""Markdown of agents and people as HTML: one renderer, one allow-list, nothing else may make HTML of their text."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import nh3
from markdown_it import MarkdownIt

from console.text import visible

MAX_CHARACTERS = 100_000  # longer text is shown as text: nobody reads it formatted
TAGS = {
    *("p", "br", "hr", "blockquote", "pre", "code", "em", "strong", "s", "ul", "ol", "li"),
    *("h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td", "a"),
}
ATTRIBUTES = {"a": {"href", "title"}, "ol": {"start"}}
SCHEMES = {"http", "https", "mailto"}


def render_markdown(text: str) -> str:
    """Sanitised HTML. No raw HTML, no images, links to web and mail addresses only."""
    return nh3.clean(
        _parser().render(visible(text)),
        tags=TAGS,
        attributes=ATTRIBUTES,
        url_schemes=SCHEMES,
        url_relative="deny",
        link_rel="noopener noreferrer nofollow",
    )


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    parser.add_render_rule("image", _image_as_text)
    parser.add_render_rule("heading_open", _heading)
    parser.add_render_rule("heading_close", _heading)
    return parser


def _image_as_text(self: Any, tokens: list[Any], index: int, options: Any, env: Any) -> str:
    """A picture would call home: its description stands for it."""
    return nh3.clean_text(f"[image: {tokens[index].content or 'no description'}]")


def _heading(self: Any, tokens: list[Any], index: int, options: Any, env: Any) -> str:
    """Headings of a message come below the page's own."""
    token = tokens[index]
    level = min(6, int(token.tag[1]) + 2)
    return f"<h{level}>" if token.nesting == 1 else f"</h{level}>\n"
