"""What the tests of the core share."""

from tests.support.inference_server import address, http, scripted

__all__ = ["address", "http", "scripted"]
