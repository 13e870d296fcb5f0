# SPDX-License-Identifier: Apache-2.0
"""Attack K06, continued: every way in which a PIN can be refused or missing ends the start, and costs one try at most."""

import pytest

from lib.shim import Shim
from lib.stack import running_stack


@pytest.fixture(scope="module")
def stack():
    with running_stack() as s:
        yield s


class Start:
    """Starts of a broker beside a stack, with a PIN file, a fuse and a shim of its own."""

    def __init__(self, stack, factory, folder):
        self.stack, self.factory = stack, factory
        self.shim = Shim(folder)
        self.pin_file = folder / "pin"
        self.pin_file.touch(0o600)
        self.pin_file.write_text((stack.state_dir / "user-pin").read_text())
        fuse = folder / "fuse"
        fuse.mkdir(mode=0o700)
        self.env = {**self.shim.env(), "NEXUS_PKCS11_PIN_FILE": self.pin_file, "NEXUS_SIGNER_STATE_DIR": fuse}

    def refused(self):
        """What a start says that must fail."""
        process = self.factory(self.env, share_with=self.stack, wait=False)
        assert process.wait_exit() != 0
        return process.log()

    def accepted(self):
        self.factory(self.env, share_with=self.stack)

    def logins(self):
        return sum(1 for line in self.shim.lines() if line.startswith("C_Login "))


@pytest.fixture
def start(stack, broker_factory, tmp_path):
    return Start(stack, broker_factory, tmp_path)


@pytest.mark.parametrize("flags", ["USER_PIN_COUNT_LOW", "USER_PIN_COUNT_LOW|USER_PIN_FINAL_TRY"])
def test_token_that_warns_is_not_tried_with_a_new_pin(start, flags):
    start.shim.script(f"token-flags={flags}")
    assert "PIN" in start.refused()
    assert start.logins() == 0


def test_count_that_is_low_does_not_lock_out_a_proven_pin(start):
    start.accepted()
    start.shim.script("token-flags=USER_PIN_COUNT_LOW")
    start.accepted()


@pytest.mark.parametrize("code", ["CKR_PIN_LOCKED", "CKR_PIN_EXPIRED", "CKR_PIN_INVALID", "CKR_PIN_LEN_RANGE", "CKR_USER_PIN_NOT_INITIALIZED"])
def test_every_refusal_of_a_pin_is_final(start, code):
    start.shim.script(f"C_Login every rv={code}")
    assert code in start.refused()
    assert "PIN" in start.refused()
    assert start.logins() == 1


@pytest.mark.parametrize("content", ["", "\n", "x" * 5000])
def test_file_without_a_pin(start, content):
    start.pin_file.write_text(content)
    assert str(start.pin_file) in start.refused()
    assert start.logins() == 0


def test_file_is_missing(start):
    start.pin_file.unlink()
    assert str(start.pin_file) in start.refused()
    assert start.logins() == 0


def test_serve_without_an_active_key_names_the_command(stack, start):
    """Beside the PIN, the other thing that only an operator can mend."""
    stack.sql("UPDATE nexus.signing_keys SET state = 'retiring' WHERE state = 'active' AND alg IS NOT NULL")
    try:
        assert "nexus-broker provision" in start.refused()
    finally:
        stack.sql("UPDATE nexus.signing_keys SET state = 'active' WHERE state = 'retiring'")
    start.accepted()
