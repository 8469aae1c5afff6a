"""Weights from a Hub: a stand-in on loopback that has repositories as the originals are laid out."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import torch

from app.inference import weights
from app.inference.errors import WeightsMissing
from app.inference.types import Family, ModelCard, Precision, SamplingParams
from app.inference.weights.places import needed
from tests.support import inference_checkpoints as checkpoints
from tests.support.hub import Hub
from tests.support.hub_faults import Fault
from tests.support.hub_repos import File

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
BASE, ADAPTER = "huggyllama/llama-7b", "tloen/alpaca-lora-7b"


def card(revision: str | None = None, weights_from: str = BASE, adapter: str | None = ADAPTER) -> ModelCard:
    return ModelCard(
        name="alpaca-lora-7b",
        title="",
        family=Family.LLAMA,
        weights=weights_from,
        revision=revision,
        adapter=adapter,
        precision=Precision.FP32,
        prompt="alpaca",
        context=128,
        defaults=SamplingParams(),
    )


def contents(path: Path) -> dict[str, File]:
    return {file.name: file.read_bytes() for file in path.iterdir()}


@pytest.fixture
def published(hub: Hub, tmp_path: Path) -> str:
    """A base in both formats with things beside it, and an adapter; returns the base's commit."""
    base = checkpoints.write_llama(tmp_path / "base", checkpoints.llama(), "safetensors-sharded")
    checkpoints.write_llama(base, checkpoints.llama(), "bin-sharded")
    aside: dict[str, File] = {
        "README.md": "# LLaMA",
        "modeling.py": "raise SystemExit",
        "original/consolidated.pth": b"0" * 1000,
    }
    commit = hub.add_model(BASE, {**contents(base), **aside})
    checkpoints.write_alpaca(tmp_path / "adapter")
    hub.add_model(ADAPTER, contents(tmp_path / "adapter"))
    return commit


def our(hub: Hub, tmp_path: Path, **options: str) -> weights.Hub:
    return weights.Hub(endpoint=hub.endpoint, cache=tmp_path / "cache", **options)


def fetched(tmp_path: Path) -> set[str]:
    return {path.name for path in (tmp_path / "cache").glob("models--*/snapshots/*/*")}


def test_only_what_is_needed_is_fetched(hub: Hub, published: str, tmp_path: Path) -> None:
    told: list[tuple[str, float]] = []
    loaded = weights.load([card()], CPU, lambda what, fraction: told.append((what, fraction)), hub=our(hub, tmp_path))
    assert list(loaded.adapters) == ["alpaca-lora-7b"]
    names = fetched(tmp_path)
    assert {"config.json", "tokenizer.json", "model-00001-of-00002.safetensors", "adapter_model.bin"} <= names
    assert not names & {"README.md", "modeling.py", "original", "pytorch_model-00001-of-00002.bin"}
    assert "pytorch_model.bin.index.json" not in names
    assert "Fetching model-00002-of-00002.safetensors" in dict(told)
    assert [fraction for _, fraction in told] == sorted(fraction for _, fraction in told)
    assert hub.unknown == []


def test_a_second_load_fetches_nothing(hub: Hub, published: str, tmp_path: Path) -> None:
    weights.load([card()], CPU, lambda what, fraction: None, hub=our(hub, tmp_path))
    before = hub.served("resolve").bytes
    weights.load([card()], CPU, lambda what, fraction: None, hub=our(hub, tmp_path))
    assert hub.served("resolve").bytes == before


def test_a_pinned_revision_is_what_is_loaded(hub: Hub, published: str, tmp_path: Path) -> None:
    hub.repositories[BASE].commit({"config.json": "{}"}, "main")
    pinned = card(revision=published, adapter=None)
    weights.load([pinned], CPU, lambda what, fraction: None, hub=our(hub, tmp_path))
    assert [path.name for path in (tmp_path / "cache").glob("models--*/snapshots/*")] == [published]


def test_an_estimate_fetches_configurations_alone(hub: Hub, published: str, tmp_path: Path) -> None:
    size = weights.estimate([card()], CPU, hub=our(hub, tmp_path))
    assert fetched(tmp_path) == {"config.json", "adapter_config.json"}
    assert size == weights.load([card()], CPU, lambda what, fraction: None, hub=our(hub, tmp_path)).nbytes


