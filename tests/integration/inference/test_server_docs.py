"""The reference of the API: its lines are run as they stand, and no route is missing."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.inference.types import Family
from tests.support.inference_server import TOKEN, ScriptedService, card, serving

REFERENCE = (Path(__file__).parents[3] / "docs" / "reference" / "http-api.md").read_text()
BLOCKS = re.findall(r"^```bash\n(.*?)^```$", REFERENCE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def core() -> Iterator[str]:
    cards = (
        card("guanaco-7b", prompt="guanaco"),
        card("mpt-7b-storywriter", family=Family.MPT, weights="other", prompt="mpt-storywriter"),
        card("llava-1.5-7b", family=Family.LLAVA, weights="another", prompt="llava"),
    )
    with serving(ScriptedService(offered=cards)) as address:
        yield address


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_its_lines_work(core: str, block: str) -> None:
    environ = {"PATH": os.environ["PATH"], "CORE": core, "TOKEN": TOKEN, "no_proxy": "127.0.0.1"}
    done = subprocess.run(["bash", "-ec", block], env=environ, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_route_has_a_line(core: str) -> None:
    lines = "\n".join(BLOCKS)
    for path in httpx.get(f"{core}/openapi.json").json()["paths"]:
        pattern = re.escape(f"$CORE{path}").replace(r"\{name\}", "[a-z0-9.-]+").replace(r"\{model\}", "[a-z0-9.-]+")
        assert re.search(f'{pattern}"', lines), path


def test_every_metric_is_named(core: str) -> None:
    said = httpx.get(f"{core}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).text
    names = {line.split()[2] for line in said.splitlines() if line.startswith("# TYPE") and "_created" not in line}
    assert {name for name in names if f"`{name}`" not in REFERENCE} == set()
