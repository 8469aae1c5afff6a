"""The Python API, as a script and a notebook use it."""

from __future__ import annotations

import asyncio
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

import spaces_runner
from spaces_runner import errors
from spaces_runner.handle import Space, error_from
from spaces_runner.settings import Settings
from spaces_runner.types import ErrorInfo, Event, Stage, StageChanged, Step, StepFinished
from tests.support.cli import Cli
from tests.support.home import open_directory
from tests.support.hub import Hub
from tests.support.hub_repos import Contents
from tests.support.share import Share

README = "---\ntitle: A <b>\nsdk: gradio\nsdk_version: 6.31.0\n---\n"
APP = """
import os
import gradio as gr
print("word", os.environ["WORD"], flush=True)
gr.Interface(lambda name: f"Hello {name}!", "text", "text", api_name="greet").launch()
"""


@pytest.fixture
def ours(shared_settings: Settings, share: Share) -> Iterator[Settings]:
    settings = share.settings(shared_settings)
    yield settings
    for space in spaces_runner.spaces(settings=settings):
        space.stop()
        space.remove()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory with a plain Gradio Space whose name is awkward in HTML."""
    parent = open_directory("sr-handle-")
    space = parent / "a <b> & c"
    space.mkdir(mode=0o755)
    (space / "README.md").write_text(README)
    (space / "app.py").write_text(APP)
    yield space
    shutil.rmtree(parent)


def get(url: str | None) -> int:
    assert url
    with urllib.request.urlopen(url, timeout=10) as answer:
        return int(answer.status)


def test_a_space_as_an_object(ours: Settings, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[Event] = []
    space = spaces_runner.run(folder, env={"WORD": "yes"}, settings=ours, timeout=400, progress=seen.append)
    assert space.stage is Stage.RUNNING
    assert get(space.url) == 200
    assert get(space.share_url) == 200
    assert {event.step for event in seen if isinstance(event, StepFinished)} >= {Step.CLONE, Step.ENVIRONMENT}
    assert not capsys.readouterr().out
    assert "word yes" in list(space.logs())
    assert [one.id for one in spaces_runner.spaces(settings=ours)] == [space.id]
    assert [event.stage for event in space.events() if isinstance(event, StageChanged)][-1] is Stage.RUNNING

    assert space.id in repr(space)
    assert "\n" not in repr(space)
    shown = space._repr_html_()
    assert "<b> &" not in shown
    assert "a &lt;b&gt; &amp; c" in shown
    assert 'rel="noopener noreferrer"' in shown

    url = space.url
    with space:
        pass
    assert space.status.stage is Stage.STOPPED
    with pytest.raises(OSError, match=r"refused|reset|timed out"):
        get(url)
    space.remove()
    assert "removed" in repr(space)
    with pytest.raises(errors.UnknownSpace):
        _ = space.status


def test_inside_a_running_loop_with_printed_progress(
    ours: Settings, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def cell() -> Space:
        return spaces_runner.run(folder, env={"WORD": "yes"}, share=False, settings=ours, timeout=400)

    space = asyncio.run(cell())
    out = capsys.readouterr().out
    assert "environment" in out
    assert space.url
    assert space.url in out


def test_a_failure_is_raised_as_its_own_class(ours: Settings, folder: Path) -> None:
    (folder / "app.py").unlink()
    with pytest.raises(errors.NoAppFile) as caught:
        spaces_runner.run(folder, settings=ours, quiet=True, timeout=60)
    assert caught.value.hint


def test_an_inspection_names_large_files_and_fetches_none(shared_settings: Settings, hub: Hub) -> None:
    files: Contents = {
        "README.md": README,
        "app.py": APP,
        "m.bin": b"m" * 3_000_000,
        "requirements.txt": "iniconfig\n",
    }
    hub.add_space("o/large", files, lfs=("*.bin", "*.txt"))
    settings = hub.settings(shared_settings)
    plan = spaces_runner.inspect("o/large", settings=settings)
    assert {(file.path, file.size_bytes, file.lfs) for file in plan.files} >= {
        ("m.bin", 3_000_000, True),
        ("requirements.txt", 10, True),
        ("app.py", len(APP), False),
    }
    assert plan.checkout.lfs_bytes == 3_000_010
    assert hub.served("lfs-object").bytes == 10, "what it requires, which is small"
    assert plan.resolution
    assert any(package.startswith("iniconfig==") for package in plan.resolution.packages)
    assert "lfs-pointer" not in [finding.code for finding in plan.findings]
    assert not [path for path in settings.home_dir.iterdir() if path.name.startswith("inspect-")]
    shown = Cli(settings=settings)("inspect", "o/large")
    assert "3.0 MB  m.bin  (LFS)" in shown.stdout
    assert hub.served("lfs-object").bytes == 10


def test_a_space_that_is_not_there(settings: Settings) -> None:
    with pytest.raises(errors.RefError):
        spaces_runner.run("no such thing", settings=settings)
    assert spaces_runner.spaces(settings=settings) == ()


def test_a_path_object_is_a_directory(settings: Settings, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(errors.RefError, match="no directory"):
        spaces_runner.run(Path("gradio/hello_world"), settings=settings)
    (folder / "app.py").unlink()
    monkeypatch.chdir(folder.parent.parent)
    with pytest.raises(errors.NoAppFile):
        spaces_runner.inspect(folder.relative_to(folder.parent.parent), settings=settings)


def test_every_error_comes_back_as_its_own_class() -> None:
    classes = {cls.code: cls for cls in subclasses(errors.RunnerError) if cls is not errors.ReportedError}
    assert len(classes) > 20
    for code, cls in classes.items():
        info = ErrorInfo(code=code, stage=cls.stage, step=cls.step, message="M", hint="H", lines=("L",))
        error = error_from(info)
        assert type(error) is cls
        assert error.info == info


def test_an_unknown_error_is_kept_as_it_was_told() -> None:
    info = ErrorInfo(code="of-tomorrow", stage=Stage.BUILD_ERROR, step=None, message="M")
    error = error_from(info)
    assert isinstance(error, errors.ReportedError)
    assert error.info == info


def subclasses(cls: type[errors.RunnerError]) -> Iterator[type[errors.RunnerError]]:
    for child in cls.__subclasses__():
        yield child
        yield from subclasses(child)
