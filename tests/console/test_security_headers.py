"""No other site may load what we answer."""

from __future__ import annotations

from django.http import HttpResponse

from console.security_headers import HEADERS, SecurityHeadersMiddleware


def test_every_answer_gets_them(rf):
    answer = SecurityHeadersMiddleware(lambda request: HttpResponse("x"))(rf.get("/"))
    assert {name: answer[name] for name in HEADERS} == HEADERS
    assert answer["Cross-Origin-Resource-Policy"] == "same-origin"


def test_a_view_that_knows_better_keeps_its_own(rf):
    own = HttpResponse("x", headers={"Cross-Origin-Resource-Policy": "cross-origin"})
    answer = SecurityHeadersMiddleware(lambda request: own)(rf.get("/"))
    assert answer["Cross-Origin-Resource-Policy"] == "cross-origin"
