"""LLaMA on the flat batch, by an attention function registered with transformers."""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor, nn
from transformers import AttentionInterface, LlamaConfig, LlamaForCausalLM, LlamaModel

from app.inference.errors import ImagesNotSupported
from app.inference.families.base import KvShape
from app.inference.families.flat import FlatBatch, Layer, attend

FLAT = "flat"  # the name of our attention in transformers' registry


def flat_attention(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, *_: Any, **given: Any) -> Any:
    """What transformers calls in each layer: query [1, heads, T, size] -> [1, T, heads, size], and no weights."""
    layer = Layer(cast(int, module.layer_idx), given["scaling"])
    return attend(given["flat"], layer, query[0], key[0], value[0])[None], None


AttentionInterface.register(FLAT, flat_attention)


class Llama:
    """LlamaForCausalLM. From here on, only flat batches run through this model."""

    image_token: int | None = None

    def __init__(self, model: LlamaForCausalLM) -> None:
        self._decoder = LlamaDecoder(model.model)
        self._model = model
        self.kv = self._decoder.kv
        self.vocabulary = int(model.config.vocab_size)
        self.embed = self._decoder.embed
        self.hidden = self._decoder.hidden

    def logits(self, hidden: Tensor) -> Tensor:
        return cast(Tensor, self._model.lm_head(hidden))

    def pictures(self, pixels: Tensor) -> Tensor:
        raise ImagesNotSupported("This model reads text alone.", param="messages")


class LlamaDecoder:
    """The layers of a LLaMA, without its head: LLaVA has them too."""

    def __init__(self, model: LlamaModel) -> None:
        model.set_attn_implementation(FLAT)
        self._model = model
        self.kv = kv_shape(model.config)

    def embed(self, ids: Tensor) -> Tensor:
        return cast(Tensor, self._model.embed_tokens(ids))

    def hidden(self, embeds: Tensor, batch: FlatBatch) -> Tensor:
        """As LlamaModel.forward, without the masks and caches that it makes for others in each step."""
        positions, hidden = batch.positions[None], embeds[None]
        rotation = self._model.rotary_emb(hidden, position_ids=positions)
        for layer in self._model.layers:
            hidden = layer(hidden, position_embeddings=rotation, position_ids=positions, use_cache=False, flat=batch)
        return cast(Tensor, self._model.norm(hidden)[0])


def kv_shape(config: LlamaConfig) -> KvShape:
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    heads = config.num_key_value_heads or config.num_attention_heads
    return KvShape(layers=config.num_hidden_layers, heads=heads, size=size)
