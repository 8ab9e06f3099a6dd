"""What a person does to a session from its page: say something, interrupt, answer, change its budget, end it."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST

from agents.errors import DaybreakError
from agents.models import Session, ToolCall
from agents.services import sessions as services
from agents.services import threads
from agents.services.events import send_events
from console.access import MemberRequest, role_required
from console.forms import BudgetForm, ConfirmationForm, MessageForm, ToolAnswerForm
from console.pages import person_name
from console.views.session import get_session, session_page

operator = role_required("operator")
ACTED = "daybreak:acted"  # what a page hears when an act went through or was refused: what it shows may be old now


@require_POST
@operator
def send_message(request: MemberRequest, session_id: str) -> HttpResponse:
    found = get_session(request, session_id)
    form = MessageForm(request.POST)
    if form.is_valid():
        event = {"type": "user.message", "content": [{"type": "text", "text": form.cleaned_data["text"]}]}
        try:
            _send(request, found, event)
        except DaybreakError as exc:
            form.add_error("text", exc.message)
        else:
            if request.htmx:
                return _message_form(request, found, MessageForm())
            return _back(found)
    if request.htmx:
        return _message_form(request, found, form, status=422)
    return session_page(request, found, form=form, status=422)


@require_POST
@operator
def interrupt(request: MemberRequest, session_id: str) -> HttpResponse:
    """Stop every thread, or the one that is named."""
    found = get_session(request, session_id)
    event: dict[str, Any] = {"type": "user.interrupt"}
    if thread := request.POST.get("thread"):
        event["session_thread_id"] = thread
    return _act(request, found, event, "The interrupt was sent.")


@require_POST
@operator
def answer(request: MemberRequest, session_id: str, event_id: str) -> HttpResponse:
    """Answer an open tool call: allow or refuse it, or give a custom tool's result by hand."""
    found = get_session(request, session_id)
    call = found.tool_calls.filter(use_event__public_id=event_id).first()
    if call is None:
        raise Http404("This session has no such tool call.")
    event = _answer_event(request, call, event_id)
    if isinstance(event, str):
        messages.error(request, event)
        return _back(found)
    return _act(request, found, event, "Your answer was sent.")


def _answer_event(request: MemberRequest, call: ToolCall, event_id: str) -> dict[str, Any] | str:
    """The event to send, or a sentence that says what is missing."""
    if call.kind == ToolCall.Kind.CUSTOM:
        result = ToolAnswerForm(request.POST)
        if not result.is_valid():
            return "Write the tool's result first."
        return {
            "type": "user.custom_tool_result",
            "custom_tool_use_id": event_id,
            "content": [{"type": "text", "text": result.cleaned_data["content"]}],
            "is_error": result.cleaned_data["is_error"],
        }
    form = ConfirmationForm(request.POST)
    if not form.is_valid():
        return "Choose whether the agent may run the tool."
    event = {"type": "user.tool_confirmation", "tool_use_id": event_id, "result": form.cleaned_data["result"]}
    if form.cleaned_data["result"] == "deny" and form.cleaned_data["deny_message"]:
        event["deny_message"] = form.cleaned_data["deny_message"]
    return event


@require_POST
@operator
def change_budget(request: MemberRequest, session_id: str) -> HttpResponse:
    """Replace or remove the session's budget. What was paused goes on by itself."""
    found = get_session(request, session_id)
    form = BudgetForm(request.POST)
    if not form.is_valid():
        messages.error(request, "Write the new budget in dollars, such as 2.50.")
        return _back(found)
    try:
        services.update_session(found, changes={"budget": form.budget()})
    except DaybreakError as exc:
        messages.error(request, exc.message)
    else:
        messages.success(request, "The budget was changed." if form.budget() else "The budget was removed.")
    return _back(found)


@require_POST
@operator
def end_thread(request: MemberRequest, session_id: str) -> HttpResponse:
    """End one agent of a team for good: its thread is archived and its place is free."""
    found = get_session(request, session_id)
    thread = found.threads.filter(public_id=request.POST.get("thread", "")).first()
    if thread is None:
        raise Http404("This session has no such agent.")
    try:
        threads.archive_thread(found, thread)
    except DaybreakError as exc:
        messages.error(request, exc.message)
    else:
        messages.success(request, f"{thread.agent_name} has ended. What it did stays readable.")
    return redirect(reverse("console:session", args=[found.public_id]) + "#team")


@require_POST
@operator
def archive(request: MemberRequest, session_id: str) -> HttpResponse:
    found = get_session(request, session_id)
    try:
        services.archive_session(found)
    except DaybreakError as exc:
        messages.error(request, exc.message)
    else:
        messages.success(request, "The session is archived. It stays readable.")
    return _back(found)


@require_POST
@operator
def delete(request: MemberRequest, session_id: str) -> HttpResponse:
    found = get_session(request, session_id)
    try:
        services.delete_session(found)
    except DaybreakError as exc:
        messages.error(request, exc.message)
        return _back(found)
    messages.success(request, f"“{found.title or found.public_id}” was deleted with its events.")
    return redirect("console:sessions")


def _send(request: MemberRequest, found: Session, event: dict[str, Any]) -> None:
    send_events(found, events=[event], by=person_name(request.user))


def _act(request: MemberRequest, found: Session, event: dict[str, Any], done: str) -> HttpResponse:
    """Send one event. Scripts see its effect on the live page; others go back to it."""
    try:
        _send(request, found, event)
    except DaybreakError as exc:
        messages.error(request, exc.message)
    else:
        messages.success(request, done)
    if request.htmx:
        response = render(request, "components/_messages.html", {})
        response["HX-Trigger"] = ACTED
        return response
    return _back(found)


def _back(found: Session) -> HttpResponse:
    return redirect(reverse("console:session", args=[found.public_id]) + "?at=end#end")


def _message_form(request: MemberRequest, found: Session, form: MessageForm, *, status: int = 200) -> HttpResponse:
    return render(request, "console/sessions/_message_form.html", {"session": found, "form": form}, status=status)
