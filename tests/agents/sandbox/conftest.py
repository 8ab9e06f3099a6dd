"""Sandboxes that are gone when their test is over."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agents.sandbox import client
from tests.agents.sandbox.boxes import Box

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def shared_data_dir() -> Iterator[Path]:
    yield from _data_dir()


@pytest.fixture
def data_dir() -> Iterator[Path]:
    yield from _data_dir()


def _data_dir() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="daybreak-test-"))
    yield folder
    client.stop_all(folder)
    shutil.rmtree(folder)


@pytest.fixture
def make_box(data_dir: Path) -> Callable[..., Box]:
    """New sessions in a data dir of the test's own."""

    def make(mode: str = client.BUBBLEWRAP, *, network: bool = False) -> Box:
        return Box(data_dir, f"sesn_test{next(_numbers)}", mode, network)

    return make


@pytest.fixture(scope="module")
def box(shared_data_dir: Path) -> Iterator[Box]:
    """A session in bubblewrap that the tests of a module share."""
    shared = Box(shared_data_dir, f"sesn_shared{next(_numbers)}", client.BUBBLEWRAP)
    yield shared
    client.destroy(shared.spec)


@pytest.fixture(scope="module", params=[pytest.param(client.BUBBLEWRAP, marks=pytest.mark.bwrap), client.FILES_ONLY])
def files_box(request: pytest.FixtureRequest, shared_data_dir: Path) -> Iterator[Box]:
    """The same, once in each mode: what the file tools do must not depend on it."""
    shared = Box(shared_data_dir, f"sesn_files{next(_numbers)}", request.param)
    yield shared
    client.destroy(shared.spec)
