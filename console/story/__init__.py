"""A session's events in plain words: rows for the list, details for one event, lanes for the picture."""

import console.story.span_words  # noqa: F401 (as below)
import console.story.team_words  # noqa: F401 (its sentences are known as soon as any are)
