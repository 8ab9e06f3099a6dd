"""Numbers, times and ids as people read them. Pure functions; the template tags only wrap them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

NANOUSD = 1_000_000_000


def count(number: int | float | None) -> str:
    """1234567 -> 1,234,567."""
    return "–" if number is None else f"{number:,.0f}"


def tokens(number: int | None) -> str:
    """Three figures and a unit: 873, 12.3 k, 1.20 M."""
    if number is None:
        return "–"
    for size, unit in ((1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")):
        if number >= size:
            value = number / size
            figures = 2 if value < 10 else 1 if value < 100 else 0
            return f"{value:.{figures}f} {unit}"
    return str(number)


def cost(nanousd: int | None) -> str:
    """Dollars with cents; below a cent, as many figures as it takes to see something."""
    if nanousd is None:
        return "–"
    dollars = nanousd / NANOUSD
    if dollars and dollars < 0.01:
        return f"${dollars:.4f}" if dollars >= 0.0001 else "< $0.0001"
    return f"${dollars:,.2f}"


def duration(seconds: float | None) -> str:
    """Two units at most: 340 ms, 2.3 s, 42 s, 2 min 14 s, 3 h 05 min, 2 d 4 h."""
    if seconds is None:
        return "–"
    seconds = max(0.0, seconds)
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = whole // 60
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    hours = minutes // 60
    return f"{hours // 24} d {hours % 24} h"


def offset(seconds: float) -> str:
    """A place on a session's clock: +0.0, +12.3, +2:14, +1:02:14."""
    seconds = max(0.0, seconds)
    if seconds < 59.95:
        return f"+{seconds:.1f}"
    whole = int(seconds)
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"+{minutes}:{rest:02d}"
    return f"+{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def age(moment: datetime, now: datetime) -> str:
    """just now, 3 min ago, 26 h ago, 4 d ago, then the date."""
    gone = now - moment
    if gone < timedelta(seconds=-60):
        return f"in {_span(-gone)}" if -gone < timedelta(days=14) else date(moment, now)
    if gone < timedelta(seconds=45):
        return "just now"
    if gone < timedelta(days=14):
        return f"{_span(gone)} ago"
    return date(moment, now)


def _span(gap: timedelta) -> str:
    minutes = max(1, round(gap.total_seconds() / 60))
    if minutes < 60:
        return f"{minutes} min"
    hours = round(minutes / 60)
    return f"{hours} h" if hours < 48 else f"{round(hours / 24)} d"


def date(moment: datetime, now: datetime) -> str:
    moment = moment.astimezone(UTC)
    return f"{moment.day} {moment:%b}" if moment.year == now.year else f"{moment.day} {moment:%b %Y}"


def exact(moment: datetime) -> str:
    moment = moment.astimezone(UTC)
    return f"{moment.day} {moment:%b %Y, %H:%M:%S} UTC"


def size(number: int) -> str:
    """Bytes in decimal units."""
    if number < 1000:
        return f"{number} bytes" if number != 1 else "1 byte"
    for unit, step in (("kB", 1e3), ("MB", 1e6), ("GB", 1e9)):
        if number < step * 1000:
            value = number / step
            return f"{value:.1f} {unit}" if value < 100 else f"{value:.0f} {unit}"
    return f"{number / 1e12:.1f} TB"


def short_id(public_id: str) -> str:
    """Prefix, and both ends of the random part: sesn_4fQz…8kWa."""
    prefix, line, rest = public_id.rpartition("_")
    if len(rest) <= 10:
        return public_id
    return f"{prefix}{line}{rest[:4]}…{rest[-4:]}"


def plural(number: int, one: str, many: str = "") -> str:
    """1 event, 2 events, 1,204 events."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"
