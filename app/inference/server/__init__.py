"""The core over HTTP: the protocols of OpenAI and of text-generation-inference over a Service. Knows no torch."""

from app.inference.server.app import create_app
from app.inference.server.core import Bounds
from app.inference.server.keys import AnyOf, Caller, KeyFile, Keys, OneKey
from app.inference.server.listen import Server, UnsafeAddress, bind, bind_file, url

__all__ = [
    "AnyOf",
    "Bounds",
    "Caller",
    "KeyFile",
    "Keys",
    "OneKey",
    "Server",
    "UnsafeAddress",
    "bind",
    "bind_file",
    "create_app",
    "url",
]
