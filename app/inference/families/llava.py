"""LLaVA on the flat batch: a LLaMA that is shown pictures in the place of their tokens."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor
from transformers import LlamaConfig, LlavaForConditionalGeneration

from app.inference.families.llama import LlamaDecoder


class Llava:
    """LlavaForConditionalGeneration. Its language model runs flat batches alone; the vision tower is as it was."""

    def __init__(self, model: LlavaForConditionalGeneration) -> None:
        self._model = model
        text = cast(LlamaConfig, model.config.text_config)
        self._decoder = LlamaDecoder(model.model.language_model)
        self.kv = self._decoder.kv
        self.vocabulary = int(text.vocab_size)
        self.image_token: int | None = int(model.config.image_token_id)
        self.embed = self._decoder.embed
        self.hidden = self._decoder.hidden

    def logits(self, hidden: Tensor) -> Tensor:
        return cast(Tensor, self._model.lm_head(hidden))

    def pictures(self, pixels: Tensor) -> Tensor:
        """One picture at a time: the tower's activations are large, and a chat has few pictures."""
        tower = next(self._model.model.vision_tower.parameters())
        config = self._model.config
        features = [
            self._model.get_image_features(
                pixel_values=one[None].to(tower.device, tower.dtype),
                vision_feature_layer=config.vision_feature_layer,
                vision_feature_select_strategy=config.vision_feature_select_strategy,
                return_dict=True,
            ).pooler_output[0]
            for one in pixels
        ]
        return torch.stack(features)
