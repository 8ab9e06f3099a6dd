"""What a session may cost: one limit that all of its threads share.

Before a request a thread reserves what the request will probably cost; when it ends, the reservation goes and what was
really spent counts. A request that does not fit beside those under way is held: its thread waits in line without a
worker until one of them ends. When as much was spent as the limit allows, whoever waits or asks is paused. All of this
happens under the lock of the session's row, so that after every commit

- a thread is held only while another has a reservation, which lets it go on when it ends;
- nobody is held once the limit is reached;
- no request has started while what was spent and reserved would have passed the limit with it, unless nothing else
  was under way: then one may always start. What it costs is known when it ends, so the last ones may end above.

A held thread is `running` and `ready`, with nothing to claim (`runnable_at` is null, unless it is being interrupted)
and something wanted (`wanted_nanousd`). One that may go on has its reservation from then, before a worker takes it.
"""

from __future__ import annotations

import re
from typing import Any

from agents.errors import Invalid
from agents.models import Session, Thread
from agents.providers import catalog
from agents.providers.base import Usage
from agents.services import hints, log_sql, status
from agents.services.log import Log
from agents.services.rosters import models_of

Wire = dict[str, Any]

CENT_NANOUSD = 10_000_000
MAX_CENTS = 10**12
AMOUNT = re.compile(r"[1-9][0-9]*")
EXPECTED_OUTPUT_TOKENS = 2_000  # of a thread that has not answered yet
ACCEPTED_AT_LIMIT = ("user.tool_confirmation", "user.tool_result", "user.custom_tool_result", "user.interrupt")

LAST_OUTPUTS = """
SELECT a.output_tokens FROM agents_step s JOIN agents_modelattempt a ON a.step_id = s.id
WHERE s.thread_id = $1 AND s.kind = 'model_request' AND s.state = 'committed' ORDER BY s.no DESC LIMIT 5
"""
IN_LINE = "r.session_id = $1 AND (r.reserved_nanousd > 0 OR r.wanted_nanousd > 0) ORDER BY r.ordinal, r.id"
PAUSED = "r.session_id = $1 AND r.phase = 'paused' AND r.status <> 'terminated' ORDER BY r.ordinal, r.id"


# Setting, changing and removing


def limit_cents(budget: Wire) -> int:
    """The limit that a budget on the wire sets. Raises Invalid for anything but whole cents above zero."""
    amount = budget["max_list_cost"]["amount"]
    if not AMOUNT.fullmatch(amount) or len(amount) > len(str(MAX_CENTS)) or int(amount) > MAX_CENTS:
        raise Invalid(
            "budget.max_list_cost.amount: give whole cents above zero as digits without leading zeros, such as "
            f'"2500" for $25.00; at most "{MAX_CENTS}".'
        )
    return int(amount)


def check_models(snapshot: Wire) -> None:
    """Refuse a budget that could not be kept: every model the session may run needs a list price."""
    for model in models_of(snapshot):
        _check_price(model)


def check_budgetable(session: Session, model: str) -> None:
    """Refuse a model without a list price in a session that has a budget."""
    if session.budget_cents is not None:
        _check_price(model)


def _check_price(model: str) -> None:
    if not catalog.lookup(model).budgetable:
        raise Invalid(
            f"budget: the model {model} has no list price, so what it costs cannot be kept within a budget "
            "(model_not_budgetable). Use another model, or give it prices in the model catalogue."
        )


def change(log: Log, budget: Wire | None) -> bool:
    """Replace or remove the session's budget. False when it was so already. `go_on` must follow."""
    session = log.session
    if budget is None:
        changed, session.budget_cents = session.budget_cents is not None, None
    else:
        cents = limit_cents(budget)
        _check_change(session, cents)
        changed, session.budget_cents = session.budget_cents != cents, cents
    if changed:
        log.touch_session("budget_cents")
    return changed


def _check_change(session: Session, cents: int) -> None:
    if session.budget_cents is None:
        raise Invalid(
            "budget: this session was created without a budget, or its budget was removed; none can be added "
            "(budget_create_only)."
        )
    if cents * CENT_NANOUSD <= session.list_cost_nanousd:
        spent = status.money(session.list_cost_nanousd)["amount"]
        raise Invalid(
            f"budget: the session has cost {spent} cents already; the new budget must be more than that "
            "(budget_not_raised)."
        )
    check_models(session.agent_snapshot)
    for snapshot in session.threads.values_list("agent_snapshot", flat=True):
        _check_price(snapshot["model"]["id"])


def go_on(log: Log) -> None:
    """Let paused and held threads ask again, after the budget was raised or removed."""
    for found in log_sql.select(Thread, PAUSED, log.session.pk, light=True):
        thread = log.own(found)
        thread.phase, thread.runnable_at = Thread.Phase.READY, log.now
        log.touch(thread, "phase", "runnable_at")
        status.set_running(log, thread)
        hints.wake(thread.pk)
    _serve_line(log)


