"""A request to what an engine takes: pictures as pixels, text as token ids, within the context. Blocks; no state.

What is decided here:

* The prompt of a LLaMA or a LLaVA begins with its tokenizer's bos token, once. The loader leaves a tokenizer without
  one where the model was trained without; MPT has none.
* A prompt that leaves no room for an answer is an error, with both numbers. With `truncate` its beginning is dropped
  instead, as the TGI protocol says: at most `truncate` tokens are kept, and few enough that an answer has room. A bos
  token stays before them where there is room for more than one; pictures are not cut, but refused.
* The context is the model's, or what its cache holds where that is less.
* `max_tokens` is a ceiling: where the context is full before, the answer ends there, with the reason "length".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from app.inference.errors import BadRequest, ImagesNotSupported, NotSupported, PromptTooLong
from app.inference.loaded import LoadedModel
from app.inference.pool import images
from app.inference.types import Family, GenerateRequest, ModelCard, SamplingParams

if TYPE_CHECKING:
    import torch

_BEGINS_WITH_BOS = (Family.LLAMA, Family.LLAVA)


def check_sight(card: ModelCard, request: GenerateRequest) -> None:
    """Raises ImagesNotSupported for a picture to a model that reads text."""
    if request.prompt.images and card.family is not Family.LLAVA:
        raise ImagesNotSupported(f"{card.title} reads text alone; it cannot look at a picture.", param="messages")


def check_pictures(request: GenerateRequest) -> None:
    """Decode each picture, and keep none: they are large in memory. Raises BadImage."""
    for data in request.prompt.images:
        images.decode(data)


def pixels(loaded: LoadedModel, request: GenerateRequest) -> torch.Tensor | None:
    """[pictures, 3, H, W] as the model's processor makes them; None where there are none. Raises BadImage.

    Of the pictures themselves one is in memory at a time.
    """
    import torch

    if not request.prompt.images or loaded.processor is None:
        return None
    process = loaded.processor.image_processor
    return torch.cat(
        [process(images=images.decode(data), return_tensors="pt")["pixel_values"] for data in request.prompt.images]
    )


def token_ids(loaded: LoadedModel, text: str) -> tuple[int, ...]:
    """Special tokens that stand in `text` become themselves; the one that begins every text is added.

    Not verbose: the tokenizer would warn of what is longer than the context, which is looked after here.
    """
    ids: list[int] = loaded.tokenizer.encode(text, add_special_tokens=False, verbose=False)
    bos = loaded.tokenizer.bos_token_id
    if loaded.family in _BEGINS_WITH_BOS and bos is not None and ids[:1] != [bos]:
        ids = [bos, *ids]
    return tuple(ids)


def prompt_ids(loaded: LoadedModel, card: ModelCard, request: GenerateRequest, context: int) -> tuple[int, ...]:
    """The prompt with each picture's one token become as many as the picture has.

    `context`: the tokens that there is room for, prompt and answer together.
    Raises BadRequest, NotSupported, PromptTooLong.
    """
    count = len(request.prompt.images)
    ids = token_ids(loaded, request.prompt.text)
    if not ids:
        raise BadRequest("The prompt is empty.", param="prompt")
    if card.family is Family.LLAVA:
        ids = _with_pictures(loaded, ids, count)
    if request.truncate is not None:
        ids = _cut(ids, request, context, loaded.tokenizer.bos_token_id)
    if len(ids) >= context:
        raise PromptTooLong(len(ids), context - 1)
    return ids


def sampling(request: GenerateRequest, left: int) -> SamplingParams:
    """The request's, with no more tokens than are left for the answer."""
    return replace(request.sampling, max_tokens=min(request.sampling.max_tokens, left))


def stops(card: ModelCard, request: GenerateRequest) -> tuple[str, ...]:
    """The request's and the card's, which are its prompt format's or its owner's in their place; each once."""
    return tuple(dict.fromkeys((*request.sampling.stop, *card.defaults.stop)))


def _with_pictures(loaded: LoadedModel, ids: Sequence[int], count: int) -> tuple[int, ...]:
    config = loaded.model.config
    marker: int = config.image_token_id
    marked = sum(1 for one in ids if one == marker)
    if marked != count:
        raise BadRequest(f"The prompt has {marked} places for pictures, and {count} pictures came.", param="prompt")
    each = _tokens_of_a_picture(config.vision_config, config.vision_feature_select_strategy)
    return tuple(token for one in ids for token in ([marker] * each if one == marker else [one]))


def _tokens_of_a_picture(vision: object, strategy: str) -> int:
    """One for each patch; "full" keeps the tower's own summary token, too."""
    side: int = vars(vision)["image_size"] // vars(vision)["patch_size"]
    return side * side + (1 if strategy == "full" else 0)


def _cut(ids: tuple[int, ...], request: GenerateRequest, context: int, bos: int | None) -> tuple[int, ...]:
    """Its end, as `truncate` says. Raises NotSupported where pictures would have to be cut."""
    most = request.truncate or 0
    if request.prompt.images:
        if len(ids) > most:
            raise NotSupported(
                f"The prompt has {len(ids)} tokens with its pictures, and is not cut to {most}.",
                hint="Leave truncate out, or send fewer pictures.",
                param="truncate",
            )
        return ids
    answer = min(request.sampling.max_tokens, max(1, context // 4))
    keep = min(most, context - answer)
    if len(ids) <= keep:
        return ids
    first = ids[:1] if keep > 1 and ids[0] == bos else ()
    return first + ids[len(ids) - keep + len(first) :]
