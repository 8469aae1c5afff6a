"""What the protocol of text-generation-inference lets a caller say, and what of it is meant here. Pure.

Source: router/src/{lib,validation}.rs of text-generation-inference 3.3: the fields, their ranges, what is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from app.inference.errors import BadSampling, NotSupported
from app.inference.server import pictures
from app.inference.server.bodies import Body
from app.inference.types import Prompt, SamplingParams

MAX_NEW_TOKENS = 1024  # where a request says nothing
# Neither part goes past where the next one could begin, so that the search is linear in the text.
_PICTURE = re.compile(r"!\[(?:(?!!\[)[^\]\n])*+\]\((data:[^)\s\[]*+)\)")
_REFUSED: Mapping[str, tuple[Any, ...]] = {
    "best_of": (1,),
    "decoder_input_details": (False,),
    "frequency_penalty": (0,),
    "grammar": (),
    "top_n_tokens": (0,),
    "typical_p": (),
    "watermark": (False,),
}
Whole = Annotated[int, Field(ge=-(2**31), lt=2**31)]


class Parameters(Body):
    """Clients send every field, with null for those that mean nothing."""

    adapter_id: str | None = None
    best_of: int | None = None
    decoder_input_details: bool | None = None
    details: bool | None = None
    do_sample: bool | None = None
    frequency_penalty: float | None = None
    grammar: Any = None
    max_new_tokens: Whole | None = None
    repetition_penalty: float | None = None
    return_full_text: bool | None = None
    seed: int | None = None
    stop: list[str] | None = None
    temperature: float | None = None
    top_k: Whole | None = None
    top_n_tokens: int | None = None
    top_p: float | None = None
    truncate: Whole | None = None
    typical_p: float | None = None
    watermark: bool | None = None

    def check(self) -> None:
        """Raises NotSupported for a wish that would be passed over, BadSampling for a value TGI does not take."""
        for name, allowed in _REFUSED.items():
            value = getattr(self, name)
            if value is not None and value not in allowed:
                raise NotSupported(f"{name} is not supported here.", hint=f"Leave {name} out.", param=name)
        if self.temperature is not None and self.temperature <= 0:
            raise BadSampling("temperature must be strictly positive.", hint="Leave it out to have no sampling.")
        if self.top_p is not None and not 0 < self.top_p < 1:
            raise BadSampling("top_p must be more than 0 and less than 1.", hint="Leave it out to have all tokens.")
        if self.top_k is not None and self.top_k <= 0:
            raise BadSampling("top_k must be strictly positive.", hint="Leave it out to have all tokens.")
        if self.max_new_tokens is not None and self.max_new_tokens <= 0:
            raise BadSampling("max_new_tokens must be strictly positive.", param="max_new_tokens")
        if self.truncate is not None and self.truncate <= 0:
            raise BadSampling("truncate must be strictly positive.", param="truncate")

    @property
    def samples(self) -> bool:
        """As TGI's NextTokenChooser decides: a temperature or a cut asks for sampling, too."""
        warped = self.temperature not in (None, 1.0) or self.top_k is not None or self.top_p is not None
        return bool(self.do_sample) or warped

    def sampling(self) -> SamplingParams:
        """Raises BadSampling."""
        return SamplingParams(
            max_tokens=MAX_NEW_TOKENS if self.max_new_tokens is None else self.max_new_tokens,
            temperature=(1.0 if self.temperature is None else self.temperature) if self.samples else 0.0,
            top_p=1.0 if self.top_p is None else self.top_p,
            top_k=self.top_k or 0,
            repetition_penalty=1.0 if self.repetition_penalty is None else self.repetition_penalty,
            seed=self.seed,
            stop=tuple(self.stop or ()),
        )


class TgiRequest(Body):
    inputs: str = Field(min_length=1)
    parameters: Parameters | None = None

    @property
    def wishes(self) -> Parameters:
        return self.parameters or Parameters()

    def prompt(self, *, images: bool) -> Prompt:
        """`inputs` as they are, but for pictures: `![](data:image/png;base64,…)` is one, as in TGI.

        `images`: whether the model sees. Raises ImagesNotSupported, BadImage, BadRequest.
        """
        found = _PICTURE.findall(self.inputs)
        if not images:
            pictures.none_here(len(found), "inputs")
            return Prompt(text=self.inputs)
        pictures.no_mark(self.inputs, "inputs")
        pictures.few_enough(len(found), "inputs")
        shown = tuple(pictures.from_data_url(url, f"picture {number}") for number, url in enumerate(found, 1))
        return Prompt(text=_PICTURE.sub(pictures.MARK, self.inputs), images=shown)


class CompatRequest(TgiRequest):
    """What `/` takes, where one route is both."""

    stream: bool | None = None
