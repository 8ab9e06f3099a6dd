"""Style and scripts are served by the application itself, whole, and may be cached."""

from __future__ import annotations

import pytest
from django.contrib.staticfiles import finders
from django.http import HttpResponse

from console.static_files import StaticFilesMiddleware


@pytest.fixture
def serve(rf, settings, tmp_path):
    settings.STATIC_ROOT = tmp_path
    settings.WHITENOISE_USE_FINDERS = True
    middleware = StaticFilesMiddleware(lambda request: HttpResponse("not a file", status=404))
    return lambda path, **headers: middleware(rf.get(f"/static/{path}", headers=headers))


def test_a_file_is_answered_whole_and_not_as_a_stream(serve):
    answer = serve("css/app.css")
    assert not answer.streaming
    with open(finders.find("css/app.css"), "rb") as file:
        assert answer.content == file.read()
    assert answer["Content-Type"].startswith("text/css")
    assert int(answer["Content-Length"]) == len(answer.content)


def test_one_that_the_browser_has_is_not_sent_again(serve):
    first = serve("js/console.js")
    again = serve("js/console.js", **{"If-Modified-Since": first["Last-Modified"]})
    assert again.status_code == 304
    assert again.content == b""


def test_a_part_can_be_asked_for(serve):
    answer = serve("css/app.css", Range="bytes=0-9")
    assert answer.status_code == 206
    assert len(answer.content) == 10


def test_what_is_no_file_goes_on_to_the_pages(serve):
    assert serve("css/none.css").content == b"not a file"
