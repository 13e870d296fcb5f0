# SPDX-License-Identifier: Apache-2.0
"""Fixtures that every suite of real programs uses.

broker          a stack for this test process (with pytest -n 2, two side by side)
broker_factory  further broker processes on the same database and token, or with other settings
agent           registers agents
"""

import shutil
import tempfile
from pathlib import Path

import pytest

from lib import agents
from lib.broker import Process, environment_beside, program
from lib.stack import running_stack


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="also run the tests that take minutes")


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes minutes; run with --slow")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--slow"):
        return
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.skip(reason="slow; run with --slow"))


@pytest.fixture(scope="session")
def broker():
    with running_stack() as stack:
        yield stack


@pytest.fixture
def broker_factory(request):
    """broker_factory(env=None, share_with=None, wait=True): a broker process of the test's own, on the database, token
    and issuer of share_with (default: the fixture broker). An empty value in env takes a variable away."""
    started = []
    folder = Path(tempfile.mkdtemp(prefix="nexus-broker-"))

    def make(env=None, share_with=None, wait=True):
        beside = share_with or request.getfixturevalue("broker")
        settings = environment_beside(beside, env)
        process = Process(program(settings), settings, folder / f"broker-{len(started)}.log")
        started.append(process)
        if wait:
            process.wait_ready()
        return process

    try:
        yield make
    finally:
        try:
            for process in started:
                process.stop()
        finally:
            for process in started:
                if process.pid is not None:
                    process.kill()
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def agent(request):
    """agent(kind="ES256", scopes=..., broker=None, **fields): registers an agent."""

    def make(kind="ES256", broker=None, **more):
        return agents.register(broker or request.getfixturevalue("broker"), kind, **more)

    return make
