"""Tiny models of the three classes with random weights, tokenizers for them, and an engine's events gathered."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    MptConfig,
    MptForCausalLM,
    PreTrainedTokenizerFast,
)
from transformers.models.mpt.modeling_mpt import build_mpt_alibi_tensor

from app.inference.engine import Engine, EngineEvent, Failed, Limits
from app.inference.engine import Sequence as EngineSequence
from app.inference.loaded import Adapter, LoadedModel, LoraLayer
from app.inference.types import Delta, Family, Finished, FinishReason, Precision, Queued, SamplingParams, Started

VOCABULARY = 320
EOS = 2
IMAGE_TOKEN = 300
IMAGE_TOKENS = 16  # of a picture of 56 pixels in patches of 14
CPU = torch.device("cpu")


def _wrapped(tokenizer: Tokenizer) -> Any:
    fast: Any = PreTrainedTokenizerFast
    return fast(tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="<unk>")


def byte_tokenizer() -> Any:
    """One token per byte, as GPT-NeoX's tokenizer would spell what it has no merges for; ids 3 to 258."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"<unk>": 0, "<s>": 1, "</s>": EOS} | {letter: number for number, letter in enumerate(alphabet, 3)}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return _wrapped(tokenizer)


def spaced_tokenizer(words: Sequence[str]) -> Any:
    """Words with their leading space and bytes for the rest, as LLaMA's sentencepiece has them."""
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *words]
    tokenizer = Tokenizer(
        models.BPE({piece: number for number, piece in enumerate(pieces)}, [], unk_token="<unk>", byte_fallback=True)
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return _wrapped(tokenizer)


def sharpen(model: Any, seed: int) -> Any:
    """Weights so large that the likeliest token stands out, and depends on what was said before."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1 or name.endswith("class_embedding"):
            parameter.data.normal_(0, 0.12, generator=generator)
    return model.eval().requires_grad_(requires_grad=False)


def llama_config(**changes: Any) -> LlamaConfig:
    shape: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "intermediate_size": 128,
        "bos_token_id": 1,
        "eos_token_id": EOS,
        "pad_token_id": 0,
    }
    return LlamaConfig(**(shape | changes))


def tiny_llama(seed: int = 0, **changes: Any) -> Any:
    return sharpen(LlamaForCausalLM(llama_config(**changes)), seed)


def tiny_mpt(seed: int = 0, *, bias_max: int = 8, clip: float | None = None, heads: int = 4) -> Any:
    """With transformers' own attention made to honour `alibi_bias_max`: the reference."""
    attention = {"alibi_bias_max": bias_max, "clip_qkv": clip}
    config = MptConfig(
        d_model=16 * heads,
        n_heads=heads,
        n_layers=2,
        vocab_size=VOCABULARY,
        max_seq_len=512,
        use_cache=True,
        attn_config=attention,
    )
    model: Any = MptForCausalLM(config)
    model.transformer.build_mpt_alibi_tensor = partial(_alibi, bias_max)
    return sharpen(model, seed)


def _alibi(bias_max: int, heads: int, length: int, device: torch.device | None = None) -> Tensor:
    build: Any = build_mpt_alibi_tensor
    tensor: Tensor = build(heads, length, bias_max, device)
    return tensor


def tiny_llava(seed: int = 0) -> Any:
    vision = CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4, image_size=56, patch_size=14
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=llama_config(),
        image_token_index=IMAGE_TOKEN,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
    )
    return sharpen(LlavaForConditionalGeneration(config), seed)


def random_adapter(
    model: Any, name: str, paths: Sequence[str], *, rank: int, seed: int, scaling: float = 2.0
) -> Adapter:
    """An adapter that changes what the model says."""
    generator = torch.Generator().manual_seed(seed)
    layers = {}
    for path in paths:
        wide, narrow = model.get_submodule(path).weight.shape
        layers[path] = LoraLayer(
            a=torch.randn(rank, narrow, generator=generator) * 0.2,
            b=torch.randn(wide, rank, generator=generator) * 0.2,
            scaling=scaling,
        )
    return Adapter(name=name, layers=layers)


