# SPDX-License-Identifier: Apache-2.0
"""Agents that are attacked, registered once, and the one way in which every forgery must be answered."""

import pytest

from lib import agents
from lib.agents import grants
from lib.keys import KINDS
from lib.verify import is_error


@pytest.fixture(scope="session")
def victims(broker):
    """One agent for each kind of key."""
    return {kind: agents.register(broker, kind) for kind in KINDS}


@pytest.fixture
def victim(victims):
    return victims["ES256"]


@pytest.fixture
def refused():
    """refused(agent, assertion, **fields): the assertion authenticates nobody, and nothing has come of it."""

    def check(agent, assertion, **fields):
        before = grants(agent)
        is_error(agent.open(assertion=assertion, **fields), 401, "invalid_client")
        assert grants(agent) == before

    return check
