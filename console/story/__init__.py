"""A session's events in plain words: rows for the list, details for one event, lanes for the picture."""