def loaded(
    model: Any,
    family: Family,
    *,
    adapters: Mapping[str, Adapter] | None = None,
    context: int = 512,
    tokenizer: Any = None,
    precision: Precision = Precision.FP32,
    eos_ids: frozenset[int] = frozenset({EOS}),
) -> LoadedModel:
    weight = next(model.parameters())
    return LoadedModel(
        family=family,
        model=model,
        tokenizer=tokenizer or byte_tokenizer(),
        adapters=adapters or {},
        precision=precision,
        dtype=model.dtype,
        device=weight.device,
        context=context,
        eos_ids=eos_ids,
        nbytes=sum(parameter.nbytes for parameter in model.parameters()),
    )


def generated(model: Any, prompt: Sequence[int], count: int, **inputs: Any) -> list[int]:
    """What transformers' own greedy `generate` goes on with."""
    device = next(model.parameters()).device
    output = model.generate(
        input_ids=torch.tensor([list(prompt)], device=device),
        attention_mask=torch.ones(1, len(prompt), dtype=torch.long, device=device),
        max_new_tokens=count,
        min_new_tokens=count,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
        **inputs,
    )
    return [int(token) for token in output[0, len(prompt) :]]


@dataclass(slots=True)
class Heard:
    """The events of one sequence, in the order they came."""

    events: list[EngineEvent] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    def __call__(self, event: EngineEvent) -> None:
        self.events.append(event)
        self.times.append(time.monotonic())

    @property
    def tokens(self) -> list[int]:
        return [token.id for event in self.events if isinstance(event, Delta) for token in event.tokens]

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, Delta))

    @property
    def positions(self) -> list[int]:
        return [event.position for event in self.events if isinstance(event, Queued)]

    @property
    def started(self) -> Started:
        return next(event for event in self.events if isinstance(event, Started))

    @property
    def finished(self) -> Finished:
        """Its last event. Fails unless that is the one end it had."""
        last = self.events[-1]
        if not isinstance(last, Finished):
            raise TypeError(f"it ended with {last}")
        return last

    @property
    def failed(self) -> Failed:
        last = self.events[-1]
        if not isinstance(last, Failed):
            raise TypeError(f"it ended with {last}")
        return last

    @property
    def ends(self) -> int:
        return sum(isinstance(event, Finished | Failed) for event in self.events)

    @property
    def reason(self) -> FinishReason:
        return self.finished.reason


def ask(engine: Engine, prompt: Sequence[int], count: int, *, name: str = "", **fields: Any) -> Heard:
    """Submit a greedy request that goes on for `count` tokens; `fields` change the sequence."""
    heard = Heard()
    sequence: dict[str, Any] = {
        "id": name or f"s{time.monotonic_ns()}-{id(heard)}",
        "client": "someone",
        "prompt_ids": tuple(prompt),
        "sampling": SamplingParams(max_tokens=count, temperature=0, ignore_eos=True),
        "sink": heard,
    }
    engine.submit(EngineSequence(**(sequence | fields)))
    return heard


def drain(engine: Engine, *, steps: int = 5000) -> int:
    """Step until there is nothing to do; how many steps that took."""
    for step in range(steps):
        if not engine.step():
            return step
    raise TimeoutError(f"still working after {steps} steps")


def new_engine(model: Any = None, family: Family = Family.LLAMA, *, context: int = 512, **limits: Any) -> Engine:
    small = {"max_running": 4, "chunk_tokens": 24, "kv_tokens": 1024}
    return Engine(loaded(model or tiny_llama(), family, context=context), Limits(**(small | limits)))


def prompts(count: int, longest: int = 60, seed: int = 0) -> list[list[int]]:
    chance = random.Random(seed)
    return [[chance.randrange(3, 290) for _ in range(chance.randint(1, longest))] for _ in range(count)]


def pictured(*pictures: int) -> list[int]:
    """A prompt with so many pictures, each with a few words around it."""
    prompt = [5]
    for word in pictures:
        prompt += [IMAGE_TOKEN] * IMAGE_TOKENS + [word, word + 1]
    return prompt