def check_accepts(session: Session, threads: list[Thread], kinds: list[str]) -> None:
    """Refuse new work for a session whose budget is used up; what is open may still be settled."""
    paused = any(thread.phase == Thread.Phase.PAUSED for thread in threads)
    if (paused or is_used_up(session)) and not set(kinds) <= set(ACCEPTED_AT_LIMIT):
        raise Invalid(
            "The session's budget is used up. Raise or remove it to go on; until then only "
            f"{', '.join(ACCEPTED_AT_LIMIT)} are accepted."
        )


def is_paused(session: Session) -> bool:
    """Whether nothing of the session goes on before its budget is changed."""
    return session.status == Session.Status.IDLE and (session.stop_reason or {}).get("type") == "budget_reached"


def is_used_up(session: Session) -> bool:
    return session.budget_cents is not None and session.list_cost_nanousd >= session.budget_cents * CENT_NANOUSD


# Reserving and settling


def reserve(log: Log, thread: Thread, *, model: str, expected_input_tokens: int) -> bool:
    """Set aside what the thread's next request will probably cost. False when it may not start now.

    Then the thread is held (`settle` of another lets it go on), or paused when the budget is used up or the model's
    price is not known.
    """
    session = log.session
    if session.budget_cents is None:
        return True
    cost = _estimate(thread, model, expected_input_tokens)
    had_place = _leave_line(log, thread)
    reserved = sum(other.reserved_nanousd for other in _in_line(log))
    if cost is None or is_used_up(session):
        _pause(log, [thread])
    elif not cost or not reserved or _fits(session, reserved + cost):
        thread.reserved_nanousd = cost
        log.touch(thread, "reserved_nanousd")
        return True
    else:
        thread.phase, thread.runnable_at, thread.wanted_nanousd = Thread.Phase.READY, None, cost
        log.touch(thread, "phase", "runnable_at", "wanted_nanousd")
    if had_place:
        _serve_line(log)
    return False


def settle(log: Log, thread: Thread) -> None:
    """The thread's request has ended, or will not be made: who is held may go on, or is paused.

    What the request cost must have been added to the session before.
    """
    if _leave_line(log, thread):
        _serve_line(log)


def _estimate(thread: Thread, model: str, input_tokens: int) -> int | None:
    """What a request will probably cost at list price, nothing of it read from a cache; None for an unknown price."""
    outputs = [tokens for (tokens,) in log_sql.execute(LAST_OUTPUTS, [thread.pk])]
    expected = -(-sum(outputs) // len(outputs)) if outputs else EXPECTED_OUTPUT_TOKENS
    cost = catalog.cost_nanousd(model, Usage(input_tokens=input_tokens, output_tokens=expected))
    if cost == 0 and not catalog.lookup(model).is_free:
        return 1  # a reservation shows that a request is under way
    return cost


def _fits(session: Session, wanted: int) -> bool:
    """Whether as much can be spent on top of what was."""
    if session.budget_cents is None:
        return True
    return session.list_cost_nanousd + wanted <= session.budget_cents * CENT_NANOUSD


def _leave_line(log: Log, thread: Thread) -> bool:
    """Give up the thread's reservation or place in line. False when it had none."""
    if not thread.reserved_nanousd and not thread.wanted_nanousd:
        return False
    thread.reserved_nanousd = thread.wanted_nanousd = 0
    log.touch(thread, "reserved_nanousd", "wanted_nanousd")
    return True


def _in_line(log: Log) -> list[Thread]:
    """The threads that have a reservation or wait for one, as this block leaves them, in thread order."""
    found = [log.own(thread) for thread in log_sql.select(Thread, IN_LINE, log.session.pk, light=True)]
    return [thread for thread in found if thread.reserved_nanousd or thread.wanted_nanousd]


def _serve_line(log: Log) -> None:
    """Let held threads go on as far as the budget allows, one at least when no request is under way; else pause them.

    One that is being interrupted leaves the line by itself.
    """
    line = _in_line(log)
    held = [thread for thread in line if thread.wanted_nanousd and not thread.interrupt_pending]
    if is_used_up(log.session):
        _pause(log, held)
        return
    reserved = sum(thread.reserved_nanousd for thread in line)
    for thread in held:
        if not reserved or _fits(log.session, reserved + thread.wanted_nanousd):
            reserved += thread.wanted_nanousd
            thread.reserved_nanousd, thread.wanted_nanousd, thread.runnable_at = thread.wanted_nanousd, 0, log.now
            log.touch(thread, "reserved_nanousd", "wanted_nanousd", "runnable_at")
            hints.wake(thread.pk)


def _pause(log: Log, threads: list[Thread]) -> None:
    """Stop threads until the budget is changed. Order on the session's stream: each of them, usage, the session."""
    if not threads:
        return
    for thread in threads:
        _leave_line(log, thread)
        thread.phase, thread.runnable_at = Thread.Phase.PAUSED, None
        log.touch(thread, "phase", "runnable_at")
        status.set_thread_idle(log, thread, {"type": "budget_reached"})
    status.settle_session(log)
    if log.session.status != Session.Status.IDLE:
        log.append(log.primary(), "session.usage", status.usage_snapshot(log))