def test_a_hub_that_does_not_answer_is_done_without(hub: Hub, published: str, tmp_path: Path) -> None:
    weights.load([card()], CPU, lambda what, fraction: None, hub=our(hub, tmp_path))
    silent = weights.Hub(endpoint=nobody(), cache=tmp_path / "cache")
    assert weights.load([card()], CPU, lambda what, fraction: None, hub=silent).adapters
    assert weights.estimate([card()], CPU, hub=silent)


def test_a_hub_that_is_broken_is_done_without(hub: Hub, published: str, tmp_path: Path) -> None:
    weights.load([card()], CPU, lambda what, fraction: None, hub=our(hub, tmp_path))
    hub.misbehave(Fault(route="api", status=500, times=100))
    assert weights.load([card()], CPU, lambda what, fraction: None, hub=our(hub, tmp_path)).adapters


def test_a_hub_that_does_not_answer_and_no_earlier_copy(tmp_path: Path) -> None:
    error = refused(card(), weights.Hub(endpoint=nobody(), cache=tmp_path / "cache"))
    assert "the Hub does not answer, and no earlier copy is here" in error.message


def test_a_repository_that_is_gone_says_how_to_point_at_another(hub: Hub, tmp_path: Path) -> None:
    error = refused(card(weights_from="mosaicml/mpt-7b-chat"), our(hub, tmp_path))
    assert "the repository mosaicml/mpt-7b-chat: it is gone, or private" in error.message
    assert "[models.alpaca-lora-7b]" in error.hint
    assert 'weights = "/path/to/a/directory"' in error.hint


def test_an_adapter_that_is_gone_is_told_as_the_adapter(hub: Hub, published: str, tmp_path: Path) -> None:
    error = refused(card(adapter="tloen/gone"), our(hub, tmp_path))
    assert "The adapter of alpaca-lora-7b" in error.message
    assert 'adapter = "/path/' in error.hint


def test_a_private_repository_opens_to_its_token(hub: Hub, published: str, tmp_path: Path) -> None:
    hub.add_model("me/llama", contents(tmp_path / "base"), private=True)
    hub.accept("hf_mine")
    mine = card(weights_from="me/llama", adapter=None)
    assert "gone, or private" in refused(mine, our(hub, tmp_path)).message
    assert weights.load([mine], CPU, lambda what, fraction: None, hub=our(hub, tmp_path, token="hf_mine"))


def test_a_revision_that_is_not_there(hub: Hub, published: str, tmp_path: Path) -> None:
    assert "it has no revision v9" in refused(card(revision="v9"), our(hub, tmp_path)).message


def test_a_name_that_is_none(hub: Hub, tmp_path: Path) -> None:
    error = refused(card(weights_from="no/such/name"), our(hub, tmp_path))
    assert "that is no name of a repository" in error.message


def test_a_repository_without_weights(hub: Hub, tmp_path: Path) -> None:
    hub.add_model("me/empty", {"config.json": "{}", "model.gguf": b"GGUF"})
    error = refused(card(weights_from="me/empty"), our(hub, tmp_path))
    assert "it has none of model*.safetensors or pytorch_model*.bin" in error.message


def test_a_hub_that_fails_on_a_file(hub: Hub, published: str, tmp_path: Path) -> None:
    hub.misbehave(Fault(route="resolve", status=403, times=100))
    assert "the Hub answered 403" in refused(card(), our(hub, tmp_path)).message


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["model.safetensors", "pytorch_model.bin", "config.json"], ["config.json", "model.safetensors"]),
        (["pytorch_model.bin", "tokenizer.model", "x.py"], ["tokenizer.model", "pytorch_model.bin"]),
        (["sub/model.safetensors", "pytorch_model.bin"], ["pytorch_model.bin"]),
        (["model.gguf", "config.json"], ["config.json"]),
    ],
)
def test_which_files_are_needed(names: list[str], wanted: list[str]) -> None:
    assert needed(names, (r"model.*\.safetensors", r"pytorch_model.*\.bin")) == wanted


def refused(one: ModelCard, hub: weights.Hub) -> WeightsMissing:
    with pytest.raises(WeightsMissing) as caught:
        weights.load([one], CPU, lambda what, fraction: None, hub=hub)
    return caught.value


def nobody() -> str:
    """An address that nothing listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"
