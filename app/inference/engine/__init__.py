"""Streams tokens from a loaded model: continuous batching, adapters mixed in one batch, sampling per request."""

from app.inference.engine.engine import Engine, kv_bytes_per_token
from app.inference.engine.types import EngineEvent, EngineStats, Failed, Limits, Sequence

__all__ = ["Engine", "EngineEvent", "EngineStats", "Failed", "Limits", "Sequence", "kv_bytes_per_token"]
