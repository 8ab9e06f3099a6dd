"""The product's settings on this test process's own database and data dir."""

from tests import database

database.choose()

from console.settings import *  # noqa: E402, F403
