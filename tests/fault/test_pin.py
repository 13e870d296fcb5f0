# SPDX-License-Identifier: Apache-2.0
"""Attack K06: a wrong PIN is shown to the token once, whoever starts the broker again. And a PIN that is away."""

from pathlib import Path

import pytest

from lib import agents
from lib.stack import running_stack
from lib.verify import is_error
from lib.wait import kill, until


@pytest.fixture(scope="module")
def stack():
    with running_stack(with_shim=True) as s:
        yield s


def logins(stack):
    return [line for line in stack.shim.lines() if line.split()[0] == "C_Login"]


def refused(stack, broker_factory, pin_file):
    """A start with the PIN in that file, which is refused; returns what it says."""
    process = broker_factory({"NEXUS_PKCS11_PIN_FILE": pin_file}, share_with=stack, wait=False)
    assert process.wait_exit(30) not in (0, None)
    return process.log()


def test_wrong_pin_is_tried_once_in_all(stack, broker_factory, tmp_path):
    right = Path(stack.env["NEXUS_PKCS11_PIN_FILE"])
    pin_file = tmp_path / "pin"
    pin_file.touch(0o600)
    pin_file.write_text("wrong-" + right.read_text().strip())
    before = len(logins(stack))

    said = refused(stack, broker_factory, pin_file)
    assert "CKR_PIN_INCORRECT" in said and "put the right one into the PIN file" in said, said
    assert logins(stack)[before:] == ["C_Login CKR_PIN_INCORRECT"]
    for _ in range(2):
        said = refused(stack, broker_factory, pin_file)
        assert "PIN" in said and "is not started again" in said, said
        assert len(logins(stack)) == before + 1
    for line in (pin_file.read_text(), right.read_text().strip()):
        assert line not in said

    pin_file.write_text(right.read_text())
    mended = broker_factory({"NEXUS_PKCS11_PIN_FILE": pin_file}, share_with=stack)
    assert logins(stack)[before:] == ["C_Login CKR_PIN_INCORRECT", "C_Login CKR_OK"]
    assert mended.is_ready()


def test_last_try_is_left_to_a_human(stack, broker_factory):
    """A PIN that may be wrong is not worth the token: with one try left it is not shown."""
    for flags, word in (("USER_PIN_FINAL_TRY", "one last try"), ("USER_PIN_LOCKED", "locked")):
        stack.shim.script(f"token-flags={flags}")
        before = len(logins(stack))
        said = refused(stack, broker_factory, stack.env["NEXUS_PKCS11_PIN_FILE"])
        assert word in said, said
        assert len(logins(stack)) == before
        stack.shim.clear()


def test_pin_file_lost_while_serving(stack):
    """The next signer cannot start, which is an HSM that is away: 503, /ready says so, and a restart mends it."""
    agent = agents.register(stack)
    pin_file = Path(stack.env["NEXUS_PKCS11_PIN_FILE"])
    aside = pin_file.with_name("user-pin-aside")
    pin_file.rename(aside)
    try:
        kill(stack.signer_pid)
        until(lambda: "is not started again" in stack.log(), 20, "the broker gives the signer up")
        is_error(agent.open(), 503, "hsm_unavailable")
        ready = stack.call("GET", "/ready")
        assert ready.status_code == 503 and ready.json()["parts"]["hsm"] == "hsm_unavailable"
    finally:
        aside.rename(pin_file)
    stack.restart()
    assert agent.open().status_code == 201
