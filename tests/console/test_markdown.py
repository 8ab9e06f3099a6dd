"""One sanitiser makes HTML of what agents write. Nothing gets past it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.markdown import ATTRIBUTES, TAGS, render_markdown
from tests.console.hostile import PAYLOADS
from tests.console.html import Page


def test_what_agents_format_is_formatted():
    html = render_markdown("# Title\n\n**bold** `code`\n\n- one\n- two\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n~~no~~")
    for expected in ("<h3>Title</h3>", "<strong>bold</strong>", "<code>code</code>", "<li>one</li>", "<td>1</td>"):
        assert expected in html
    assert "<s>no</s>" in html


def test_headings_stay_below_those_of_the_page():
    assert "<h6>" in render_markdown("###### deep")
    assert "<h1" not in render_markdown("# top")


@pytest.mark.parametrize("payload", PAYLOADS)
def test_hostile_text_becomes_no_element_that_acts(payload):
    page = Page(render_markdown(payload))
    for tag, attributes in page.elements:
        assert tag in TAGS
        assert set(attributes) <= ATTRIBUTES.get(tag, set()) | ({"rel"} if tag == "a" else set())
        assert attributes.get("href", "https:").lower().startswith(("http:", "https:", "mailto:"))


@given(st.text(alphabet="<>&\"'`*_[]()!#|\n -/ahxref=:javscript", max_size=200))
def test_no_mixture_of_marks_gets_an_attribute_through(text):
    page = Page(render_markdown(text))
    assert all(tag in TAGS for tag, _ in page.elements)
    assert not any(name.startswith(("on", "hx-", "style")) for _, attributes in page.elements for name in attributes)


def test_images_are_named_not_fetched():
    html = render_markdown("![a chart](https://beacon.example/x.png)")
    assert "<img" not in html
    assert "beacon.example" not in html
    assert "[image: a chart]" in html


def test_links_tell_the_other_site_nothing():
    html = render_markdown("[there](https://example.org/a)")
    assert 'rel="noopener noreferrer nofollow"' in html


def test_links_never_stay_inside():
    """A relative link in an agent's text could act on the reader's behalf."""
    assert "href" not in render_markdown("[click](/sessions/x/delete)")
