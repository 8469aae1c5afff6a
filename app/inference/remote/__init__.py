"""Engines elsewhere (vLLM, SGLang, text-generation-inference, another core) behind the events of our own."""

from app.inference.remote.model import RemoteModel

__all__ = ["RemoteModel"]
