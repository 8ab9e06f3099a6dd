"""What somebody may write who wants a console to act for them. Each is a text that any field may hold."""

from __future__ import annotations

from agents.models import Event, Session
from tests import factories

PAYLOADS = (
    "<script>window.pwned=1</script>",
    "</script><script>window.pwned=1</script>",
    '"><script>window.pwned=1</script>',
    "'><img src=x onerror=window.pwned=1>",
    "<img src=x onerror=window.pwned=1>",
    "<svg onload=window.pwned=1>",
    "<svg><script>window.pwned=1</script></svg>",
    "<math><mtext><script>window.pwned=1</script></mtext></math>",
    '<iframe srcdoc="<script>parent.pwned=1</script>"></iframe>',
    "<body onload=window.pwned=1>",
    "<details open ontoggle=window.pwned=1>",
    "<input autofocus onfocus=window.pwned=1>",
    '<a href="javascript:window.pwned=1">x</a>',
    "[x](javascript:window.pwned=1)",
    "[x](JaVaScRiPt:window.pwned=1)",
    "[x](data:text/html,<script>window.pwned=1</script>)",
    "[x](vbscript:msgbox)",
    "![x](https://beacon.example/p.png)",
    '![x](x" onerror="window.pwned=1)',
    '<div hx-get="/sign-out" hx-trigger="load">x</div>',
    '<div data-hx-post="/keys" data-hx-trigger="load">x</div>',
    '<form action="/keys" method="post"><button autofocus>x</button></form>',
    '<meta http-equiv="refresh" content="0;url=https://beacon.example">',
    '<base href="https://beacon.example/">',
    '<link rel="stylesheet" href="https://beacon.example/x.css">',
    "<style>*{background:url(https://beacon.example/x)}</style>",
    "<template><script>window.pwned=1</script></template>",
    "<!--><script>window.pwned=1</script>-->",
    "<![CDATA[<script>window.pwned=1</script>]]>",
    "{{ 7|add:7 }}{% load static %}{% debug %}",
    "${7*7}#{7*7}<%= 7*7 %>",
    "\u202egnp.tpircs\u202c",
    "\u2066hidden\u2069\u200f",
    "\U000e0041\U000e0042 tagged",
    "\x1b[2J\x1b]0;owned\x07\x1b[31mred",
    "\x9b2Jcleared\x85",
    "&lt;script&gt;window.pwned=1&lt;/script&gt;",
    "&#60;script&#62;window.pwned=1&#60;/script&#62;",
    "```\n</code></pre><script>window.pwned=1</script>\n```",
    "<xmp><script>window.pwned=1</script></xmp>",
    '"; window.pwned=1; //',
    "data: x\n\nevent: row\ndata: <script>window.pwned=1</script>\n\n",
)


def hostile_events(session: Session, payload: str) -> Event:
    """One event of every kind that carries text, and one of a type nobody knows."""
    said = factories.text(payload)
    bad = {"name": payload, "input": {payload: payload, "command": payload}}
    use = factories.write_one(session, "agent.tool_use", {**bad, "evaluated_permission": "ask"})
    factories.write_one(session, "agent.tool_use", {"name": "bash", "input": {"command": payload}})
    edit = {"file_path": payload, "old_string": payload, "new_string": payload + "x"}
    factories.write_one(session, "agent.tool_use", {"name": "edit", "input": edit})
    write = {"file_path": payload, "content": payload}
    factories.write_one(session, "agent.tool_use", {"name": "write", "input": write})
    for type_, data in (
        ("user.message", {"content": said}),
        ("system.message", {"content": said}),
        ("agent.message", {"content": said}),
        ("agent.tool_result", {"tool_use_id": use.public_id, "content": said, "is_error": True}),
        ("agent.mcp_tool_use", {**bad, "mcp_server_name": payload}),
        ("agent.mcp_tool_result", {"mcp_tool_use_id": payload, "content": said}),
        ("agent.custom_tool_use", bad),
        ("user.custom_tool_result", {"custom_tool_use_id": payload, "content": said}),
        ("user.tool_confirmation", {"tool_use_id": payload, "result": "deny", "deny_message": payload}),
        ("user.define_outcome", {"description": payload, "rubric": {"type": "text", "content": payload}}),
        ("span.outcome_evaluation_end", {"result": payload, "explanation": payload}),
        ("agent.thread_message_sent", {"to_agent_name": payload, "content": said}),
        ("agent.thread_message_received", {"from_agent_name": payload, "content": said}),
        ("session.error", {"error": {"type": payload, "message": payload}}),
        ("session.updated", {"title": payload, payload: payload}),
        ("session.status_idle", {"stop_reason": {"type": payload}, "stop_details": {"explanation": payload}}),
        ("workflow_run.created", {"name": payload, "phases": [payload]}),
        ("workflow_run.error", {"error": {"message": payload}}),
        (payload[:60], {payload: payload}),
    ):
        factories.write_one(session, type_, data, private={"by": payload, "model": payload})
    factories.write_one(session, "agent.thinking", {}, private={"thinking": payload})
    document = {"type": "document", "title": payload, "source": {"type": "text", "data": payload}}
    image = {"type": "image", "source": {"type": "url", "url": payload}}
    svg = {"type": "image", "source": {"type": "base64", "media_type": "image/svg+xml", "data": payload}}
    return factories.write_one(session, "user.message", {"content": [document, image, svg, {"type": payload}]})
