"""`spaces-runner check` over real Spaces: what it says, what it writes, and that it leaves nothing behind."""

from __future__ import annotations

import json
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import spaces_runner
from spaces_runner.checking import Verdict
from spaces_runner.settings import Settings
from tests.support.cases import CORPUS
from tests.support.cli import Cli, ending
from tests.support.home import open_directory

pytestmark = pytest.mark.network_index

README = "---\nsdk: gradio\nsdk_version: 6.31.0\n---\n"
FORMS = """
import gradio as gr

def see(picture, sound, choice):
    return f"{picture.shape} {sound[0]} {choice}"

with gr.Blocks() as demo:
    parts = [gr.Image(), gr.Audio(), gr.Dropdown(["one", "two"]), gr.State()]
    gr.Button("Go").click(lambda *given: see(*given[:3]), parts, gr.Textbox(), api_name="see")
demo.launch()
"""
BROKEN = """
import gradio as gr

def answer(text):
    raise gr.Error("no prompt, no picture")

gr.Interface(answer, "text", "text").launch()
"""
ENDLESS = "import time\nprint('up', flush=True)\ntime.sleep(600)\n"


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Spaces in directories: `forms`, `broken`, `endless`, and two of the corpus."""
    parent = open_directory("sr-check-")
    for name, source in {"forms": FORMS, "broken": BROKEN, "endless": ENDLESS}.items():
        space = parent / name
        space.mkdir(mode=0o755)
        (space / "README.md").write_text(README)
        (space / "app.py").write_text(source)
    for name in ("fail-missing-module", "serve-standard-library", "packages-txt-lacking", "launch-close-and-relaunch"):
        shutil.copytree(CORPUS / name, parent / name)
    yield parent
    shutil.rmtree(parent)


@pytest.fixture
def cli(shared_settings: Settings) -> Cli:
    return Cli(settings=shared_settings)


def test_a_report_of_several_spaces(cli: Cli, folder: Path, tmp_path: Path) -> None:
    names = ("forms", "broken", "fail-missing-module", "serve-standard-library", "not-there")
    (tmp_path / "ids").write_text("".join(f"{folder / name}  # {name}\n" for name in names))
    files = ["--output", str(tmp_path / "r.json"), "--output", str(tmp_path / "r.md")]
    done = cli("check", "--file", str(tmp_path / "ids"), "--jobs", "2", "--json", *files, timeout=300)
    assert done.returncode == 1, done.stdout + done.stderr
    results = json.loads(done.stdout)
    assert json.loads((tmp_path / "r.json").read_text())
    forms, broken, failing, plain, missing = results
    assert (forms["verdict"], forms["call"]["endpoint"], forms["call"]["answered"]) == ("started", "/see", True), forms
    assert (forms["sdk"], forms["sdk_version"], forms["how"]) == ("gradio", "6.31.0", "joint")
    assert broken["verdict"] == "call failed"
    assert "no prompt, no picture" in broken["call"]["note"]
    failure = failing["failure"]
    assert (failure["error"], failure["step"], failure["cause"]) == ("app_exited", "launch", "missing-module")
    assert (plain["verdict"], plain["call"]["endpoint"]) == ("started", "")
    assert missing["failure"]["error"] == "bad_ref", missing
    assert "| RUNTIME_ERROR/launch app_exited (missing-module) | 1 |" in (tmp_path / "r.md").read_text()
    assert json.loads(cli("ps", "--json").stdout) == []
    refused = cli("check", str(folder / "forms"), *files)
    assert (refused.returncode, "--resume" in refused.stderr) == (1, True)
    again = cli("check", "--file", str(tmp_path / "ids"), "--resume", *files)
    assert (again.returncode, again.stdout.splitlines()[-1]) == (
        1,
        "3 of 5 started, 1 of them without an answer to the call; 2 failed.",
    )


def at_work(cli: Cli) -> list[tuple[str, str]]:
    """Names and stages of what there is."""
    return [(Path(status["space"]).name, status["stage"]) for status in cli.data("ps")]


def test_ctrl_c_ends_everything_and_keeps_what_is_known(cli: Cli, folder: Path, tmp_path: Path) -> None:
    spaces = [str(folder / "serve-standard-library"), str(folder / "endless")]
    with ending(cli.start("check", *spaces, "--jobs", "1", "--output", str(tmp_path / "r.json"))) as command:
        deadline = time.monotonic() + 90
        while ("endless", "APP_STARTING") not in at_work(cli):
            assert time.monotonic() < deadline, at_work(cli)
            time.sleep(0.3)
        command.send_signal(signal.SIGINT)
        out, err = command.communicate(timeout=60)
    assert command.returncode == 130, err
    assert "1 of 2 are left. --resume goes on with them." in err
    assert "1 of 1 started." in out
    assert len(json.loads((tmp_path / "r.json").read_text())) == 1
    assert json.loads(cli("ps", "--json").stdout) == []


def test_an_app_that_launches_another_is_asked_where_it_is_then(shared_settings: Settings, folder: Path) -> None:
    [result] = spaces_runner.check([folder / "launch-close-and-relaunch"], settings=shared_settings)
    assert (result.verdict, result.call and result.call.endpoint) == (Verdict.STARTED, "/rev"), result


def test_what_it_lacked_is_told(shared_settings: Settings, folder: Path) -> None:
    [result] = spaces_runner.check([folder / "packages-txt-lacking"], settings=shared_settings)
    assert (result.verdict, result.needed) == (Verdict.STARTED, ("system-packages",))


def test_time_is_up_is_a_class_of_its_own_and_kept_spaces_are_stopped(shared_settings: Settings, folder: Path) -> None:
    [result] = spaces_runner.check([folder / "endless"], timeout=6, keep=True, settings=shared_settings)
    assert result.verdict is Verdict.FAILED
    assert result.failure
    assert (result.failure.error, result.failure.stage) == ("check_timed_out", "APP_STARTING")
    [kept] = spaces_runner.spaces(settings=shared_settings)
    assert kept.stage == "STOPPED"
    assert "up" in list(kept.logs())
    kept.remove()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Name a Space"),
        (["a/b", "--resume"], "--resume needs one --output FILE.json"),
        (["--file", "/no/such/file"], "cannot be read"),
        (["a/b", "--jobs", "0"], "--jobs"),
    ],
)
def test_what_cannot_be_meant(cli: Cli, words: list[str], said: str) -> None:
    done = cli("check", *words)
    assert done.returncode in (1, 2)
    assert said in done.stderr
