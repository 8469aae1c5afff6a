"""The command line, from outside: real processes, a real directory Space, real HTTP."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from spaces_runner.settings import Settings
from tests.support.cli import ROOT, Cli, drain, ending, environ_of, said
from tests.support.home import open_directory
from tests.support.share import Share

VERBS = ("run", "check", "inspect", "ps", "logs", "stop", "restart", "rm", "patch", "doctor", "prune")
README = "---\ntitle: Tiny\nsdk: gradio\nsdk_version: 6.31.0\napp_file: app.py\n---\n"
APP = """
import os, sys
import gradio as gr
print("arguments", sys.argv[1:], flush=True)
print("variable", os.environ.get("GREETING"), "secret", len(os.environ.get("API_KEY", "")), flush=True)
gr.Interface(lambda name: f"Hello {name}!", "text", "text", api_name="greet").launch()
"""
FAILING = 'import sys\nprint("no luck today", flush=True)\nsys.exit(3)\n'


@pytest.fixture
def cli(settings: Settings) -> Cli:
    return Cli(settings=settings)


@pytest.fixture
def live(shared_settings: Settings, share: Share) -> Iterator[Cli]:
    """A command line whose Spaces are gone at the end."""
    cli = Cli(settings=share.settings(shared_settings))
    yield cli
    ids = cli("ps", "--quiet").stdout.split()
    if ids:
        removed = cli("rm", "--force", *ids)
        assert removed.returncode == 0, removed.stderr


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory with a plain Gradio Space, called `tiny`."""
    parent = open_directory("sr-cli-")
    space = parent / "tiny"
    space.mkdir(mode=0o755)
    (space / "README.md").write_text(README)
    (space / "app.py").write_text(APP)
    yield space
    shutil.rmtree(parent)


def get(url: str) -> int:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return int(answer.status)


# What needs no Space.


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_explains_itself(cli: Cli, verb: str) -> None:
    done = cli(verb, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"Usage: spaces-runner {verb}")
    assert not done.stderr


