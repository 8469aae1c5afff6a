"""What a model could not read, found before it is asked to. Pure."""

from __future__ import annotations

from app.inference.engine.admission import image_positions
from app.inference.engine.types import Sequence
from app.inference.errors import BadImage, BadRequest, ImagesNotSupported


def check_ids(sequence: Sequence, vocabulary: int) -> None:
    """Raise BadRequest for a prompt that no model can read: the device would not survive it."""
    if not sequence.prompt_ids:
        raise BadRequest("The prompt is empty.", param="prompt")
    if not 0 <= min(sequence.prompt_ids) <= max(sequence.prompt_ids) < vocabulary:
        raise BadRequest(f"The prompt has token ids outside of 0 to {vocabulary - 1}.", param="prompt")


def check_pictures(sequence: Sequence, image_token: int | None) -> None:
    """Raise BadRequest unless there are image tokens for every picture, and pictures for every image token."""
    pictures = 0 if sequence.pixels is None else len(sequence.pixels)
    if image_token is None:
        if pictures:
            raise ImagesNotSupported("This model reads text alone.", param="messages")
        return
    tokens = len(image_positions(sequence, image_token))
    if bool(tokens) != bool(pictures) or (pictures and tokens % pictures):
        raise BadImage(f"The prompt has {tokens} image tokens for {pictures} pictures.", param="messages")
