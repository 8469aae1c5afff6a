"""The one place where whatever goes wrong is caught: it ends one request, never the engine."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

import torch

from app.inference.errors import GenerationFailed, InferenceError, OutOfMemory

log = logging.getLogger(__name__)

T = TypeVar("T")


def guarded(do: Callable[[], T]) -> T | InferenceError:
    """What `do` returns, or what it raised as an error of ours."""
    try:
        return do()
    except InferenceError as error:
        return error
    except torch.OutOfMemoryError as error:
        torch.cuda.empty_cache()
        log.warning("Out of memory: %s", error)
        return OutOfMemory("The device has no room for this request.", hint="Try again when less is going on.")
    except Exception as error:  # the supervisor boundary: one request fails, the others go on
        log.exception("A step failed.")
        return GenerationFailed(f"The model failed on this request ({type(error).__name__}: {error}).")
