"""Ports: what counts as free, and who gets which of a block."""

from __future__ import annotations

import socket
import time

import pytest

from spaces_runner.ports import PortBlock, is_free
from tests.support.apps import free_base


def test_a_port_in_time_wait_is_not_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        connection, _ = server.accept()
        connection.close()  # the end that closes first waits
        client.close()
    assert not is_free(port)
    with socket.create_server(("127.0.0.1", port)):  # SO_REUSEADDR: it is not in use
        pass


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
