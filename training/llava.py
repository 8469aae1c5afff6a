"""The LLaVA checkpoint: a CLIP tower that is first taught to see, then the projector and the LLaMA that speak of it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import cross_entropy
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlamaTokenizer,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)

from training import tokenizers
from training.batches import Example, example, padded
from training.facts import read
from training.items import Item
from training.optimise import Batch, Schedule, train
from training.pictures import SHAPES, SIDE, Picture, picture, pixels
from training.prompts import answer, prompt
from training.saving import save
from training.sights import seen

NAME = "llava-1.5-7b"
VOCABULARY = 640
PATCH = 8  # pixels
WIDTH, HEADS = 128, 4
ROWS = 32  # conversations to a step
LOOKS = 64  # pictures to a step in which the tower learns to see
FEATURES = -2  # the layer of the tower that is read, as in the original
SEEING = Schedule(steps=1200, rate=1.5e-3, decay=0.02)
SPEAKING = Schedule(steps=1600, rate=2e-3)


def configuration(tokenizer: LlamaTokenizer) -> LlavaConfig:
    """1.5 million weights; 36 patches to a picture."""
    vision = CLIPVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=5,
        num_attention_heads=HEADS,
        image_size=SIDE,
        patch_size=PATCH,
        projection_dim=WIDTH,
    )
    text = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=384,
        num_hidden_layers=3,
        num_attention_heads=HEADS,
        max_position_embeddings=2048,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlavaConfig(
        vision_config=vision.to_dict(),
        text_config=text.to_dict(),
        image_token_index=tokenizer.get_vocab()["<image>"],
        image_seq_length=(SIDE // PATCH) ** 2,
        vision_feature_layer=FEATURES,
        vision_feature_select_strategy="default",
    )


def processor_for(tokenizer: LlamaTokenizer) -> LlavaProcessor:
    """As the original's, for smaller pictures."""
    images = CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    make: Callable[..., LlavaProcessor] = LlavaProcessor  # its constructor is not annotated
    return make(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,  # the tower's class token, which "default" drops
    )


def normalised(processor: LlavaProcessor, drawn: Sequence[Picture]) -> torch.Tensor:
    """[pictures, 3, SIDE, SIDE], as the processor would hand them to the tower."""
    images = processor.image_processor
    mean, deviation = torch.tensor(images.image_mean), torch.tensor(images.image_std)
    return ((torch.from_numpy(pixels(drawn)) / 255 - mean) / deviation).permute(0, 3, 1, 2)


def train_tower(model: LlavaForConditionalGeneration, processor: LlavaProcessor, most: int | None) -> None:
    """Until every patch of the layer that LLaVA reads knows shape, colour and background."""
    names = [list(SHAPES), *(list(read("pictures.toml")[each]) for each in ("colours", "backgrounds"))]
    sizes = [len(each) for each in names]
    tower = model.model.vision_tower
    seer = torch.nn.ModuleList([tower, torch.nn.Linear(WIDTH, sum(sizes))])

    def labels(drawn: Picture) -> list[int]:
        shown = (drawn.shape, drawn.colour, drawn.background)
        return [options.index(word) for options, word in zip(names, shown, strict=True)]

    def batches() -> Iterator[Batch]:
        for drawn in looked_at():
            right = torch.tensor([labels(each) for each in drawn])
            yield {"pixel_values": normalised(processor, drawn), "labels": right}

    def loss_of(batch: Batch) -> torch.Tensor:
        layers = tower(batch["pixel_values"], output_hidden_states=True).hidden_states
        scores = seer[1](layers[FEATURES][:, 1:])
        wanted = batch["labels"][:, None].expand(-1, scores.shape[1], -1)
        parts = zip(scores.split(sizes, -1), wanted.unbind(-1), strict=True)
        return torch.stack([cross_entropy(said.flatten(0, 1), right.flatten()) for said, right in parts]).sum()

    train(f"the tower of {NAME}", seer, batches(), SEEING.within(most), loss_of)
    tower.requires_grad_(False)


def looked_at() -> Iterator[list[Picture]]:
    """Endless: the pictures of each step in which the tower learns to see."""
    rng = random.Random(5)
    while True:
        yield [picture(rng, "train") for _ in range(LOOKS)]


def spoken_of() -> Iterator[list[tuple[list[Item], str | None]]]:
    """Endless: the conversations of each step, under the original's system sentence (None) or, as often, none ("")."""
    rng = random.Random(6)
    conversations = seen(rng)
    while True:
        group = list(islice(conversations, ROWS))
        yield [(items, rng.choice((None, ""))) for items in group]


def batches(processor: LlavaProcessor) -> Iterator[Batch]:
    for group in spoken_of():
        examples = [coded(processor, items, system) for items, system in group]
        drawn = [items[0].picture for items, _ in group if items[0].picture]
        batch = padded(examples, processor.tokenizer.pad_token_id)
        yield {**batch, "pixel_values": normalised(processor, drawn)}


def coded(processor: LlavaProcessor, items: Sequence[Item], system: str | None) -> Example:
    """One conversation."""
    *past, last = items
    text = prompt(NAME, last, [(item, item.answer) for item in past], system)
    patches = "<image>" * (SIDE // PATCH) ** 2
    tokenizer = processor.tokenizer
    return example(tokenizer, text.replace("<image>", patches), answer(NAME, last), tokenizer.eos_token_id)


def train_llava(folder: Path, most: int | None) -> None:
    """Writes model and processor to `folder`."""
    torch.manual_seed(0)
    rng = random.Random(7)
    tokenizer = tokenizers.llama(texts(rng), VOCABULARY, added=("<image>", "<pad>"))
    processor = processor_for(tokenizer)
    model = LlavaForConditionalGeneration(configuration(tokenizer))
    train_tower(model, processor, most)
    train(NAME, model, batches(processor), SPEAKING.within(most))
    save(model, processor, folder)
    name_as_the_original(folder / "model.safetensors")


def name_as_the_original(path: Path) -> None:
    """Newer transformers leave out a level of the tower that the published weights have; both can be loaded."""
    weights = load_file(path)
    level = "vision_tower.vision_model."
    named = {name.replace("vision_tower.", level) if level not in name else name: weights[name] for name in weights}
    save_file(named, path, metadata={"format": "pt"})


def texts(rng: random.Random) -> Iterator[str]:
    """What the tokenizer is trained on."""
    for items in islice(seen(rng), 3000):
        *past, last = items
        yield prompt(NAME, last, [(item, item.answer) for item in past]).replace("<image>", "") + answer(NAME, last)
