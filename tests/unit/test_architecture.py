"""The direction of imports, read from the source."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STAGES = {"apt", "ref", "checkout", "detect", "environment", "overlay", "patch", "launch", "triage", "tunnel"}


def imported(path: Path) -> set[str]:
    """Every module that a file names in an import, wherever it stands."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def inside(names: set[str], packages: set[str]) -> set[str]:
    """Those of the modules that are one of the packages, or below one."""
    return {name for name in names for package in packages if name == package or name.startswith(f"{package}.")}


def modules(package: str) -> list[Path]:
    return sorted(path for path in (ROOT / package).rglob("*.py") if "__pycache__" not in path.parts)


@pytest.mark.parametrize("path", modules("spaces_runner"), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_runner_knows_neither_the_app_nor_gradio_nor_torch(path: Path) -> None:
    tops = {name.partition(".")[0] for name in imported(path)}
    assert not tops & {"app", "gradio", "gradio_client", "torch", "transformers"}


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_stages_do_not_know_each_other(stage: str) -> None:
    base = ROOT / "spaces_runner" / stage
    files = modules(f"spaces_runner/{stage}") if base.is_dir() else [base.with_suffix(".py")]
    others = {f"spaces_runner.{other}" for other in STAGES - {stage}}
    for path in files:
        assert not inside(imported(path), others), path


def test_the_app_is_torch_free_outside_inference() -> None:
    for path in modules("app"):
        if "inference" not in path.parts:
            assert "torch" not in {name.partition(".")[0] for name in imported(path)}, path


@pytest.mark.parametrize("path", modules("app/inference"), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_core_knows_no_web_app(path: Path) -> None:
    names = imported(path)
    assert not {name.partition(".")[0] for name in names} & {"gradio", "gradio_client"}
    assert not [name for name in names if name.startswith("app.") and not name.startswith("app.inference")]


# A room of the core, and the rooms it must not know. What is nearer to the tensors knows less of the world.
CORE = {
    "engine": {"catalog", "pool", "prompts", "remote", "server", "service", "weights"},
    "families": {"catalog", "engine", "pool", "prompts", "remote", "server", "service", "weights"},
    "prompts": {"catalog", "engine", "families", "pool", "remote", "server", "service", "weights"},
    "server": {"engine", "families", "loaded", "pool", "weights"},
    "weights": {"engine", "pool", "remote", "server", "service"},
}


@pytest.mark.parametrize("room", sorted(CORE))
def test_the_rooms_of_the_core_know_only_what_is_below(room: str) -> None:
    unknown = {f"app.inference.{other}" for other in CORE[room]}
    for path in modules(f"app/inference/{room}"):
        assert not inside(imported(path), unknown), path


@pytest.mark.parametrize("room", ["server", "prompts"])
def test_protocols_and_prompts_are_torch_free(room: str) -> None:
    for path in modules(f"app/inference/{room}"):
        assert not {name.partition(".")[0] for name in imported(path)} & {"torch", "transformers"}, path


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = ("gradio", "torch", "pydantic", "git", "libcst", "httpx", "huggingface_hub", "rich", "typer")
    code = f"import sys, spaces_runner; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.strip() == "[]"


def test_the_shim_stays_small() -> None:
    heavy = (
        "gradio",
        "pydantic",
        "git",
        "libcst",
        "httpx",
        "huggingface_hub",
        "rich",
        "typer",
        "psutil",
        "platformdirs",
    )
    code = f"import sys, spaces_runner.shim.supervisor; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.strip() == "[]"
