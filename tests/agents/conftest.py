"""Tests of the runtime run on committed rows, with a worker of their own."""

from tests.live import *  # noqa: F403
from tests.worker import *  # noqa: F403
