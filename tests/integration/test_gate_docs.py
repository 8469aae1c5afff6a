"""What docs/reference/http-api.md says to programs at the page's link: its lines are run as they stand, in order."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.inference import catalog
from app.inference.catalog import Preset
from spaces_runner import looking, stopping
from spaces_runner.core import keys
from spaces_runner.settings import Settings
from tests.support.inference_server import TOKEN as CORE_TOKEN
from tests.support.inference_server import ScriptedService
from tests.support.inference_server import serving as serving_core
from tests.support.web import ROOT, TOKEN, WebServer, serving

pytestmark = pytest.mark.network_index

REFERENCE = (ROOT / "docs" / "reference" / "http-api.md").read_text().partition("## Through the page's link")[2]
VARIABLES, *LINES = re.findall(r"^```python\n(.*?)^```$", REFERENCE, re.MULTILINE | re.DOTALL)
SPACE = ROOT / "tests" / "spaces" / "serve-standard-library"
DEADLINE_S = 400


@pytest.fixture
def service() -> ScriptedService:
    return ScriptedService(offered=catalog.read(Preset.DEMO))


@pytest.fixture
def server(service: ScriptedService, shared_settings: Settings, tmp_path: Path) -> Iterator[WebServer]:
    settings = replace(shared_settings, share_server="http://127.0.0.1:9/unreachable")
    said = {"SPACES_RUNNER_CORE_TOKEN": CORE_TOKEN}
    with serving_core(service) as address, serving(settings, tmp_path, ["--core", address], said) as started:
        yield started
    for status in looking.statuses(settings):
        stopping.stop(status.id, settings)


def test_its_lines_work(server: WebServer, service: ScriptedService, shared_settings: Settings) -> None:
    key = keys.issue(shared_settings, "docs")
    said = {"LINK": server.url, "KEY": key, "TOKEN": TOKEN, "SPACE": str(SPACE)}
    assert set(re.findall(r"^(\w+) =", VARIABLES, re.MULTILINE)) == set(said)
    script = "\n".join([*(f"{name} = {value!r}" for name, value in said.items()), *LINES])
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=DEADLINE_S, check=False, cwd=ROOT
    )
    keys.withdraw(shared_settings, "docs")
    assert done.returncode == 0, done.stdout + done.stderr + server.output()
    told = done.stdout
    assert told.count("Hello there!") >= 4, "by each of the clients"
    assert "RUNNING http://127.0.0.1:" in told
    assert "['docs', 'notebook']" in told
    assert looking.statuses(shared_settings) == (), "it was removed at the end"
    assert {request.client.partition("/guest")[0] for request in service.requests} >= {
        "owner/program:docs", "owner/owner",
    }  # fmt: skip


def test_every_endpoint_has_a_line() -> None:
    lines = "".join(LINES)
    named = re.findall(r"`(/\w+)`", REFERENCE.partition("| endpoint |")[2].partition("\n\n")[0])
    assert len(named) == 12
    assert [name for name in named if f'api_name="{name}"' not in lines] == []
