"""Original formats, written by hand, against the models they were written from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from app.inference import weights
from app.inference.loaded import LoadedModel
from app.inference.types import Family, ModelCard, Precision, SamplingParams
from tests.support import inference_checkpoints as checkpoints

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
IDS = torch.tensor([[1, 259, 5, 200, 30, 17, 260]])
QUANTISED = [Precision.INT8, Precision.NF4]


def card(family: Family, path: Path, precision: Precision = Precision.FP32, adapter: Path | None = None) -> ModelCard:
    return ModelCard(
        name=adapter.name if adapter else path.name,
        title="",
        family=family,
        weights=str(path),
        adapter=str(adapter) if adapter else None,
        precision=precision,
        prompt="alpaca",
        context=128,
        defaults=SamplingParams(),
    )


def load(*cards: ModelCard) -> LoadedModel:
    return weights.load(cards, CPU, lambda what, fraction: None)


def logits(model: PreTrainedModel, **inputs: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        found = model(**(inputs or {"input_ids": IDS})).logits
    assert isinstance(found, torch.Tensor)
    return found


def written(family: Family, path: Path, layout: str) -> PreTrainedModel:
    """A checkpoint of the family at `path`, complete with its tokenizer; returns the model it was written from."""
    if family is Family.LLAMA:
        llama = checkpoints.llama()
        checkpoints.write_llama(path, llama, layout)
        return llama
    if family is Family.MPT:
        mpt = checkpoints.mpt()
        checkpoints.write_neox_tokenizer(checkpoints.write_mpt(path, mpt, layout), chat=True)
        return mpt
    llava = checkpoints.llava()
    checkpoints.write_llava(path, llava, layout)
    return llava


@pytest.mark.parametrize("layout", checkpoints.LAYOUTS)
@pytest.mark.parametrize("family", Family)
def test_logits_are_those_of_the_model_it_was_written_from(family: Family, layout: str, tmp_path: Path) -> None:
    reference = written(family, tmp_path, layout)
    loaded = load(card(family, tmp_path))
    assert torch.equal(logits(loaded.model), logits(reference))
    assert not loaded.model.training
    assert not any(weight.requires_grad for weight in loaded.model.parameters())
    assert (loaded.family, loaded.context, loaded.dtype, loaded.device) == (family, 128, torch.float32, CPU)


@pytest.mark.parametrize("family", Family)
def test_what_transformers_writes_today_is_read_as_well(family: Family, tmp_path: Path) -> None:
    reference = written(family, tmp_path, "bin")
    (tmp_path / "pytorch_model.bin").unlink()
    reference.save_pretrained(tmp_path)
    assert torch.equal(logits(load(card(family, tmp_path)).model), logits(reference))


@pytest.mark.parametrize("precision", [Precision.FP16, Precision.BF16])
@pytest.mark.parametrize("family", Family)
def test_half_precision_is_that_of_every_weight(family: Family, precision: Precision, tmp_path: Path) -> None:
    written(family, tmp_path, "safetensors")
    loaded = load(card(family, tmp_path, precision))
    dtype = {Precision.FP16: torch.float16, Precision.BF16: torch.bfloat16}[precision]
    assert loaded.dtype == dtype
    assert {weight.dtype for weight in loaded.model.parameters()} == {dtype}


@pytest.mark.parametrize("precision", QUANTISED)
@pytest.mark.parametrize("family", Family)
def test_quantised_layers_compute_nearly_the_same(family: Family, precision: Precision, tmp_path: Path) -> None:
    reference = logits(written(family, tmp_path, "bin"))
    found = logits(load(card(family, tmp_path, precision)).model)
    error = (found - reference).norm() / reference.norm()
    assert 0 < error < {Precision.INT8: 0.05, Precision.NF4: 0.5}[precision]  # of random weights


@pytest.mark.parametrize("precision", QUANTISED)
@pytest.mark.parametrize("family", Family)
def test_what_is_sensitive_stays_unquantised(family: Family, precision: Precision, tmp_path: Path) -> None:
    written(family, tmp_path, "bin")
    modules = dict(load(card(family, tmp_path, precision)).model.named_modules())
    plain = {path for path, module in modules.items() if type(module) is torch.nn.Linear}
    assert "lm_head" in plain
    sensitive = ("lm_head", "model.vision_tower.", "model.multi_modal_projector.")
    assert {path for path in plain if not path.startswith(sensitive)} == set()
    quantised = {type(module).__name__ for module in modules.values()} & {"Linear4bit", "Linear8bitLt"}
    assert quantised == {{Precision.INT8: "Linear8bitLt", Precision.NF4: "Linear4bit"}[precision]}


def test_nf4_quantises_its_scales_once_more(tmp_path: Path) -> None:
    written(Family.LLAMA, tmp_path, "bin")
    layer = load(card(Family.LLAMA, tmp_path, Precision.NF4)).model.get_submodule("model.layers.0.mlp.up_proj")
    state = layer.get_parameter("weight").quant_state  # type: ignore[attr-defined]  # of bitsandbytes' Params4bit
    assert (state.quant_type, state.nested, state.blocksize) == ("nf4", True, 64)


# LLaMA


def test_old_llama_has_its_special_tokens_set_right(tmp_path: Path) -> None:
    written(Family.LLAMA, tmp_path, "bin")
    loaded = load(card(Family.LLAMA, tmp_path))
    config, tokenizer = loaded.model.config, loaded.tokenizer
    assert (config.pad_token_id, config.bos_token_id, config.eos_token_id, config.use_cache) == (0, 1, 2, True)
    assert (tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id) == (0, 1, 2)
    assert loaded.eos_ids == {2}


def test_another_llamas_special_tokens_are_its_own(tmp_path: Path) -> None:
    written(Family.LLAMA, tmp_path, "bin")
    checkpoints.write_neox_tokenizer(tmp_path)  # without <s> and </s>
    loaded = load(card(Family.LLAMA, tmp_path))
    assert (loaded.tokenizer.bos_token, loaded.tokenizer.eos_token) == ("<|endoftext|>", "<|endoftext|>")
    assert len(loaded.tokenizer) == 258  # nothing was added
    assert loaded.model.config.bos_token_id == 0


# MPT


@pytest.mark.parametrize("layout", ["bin-sharded", "safetensors"])
def test_storywriters_configuration_with_its_traps(layout: str, tmp_path: Path) -> None:
    """clip_qkv an int, attn_pdrop a float, and an alibi_bias_max that the engine is to honour."""
    reference = checkpoints.mpt(clip_qkv=6.0)
    path = checkpoints.write_mpt(tmp_path, reference, layout, clip_qkv=6, attn_pdrop=0.0, alibi_bias_max=16)
    checkpoints.write_neox_tokenizer(path)
    model = load(card(Family.MPT, tmp_path)).model
    attention = model.config.attn_config
    assert (attention.clip_qkv, attention.alibi_bias_max, attention.attn_pdrop) == (6.0, 16, 0)
    assert isinstance(attention.clip_qkv, float)
    assert (model.config.max_seq_len, model.config.use_cache) == (128, True)  # the card's context; 64 in the file
    assert torch.equal(logits(model), logits(reference))  # the class itself ignores alibi_bias_max


@pytest.mark.parametrize(("chat", "ends"), [(True, {0, 259}), (False, {0})])
def test_a_chat_ends_with_its_turn_or_its_text(chat: bool, ends: set[int], tmp_path: Path) -> None:
    checkpoints.write_neox_tokenizer(checkpoints.write_mpt(tmp_path, checkpoints.mpt()), chat=chat)
    loaded = load(card(Family.MPT, tmp_path))
    assert loaded.eos_ids == ends
    assert loaded.tokenizer.decode(sorted(ends)) == "<|endoftext|>" + ("<|im_end|>" if chat else "")


# LLaVA


def test_a_picture_takes_as_many_tokens_as_the_tower_has_patches(tmp_path: Path) -> None:
    reference = written(Family.LLAVA, tmp_path, "safetensors-sharded")
    loaded = load(card(Family.LLAVA, tmp_path))
    processor = loaded.processor
    assert processor is not None
    assert (processor.patch_size, processor.num_additional_image_tokens) == (14, 1)
    assert processor.vision_feature_select_strategy == "default"
    text = "USER: <image>\nwhat is this? ASSISTANT:"
    inputs = dict(processor(text=text, images=[checkpoints.picture()], return_tensors="pt"))
    assert int((inputs["input_ids"] == checkpoints.IMAGE_TOKEN).sum()) == 4
    assert loaded.model.config.image_token_id == checkpoints.IMAGE_TOKEN
    assert torch.equal(logits(loaded.model, **inputs), logits(reference, **inputs))


# Bytes and progress


@pytest.mark.parametrize("precision", Precision)
@pytest.mark.parametrize("family", Family)
def test_the_estimate_is_what_it_comes_to(family: Family, precision: Precision, tmp_path: Path) -> None:
    written(family, tmp_path / "base", "safetensors")
    cards = [card(family, tmp_path / "base", precision)]
    if family is Family.LLAMA:
        checkpoints.write_alpaca(tmp_path / "alpaca")
        checkpoints.write_guanaco(tmp_path / "guanaco")
        cards = [card(family, tmp_path / "base", precision, tmp_path / name) for name in ("alpaca", "guanaco")]
    assert weights.estimate(cards, CPU) == load(*cards).nbytes


def test_bytes_are_those_of_the_storage(tmp_path: Path) -> None:
    reference = written(Family.MPT, tmp_path, "bin")
    numbers = sum(weight.numel() for weight in reference.parameters())  # the head is the embedding
    full = load(card(Family.MPT, tmp_path)).nbytes
    assert full == numbers * 4
    assert load(card(Family.MPT, tmp_path, Precision.FP16)).nbytes == full // 2
    layers = reference.config.n_layers * 12 * 64 * 64  # what is quantised, 12 d^2 to a block
    rest = (numbers - layers) * 4
    assert rest + layers < load(card(Family.MPT, tmp_path, Precision.INT8)).nbytes < rest + layers * 1.1
    assert rest + layers // 2 < load(card(Family.MPT, tmp_path, Precision.NF4)).nbytes < rest + layers * 0.7


def test_progress_rises_from_nothing_to_ready(tmp_path: Path) -> None:
    written(Family.LLAMA, tmp_path / "base", "bin")
    checkpoints.write_alpaca(tmp_path / "alpaca")
    told: list[tuple[str, float]] = []
    one = card(Family.LLAMA, tmp_path / "base", adapter=tmp_path / "alpaca")
    weights.load([one], CPU, lambda what, fraction: told.append((what, fraction)))
    fractions = [fraction for _, fraction in told]
    assert fractions == sorted(fractions)
    assert (0 <= fractions[0] <= 0.5, told[-1]) == (True, ("Ready", 1.0))
    assert len({fraction for what, fraction in told if what == "Reading the weights"}) > 10
    assert "Reading the adapter of alpaca" in dict(told)


def test_nothing_is_said_on_the_way(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    written(Family.LLAMA, tmp_path / "base", "bin")
    checkpoints.write_alpaca(tmp_path / "alpaca")
    for precision in Precision:
        model = load(card(Family.LLAMA, tmp_path / "base", precision, tmp_path / "alpaca")).model
        logits(model)
    assert (capfd.readouterr(), caplog.records) == (("", ""), [])
