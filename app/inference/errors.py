"""What can go wrong in the core, and the HTTP status it answers.

    InferenceError
    ├── BadRequest            422   what was asked for cannot be meant
    │   ├── BadSampling             a sampling value out of its range
    │   ├── PromptTooLong           with both numbers
    │   ├── BadImage                bytes that are no picture, or too large a one
    │   ├── ImagesNotSupported      a picture to a model that reads text alone
    │   ├── NotSupported            part of the protocol, and not offered here
    │   ├── MalformedBody     400   not the JSON it should be
    │   └── BodyTooLarge      413   more than is read
    ├── UnknownModel          404   the known ones are listed
    ├── UnknownAdapter        404   likewise
    ├── Unauthorized          401   no token, or one that opens nothing
    ├── Forbidden             403   a key that may not do this
    ├── KeysUnreadable        503   the file of the keys is not one, or is not safe
    ├── Overloaded            429   the queue is full; `retry_after` says when to come back
    ├── ModelUnavailable      503   the model cannot be served now
    │   ├── WeightsMissing          neither the directory nor the Hub has them
    │   ├── WeightsCorrupt          they are there and cannot be read
    │   ├── WeightsMismatch         whole, but not what the catalogue takes them for
    │   └── NoRoom                  they do not fit beside what is in use
    ├── BadCatalog            503   a file of models says what cannot be meant; told before anything is served
    ├── GenerationFailed      500   this one request failed; the engine goes on
    │   ├── OutOfMemory             the device had no room for it
    │   ├── DeviceLost              the device answers nothing more; the core ends, and is started anew
    │   └── Interrupted             the model was taken away, or the core shut down (ShuttingDown), before it was done
    └── RemoteFailed          502   the engine elsewhere did not answer as it should

Each has a sentence for people, what to do next in `hint`, and, where one field of the request is at fault, its name.
A foreign exception is mapped once, where the foreign code is called, with `raise ... from`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar


class InferenceError(Exception):
    """The base. `code` is stable and meant for programs; `message` and `hint` are for people."""

    code: ClassVar[str] = "inference_error"
    status: ClassVar[int] = 500

    def __init__(self, message: str, *, hint: str = "", param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.param = param

    @property
    def sentence(self) -> str:
        """Message and hint in one."""
        return f"{self.message} {self.hint}".strip()


class BadRequest(InferenceError):
    code = "bad_request"
    status = 422


class BadSampling(BadRequest):
    code = "bad_sampling"


class PromptTooLong(BadRequest):
    code = "prompt_too_long"

    def __init__(self, prompt_tokens: int, limit: int) -> None:
        super().__init__(
            f"The prompt has {prompt_tokens} tokens; the model takes at most {limit}.",
            hint="Shorten the conversation, or start a new one.",
            param="prompt",
        )
        self.prompt_tokens = prompt_tokens
        self.limit = limit


class BadImage(BadRequest):
    code = "bad_image"


class ImagesNotSupported(BadRequest):
    code = "images_not_supported"


class NotSupported(BadRequest):
    code = "not_supported"


class MalformedBody(BadRequest):
    code = "malformed_body"
    status = 400


class BodyTooLarge(BadRequest):
    code = "body_too_large"
    status = 413

    def __init__(self, limit: int) -> None:
        super().__init__(f"The body is too large; at most {limit} bytes are read.")


class UnknownModel(InferenceError):
    code = "unknown_model"
    status = 404

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(f"There is no model {name[:80]!r} here. There are: {', '.join(known)}.", param="model")


class UnknownAdapter(InferenceError):
    code = "unknown_adapter"
    status = 404

    def __init__(self, name: str, known: Iterable[str]) -> None:
        there = ", ".join(known) or "none"
        super().__init__(f"There is no adapter {name[:80]!r} over this base. There are: {there}.", param="adapter_id")


class Unauthorized(InferenceError):
    code = "unauthorized"
    status = 401


class Forbidden(InferenceError):
    code = "forbidden"
    status = 403


class KeysUnreadable(InferenceError):
    code = "keys_unreadable"
    status = 503


class Overloaded(InferenceError):
    code = "overloaded"
    status = 429

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message, hint=f"Try again in {retry_after} s.")
        self.retry_after = retry_after  # seconds


class ModelUnavailable(InferenceError):
    code = "model_unavailable"
    status = 503


class WeightsMissing(ModelUnavailable):
    code = "weights_missing"


class WeightsCorrupt(ModelUnavailable):
    code = "weights_corrupt"


class WeightsMismatch(ModelUnavailable):
    code = "weights_mismatch"


class NoRoom(ModelUnavailable):
    code = "no_room"


class BadCatalog(InferenceError):
    code = "bad_catalog"
    status = 503


class GenerationFailed(InferenceError):
    code = "generation_failed"


class OutOfMemory(GenerationFailed):
    code = "out_of_memory"


class DeviceLost(GenerationFailed):
    code = "device_lost"

    def __init__(self, message: str) -> None:
        super().__init__(message, hint="Try again in a minute.")


class Interrupted(GenerationFailed):
    code = "interrupted"


class ShuttingDown(Interrupted):
    def __init__(self) -> None:
        super().__init__("The core is shutting down.", hint="Try again when it is back.")


class RemoteFailed(InferenceError):
    code = "remote_failed"
    status = 502
