from tests.live import *  # noqa: F403