def test_the_reference_is_what_the_code_says() -> None:
    script = ROOT / "scripts/generate-docs"
    done = subprocess.run(
        [sys.executable, str(script), "--check"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "args",
    [("nonsense",), ("run",), ("ps", "--nonsense"), ("stop",), ("stop", "x", "--all"), ("run", ".", "--env", "1=x")],
)
def test_a_misspelt_command_exits_with_2(cli: Cli, args: tuple[str, ...]) -> None:
    done = cli(*args)
    assert done.returncode == 2
    assert not done.stdout
    assert "Traceback" not in done.stderr


def test_a_setting_that_is_no_number_exits_with_2(cli: Cli) -> None:
    done = cli("ps", SPACES_RUNNER_LOG_BYTES="plenty")
    assert done.returncode == 2
    assert "SPACES_RUNNER_LOG_BYTES must be a whole number" in done.stderr


def test_what_names_no_space_gets_a_sentence(cli: Cli) -> None:
    done = cli("run", "not a space; rm -rf /", "--json")
    assert done.returncode == 1
    assert "CONFIG_ERROR" in done.stderr
    assert "hint:" in done.stderr
    assert "Traceback" not in done.stderr
    assert json.loads(done.stdout)["error"]["code"] == "bad_ref"
    assert cli.data("ps") == []


@pytest.mark.parametrize("verb", ["run", "inspect", "patch"])
def test_a_directory_without_its_dot_is_the_hub_and_that_is_said(cli: Cli, verb: str) -> None:
    done = cli(verb, "examples/hello-interface", HF_ENDPOINT="http://127.0.0.1:9")
    assert done.returncode == 1
    assert "the directory would be ./examples/hello-interface" in done.stderr
    assert "BUILD_ERROR in clone" in done.stderr


def test_nothing_runs_at_first(cli: Cli) -> None:
    assert cli.data("ps") == []
    done = cli("ps")
    assert (done.returncode, done.stdout) == (0, "")
    assert "No Spaces" in done.stderr


@pytest.mark.parametrize("verb", ["logs", "stop", "restart", "rm"])
def test_an_unknown_id_is_told(cli: Cli, verb: str) -> None:
    done = cli(verb, "nobody")
    assert done.returncode == 1
    assert "nobody" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_loads_nothing_heavy() -> None:
    heavy = ("gradio", "torch", "git", "libcst", "httpx", "huggingface_hub", "rich", "psutil", "sqlite3")
    code = f"""
import sys
import spaces_runner, spaces_runner.cli.app
try:
    spaces_runner.cli.app.app(["run", "--help"])
except SystemExit:
    pass
print([name for name in {heavy!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_doctor_says_what_it_found(cli: Cli) -> None:
    done = cli("doctor", HF_ENDPOINT="http://127.0.0.1:9", SPACES_RUNNER_SHARE_SERVER="http://127.0.0.1:9")
    assert done.returncode == 0, done.stdout
    assert re.search(r"^ok +git ", done.stdout, re.MULTILINE)
    assert re.search(r"^warn +hub ", done.stdout, re.MULTILINE)
    assert {check["name"] for check in cli.data("doctor")} >= {"git", "uv", "share-server"}


# What changes files.


def test_patch_prints_what_git_takes(cli: Cli, folder: Path) -> None:
    before = (folder / "app.py").read_text()
    done = cli("patch", str(folder))
    assert done.returncode == 0, done.stderr
    assert (
        '+gr.Interface(lambda name: f"Hello {name}!", "text", "text", api_name="greet").launch(share=True)'
        in done.stdout
    )
    assert "\x1b" not in done.stdout
    assert (folder / "app.py").read_text() == before
    subprocess.run(["git", "apply", "-"], input=done.stdout, text=True, cwd=folder, check=True, timeout=30)
    assert (folder / "app.py").read_text() == before.replace(".launch()", ".launch(share=True)")


def test_patch_writes_only_when_told(cli: Cli, folder: Path) -> None:
    done = cli("patch", str(folder / "app.py"), "--write")
    assert done.returncode == 0, done.stderr
    assert ".launch(share=True)" in (folder / "app.py").read_text()
    again = cli("patch", str(folder))
    assert (again.returncode, again.stdout) == (0, "")
    assert "Nothing to patch" in again.stderr


def test_patch_takes_a_folder_that_is_no_space(cli: Cli, folder: Path) -> None:
    (folder / "README.md").unlink()
    (folder / "app.py").rename(folder / "other.py")
    assert cli.data("patch", str(folder))["files"][0]["path"] == "other.py"


# What starts Spaces.


def test_a_space_runs_from_its_folder_to_its_removal(live: Cli, folder: Path) -> None:
    status = live.data(
        "run",
        str(folder),
        "--detach",
        "--env",
        "GREETING=hi",
        "--secret",
        "API_KEY=12345",
        "--",
        "--model",
        "x",
        timeout=400,
    )
    assert status["stage"] == "RUNNING"
    assert set(status) >= {
        "id", "space", "revision", "stage", "local_url", "share_url", "gpu", "started_at", "findings",
    }  # fmt: skip
    assert get(status["local_url"]) == 200
    assert get(status["share_url"]) == 200

    name = status["id"]
    logs = live("logs", name).stdout
    assert "arguments ['--model', 'x']" in logs
    assert "variable hi secret 5" in logs
    assert len(live("logs", name, "--tail", "1").stdout.splitlines()) == 1
    assert live("logs", name, "--build").stdout

    shown = live("ps").stdout.splitlines()
    assert shown[0].split() == ["ID", "SPACE", "STAGE", "AGE", "GPU", "LOCAL_URL", "SHARE_URL"]
    assert any(line.startswith(name) and "RUNNING" in line and status["local_url"] in line for line in shown[1:])

    refused = live("rm", name)
    assert refused.returncode == 1
    assert "hint:" in refused.stderr

    assert live.data("stop", name)[0]["stage"] == "STOPPED"
    with pytest.raises(OSError, match=r"refused|timed out|reset"):
        get(status["local_url"])
    assert name not in live("ps", "--running", "--quiet").stdout.split()

    again = live.data("restart", name, timeout=120)
    assert again["stage"] == "RUNNING"
    assert again["id"] == name
    assert get(again["local_url"]) == 200

    assert live("rm", "--force", name).returncode == 0
    assert live.data("ps") == []


def test_a_failure_says_why_and_what_next(live: Cli, folder: Path) -> None:
    (folder / "app.py").write_text(FAILING)
    done = live("run", str(folder), "--detach", "--json", timeout=400)
    assert done.returncode == 1
    status = json.loads(done.stdout)
    assert status["stage"] == "RUNTIME_ERROR"
    assert "no luck today" in done.stderr
    assert f"hint: spaces-runner logs {status['id']} --run" in done.stderr
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stderr


def test_a_folder_without_an_app_fails_before_anything_is_built(live: Cli, folder: Path) -> None:
    (folder / "app.py").unlink()
    done = live("run", str(folder), "--detach", "--json", timeout=60)
    assert done.returncode == 1
    assert json.loads(done.stdout)["stage"] == "NO_APP_FILE"
    assert "NO_APP_FILE in detect" in done.stderr


def test_inspect_shows_the_plan_and_starts_nothing(live: Cli, folder: Path) -> None:
    done = live("inspect", str(folder), timeout=200)
    assert done.returncode == 0, done.stderr
    for line in (r"^sdk +gradio 6\.31\.0$", r"^app file +app\.py$", r"^python +3\.", r"^environment +\d+ packages"):
        assert re.search(line, done.stdout, re.MULTILINE), done.stdout
    assert ".launch(share=True)" in done.stdout
    assert live.data("ps") == []
    plan = live.data("inspect", str(folder), timeout=200)
    assert plan["spec"]["app_file"] == "app.py"
    assert [(file["path"], file["lfs"]) for file in plan["files"]] == [("README.md", False), ("app.py", False)]
    assert "path" not in plan["checkout"], "the directory is gone by then"


def test_ctrl_c_stops_a_space_in_the_foreground(live: Cli, folder: Path) -> None:
    with ending(live.start("run", str(folder), "--no-share")) as command:
        url = said(command, r"Local +(http://\S+)", 400)
        assert get(url) == 200
        command.send_signal(signal.SIGINT)
        out, err = command.communicate(timeout=40)
    assert command.returncode == 130
    assert "arguments []" in out
    assert "Stopped" in err
    assert "environment" not in err, "a step is shown twice"
    assert [status["stage"] for status in live.data("ps")] == ["STOPPED"]


def test_a_space_that_is_stopped_elsewhere_ends_the_command(live: Cli, folder: Path) -> None:
    with ending(live.start("run", str(folder), "--no-share", "--name", "mine")) as command:
        said(command, r"Local +(http://\S+)", 400)
        name = live("ps", "--quiet").stdout.strip()
        assert live("stop", name).returncode == 0
        _, err = command.communicate(timeout=40)
    assert command.returncode == 0
    assert f"({name})" in err


def test_ctrl_c_leaves_a_space_that_was_there_before(live: Cli, folder: Path) -> None:
    first = live.data("run", str(folder), "--no-share", "--detach", timeout=400)
    with ending(live.start("run", str(folder), "--no-share")) as command:
        assert said(command, r"Local +(http://\S+)", 60) == first["local_url"]
        said(command, r"(Ctrl-C leaves it running)", 10)
        command.send_signal(signal.SIGINT)
        command.communicate(timeout=20)
    assert command.returncode == 130
    assert get(first["local_url"]) == 200
    line = json.loads(live("logs", first["id"], "--json", "--tail", "1").stdout)
    assert set(line) == {"line"}


def test_removing_is_all_or_nothing(live: Cli, folder: Path) -> None:
    busy = live.data("run", str(folder), "--no-share", "--detach", timeout=400)["id"]
    absent = live("run", str(folder), "--name", "third", "--gpu", "77", "--detach")
    assert absent.returncode == 1
    assert "no GPU '77' on this machine. There: " in absent.stderr
    assert "third" not in live("ps").stdout
    (folder / "README.md").write_text("---\nsdk: nonsense\n---\n")
    assert live("run", str(folder), "--name", "other", "--detach").returncode == 1
    assert live("rm", "other", busy).returncode == 1
    assert len(live.data("ps")) == 2
    assert live("rm", "--force", "other", busy).returncode == 0
    assert live.data("ps") == []


def test_ctrl_c_leaves_a_space_in_the_background(live: Cli, folder: Path) -> None:
    name = live("run", str(folder), "--no-share", "--no-wait").stdout.strip()
    with ending(live.start("logs", name, "--follow")) as command:
        time.sleep(1)  # for the command to be at it; it says nothing by then
        command.send_signal(signal.SIGINT)
        command.communicate(timeout=20)
    assert command.returncode == 130
    assert live.data("ps")[0]["stage"] in ("BUILDING", "APP_STARTING", "RUNNING")


def test_a_terminal_gets_a_moving_line_and_links(live: Cli, folder: Path) -> None:
    ours, theirs = pty.openpty()
    argv = live.argv("run", str(folder), "--detach", "--no-share")
    environ = environ_of(live.settings, TERM="xterm-256color")
    command = subprocess.Popen(argv, env=environ, cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    chunks: list[bytes] = []
    reader = threading.Thread(target=drain, args=(ours, chunks), daemon=True)
    reader.start()
    assert command.wait(timeout=400) == 0
    reader.join(timeout=5)
    os.close(ours)
    screen = b"".join(chunks).decode()
    assert "\x1b[" in screen
    assert "environment" in screen
    assert re.search(r"Local +http://127", screen)
