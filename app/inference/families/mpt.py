"""MPT on the flat batch, by an attention module of our own in the place of transformers'.

Unlike transformers' it honours `alibi_bias_max` (16 in StoryWriter), and its length is not bound by `max_seq_len`.
"""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import MptConfig, MptForCausalLM
from transformers.models.mpt.configuration_mpt import MptAttentionConfig
from transformers.models.mpt.modeling_mpt import MptAttention

from app.inference.errors import ImagesNotSupported
from app.inference.families.base import KvShape
from app.inference.families.flat import Alibi, FlatBatch, Layer, attend


class Mpt:
    """MptForCausalLM. From here on, only flat batches run through this model."""

    image_token: int | None = None

    def __init__(self, model: MptForCausalLM) -> None:
        config = model.config
        attention = cast(MptAttentionConfig, config.attn_config)
        device = model.transformer.wte.weight.device
        self._model = model
        self._step = _Step(Alibi(slopes(config.n_heads, attention.alibi_bias_max).to(device)))
        self._mask = torch.zeros(1, 1, 1, 1, device=device)  # passed on as it is, never looked at
        self.kv = kv_shape(config)
        self.vocabulary = int(config.vocab_size)
        for block in model.transformer.blocks:
            block.attn = FlatMptAttention(cast(MptAttention, block.attn), self._step)
        # It would be made anew for max_seq_len keys in every step.
        vars(model.transformer)["build_mpt_alibi_tensor"] = _no_alibi

    def embed(self, ids: Tensor) -> Tensor:
        return cast(Tensor, self._model.transformer.wte(ids))

    def hidden(self, embeds: Tensor, batch: FlatBatch) -> Tensor:
        self._step.batch = batch
        try:
            output = self._model.transformer(inputs_embeds=embeds[None], attention_mask=self._mask, use_cache=False)
        finally:
            self._step.batch = None  # it holds the arena, which goes when the model sleeps
        return cast(Tensor, output.last_hidden_state[0])

    def logits(self, hidden: Tensor) -> Tensor:
        return cast(Tensor, self._model.lm_head(hidden))

    def pictures(self, pixels: Tensor) -> Tensor:
        raise ImagesNotSupported("This model reads text alone.", param="messages")


class _Step:
    """What the attention modules of one model share; MptBlock hands no arguments down to them."""

    def __init__(self, alibi: Alibi) -> None:
        self.alibi = alibi
        self.batch: FlatBatch | None = None


class FlatMptAttention(nn.Module):
    """In the place of an MptAttention, with its weights under their names."""

    def __init__(self, original: MptAttention, step: _Step) -> None:
        super().__init__()
        self.Wqkv = original.Wqkv
        self.out_proj = original.out_proj
        self._heads = original.n_heads
        self._attention = Layer(cast(int, original.layer_idx), cast(float, original.softmax_scale), step.alibi)
        self._clip = original.clip_qkv
        self._step = step

    def forward(self, hidden_states: Tensor, **_: Any) -> tuple[Tensor, None]:
        """hidden_states [1, T, h] -> [1, T, h]. It has no weights to show."""
        if self._step.batch is None:
            raise RuntimeError("an MPT that serves an engine runs flat batches alone")
        mixed = self.Wqkv(hidden_states)[0]
        if self._clip:
            mixed = mixed.clamp(min=-self._clip, max=self._clip)
        query, key, value = mixed.view(len(mixed), 3, self._heads, -1).permute(1, 2, 0, 3)
        found = attend(self._step.batch, self._attention, query, key, value)
        return self.out_proj(found.reshape(1, len(mixed), -1)), None


def kv_shape(config: MptConfig) -> KvShape:
    return KvShape(layers=config.n_layers, heads=config.n_heads, size=config.d_model // config.n_heads)


def slopes(heads: int, bias_max: int) -> Tensor:
    """[heads], as llm-foundry's gen_slopes makes them (llmfoundry/models/layers/attention.py)."""
    rounded = 2 ** math.ceil(math.log2(heads))
    falling = 1.0 / torch.pow(2, torch.arange(1, rounded + 1, dtype=torch.float32) * (bias_max / rounded))
    return falling if rounded == heads else torch.cat([falling[1::2], falling[::2]])[:heads]


def _no_alibi(*_: Any, **__: Any) -> None:
    return None
