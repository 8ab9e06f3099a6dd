"""Times in which no request is made with a provider's key: it told one thread to wait, and means every user of the key.

The database's clock decides, as for leases. Who is held makes no attempt; a hold only says when the next may begin.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

from agents.models import Session, Thread
from agents.providers import catalog
from agents.services import log_sql

SPREAD_S = 0.5  # after a hold its threads begin one after another within this time
KEPT_S = 3_600  # how long a hold that is over stays in its table

HELD = "SELECT until FROM agents_providerhold WHERE key = $1 AND until > clock_timestamp()"
HOLD = """
INSERT INTO agents_providerhold (key, until) VALUES ($1, clock_timestamp() + make_interval(secs => $2::float8))
ON CONFLICT (key) DO UPDATE SET until = greatest(agents_providerhold.until, excluded.until) RETURNING until
"""
# Those that somebody else is about to change are not over.
FORGET = """
DELETE FROM agents_providerhold WHERE id IN (
    SELECT id FROM agents_providerhold WHERE until < clock_timestamp() - make_interval(secs => $1::float8)
    FOR UPDATE SKIP LOCKED
)
"""


def key_of(session: Session, model: str) -> str:
    """Whom a hold concerns: all that share a vendor's key; of a simulated model, which has none, one session."""
    account = catalog.account_of(model)
    if account is None:
        account = f"simulated:{session.pk}:{hashlib.sha256(model.encode()).hexdigest()[:16]}"
    return account


def held_until(key: str) -> datetime | None:
    """When the next request with this key may begin; None when it may now."""
    found = log_sql.execute(HELD, [key])
    return found[0][0] if found else None


def hold(key: str, seconds: float) -> datetime:
    """Let no request begin for so many seconds. A longer hold stays as it is. Returns when it ends."""
    until: datetime = log_sql.execute(HOLD, [key, float(seconds)])[0][0]
    log_sql.execute(FORGET, [float(KEPT_S)])  # last, because it never waits for a row
    return until


def turn_after(until: datetime, thread: Thread) -> datetime:
    """When this thread tries after a hold: not all at the same moment, and at the same place in line every time."""
    place = hashlib.sha256(thread.public_id.encode()).digest()[0] / 256
    return until + timedelta(seconds=SPREAD_S * place)
