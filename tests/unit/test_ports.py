"""Ports: what counts as free, and who gets which of a block."""

from __future__ import annotations

import socket
import time

import pytest

from spaces_runner.ports import PortBlock, is_free
from tests.support.apps import free_base, left_by_a_server


def test_a_port_that_a_server_left_is_free_at_once() -> None:
    port = left_by_a_server()
    assert is_free(port)
    with socket.socket() as strict, pytest.raises(OSError, match="in use"):
        strict.bind(("127.0.0.1", port))


def test_a_port_that_a_server_listens_on_is_not_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:  # sets SO_REUSEADDR
        assert not is_free(server.getsockname()[1])


def test_a_port_that_any_address_uses_is_not_free() -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:
        assert not is_free(server.getsockname()[1])


def test_a_block_leaves_the_first_port_to_the_hubs() -> None:
    block = PortBlock(base=free_base(), size=3)
    assert block.take(7861) == block.base + 1
    assert block.take(7860) == block.base
    assert block.take(6006) == block.base + 2
    assert block.take() is None
    assert block.base in block
    assert block.base + 3 not in block


def test_a_claim_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spaces_runner.ports.CLAIM_S", 0.05)
    block = PortBlock(base=free_base(), size=1)
    assert block.take() == block.base
    assert block.take() is None
    time.sleep(0.1)
    assert block.take() == block.base
