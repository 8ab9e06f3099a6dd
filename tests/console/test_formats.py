"""Numbers, times and ids as people read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from console import formats

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "seconds, words",
    [
        (None, "–"),
        (0, "0 ms"),
        (0.34, "340 ms"),
        (0.9996, "1.0 s"),
        (2.34, "2.3 s"),
        (9.96, "10 s"),
        (42, "42 s"),
        (59.7, "1 min 00 s"),
        (134, "2 min 14 s"),
        (11_100, "3 h 05 min"),
        (187_200, "2 d 4 h"),
        (-5, "0 ms"),
    ],
)
def test_durations_have_two_units_at_most(seconds, words):
    assert formats.duration(seconds) == words


@pytest.mark.parametrize(
    "number, words",
    [
        (None, "–"),
        (0, "0"),
        (873, "873"),
        (1_204, "1.20 k"),
        (12_340, "12.3 k"),
        (673_000, "673 k"),
        (3_780_000, "3.78 M"),
    ],
)
def test_token_counts_have_three_figures(number, words):
    assert formats.tokens(number) == words


@pytest.mark.parametrize(
    "nanousd, words",
    [
        (None, "–"),
        (0, "$0.00"),
        (1_200_000, "$0.0012"),
        (1_000, "< $0.0001"),
        (20_000_000, "$0.02"),
        (3_100_000_000, "$3.10"),
        (1_234_560_000_000, "$1,234.56"),
    ],
)
def test_costs_show_something_when_there_was_something(nanousd, words):
    assert formats.cost(nanousd) == words


@pytest.mark.parametrize(
    "gone, words",
    [
        (timedelta(seconds=10), "just now"),
        (timedelta(minutes=3), "3 min ago"),
        (timedelta(hours=26), "26 h ago"),
        (timedelta(days=4), "4 d ago"),
        (timedelta(days=40), "13 Oct"),
        (timedelta(days=400), "18 Oct 2025"),
        (timedelta(hours=-2), "in 2 h"),
    ],
)
def test_ages(gone, words):
    assert formats.age(NOW - gone, NOW) == words


@pytest.mark.parametrize(
    "seconds, words", [(0, "+0.0"), (12.34, "+12.3"), (134, "+2:14"), (3_734, "+1:02:14"), (-3, "+0.0")]
)
def test_places_on_the_clock(seconds, words):
    assert formats.offset(seconds) == words


def test_ids_keep_their_prefix_and_both_ends():
    assert formats.short_id("sesn_gCToHgw6Nng6n2SxpwS8aqAQ") == "sesn_gCTo…aqAQ"
    assert formats.short_id("short") == "short"


@pytest.mark.parametrize(
    "number, words", [(1, "1 byte"), (190, "190 bytes"), (2_500, "2.5 kB"), (345_000_000, "345 MB")]
)
def test_sizes(number, words):
    assert formats.size(number) == words


def test_plurals():
    assert formats.plural(1, "event") == "1 event"
    assert formats.plural(1_204, "event") == "1,204 events"
    assert formats.plural(2, "reply", "replies") == "2 replies"
