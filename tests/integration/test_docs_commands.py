"""Every command of the documentation, typed in order in a fresh clone; what cannot run here is checked for its shape.

A page is a session of its own: it begins in the clone that the README makes, with its environment activated. What a
page leaves running is stopped behind it. Blocks of Python and TOML are looked at, too.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from app.inference import catalog
from app.inference.catalog import Preset
from spaces_runner import control, core, looking
from spaces_runner.settings import Settings
from tests.docs import machine, shape
from tests.docs.blocks import LANGUAGES, ROOT, Block, blocks, commands, pages
from tests.docs.elsewhere import ELSEWHERE, STAYS, elsewhere, stays
from tests.docs.machine import Shell
from tests.support.cases import read_case
from tests.support.cli import environ_of
from tests.support.home import make_settings, open_directory
from tests.support.hub import serve_hub
from tests.support.share import Share

PAGES = pages()
STORIES = tuple(page for page in PAGES if any(block.is_typed for block in blocks(page)))
COMMANDS = tuple(command for page in PAGES for block in blocks(page) if block.is_typed for command in commands(block))
HELLO = 'import gradio as gr\n\ngr.Interface(lambda name: f"Hello {name}!", "text", "text").launch()\n'
SDK = "---\ntitle: Hello world\nsdk: gradio\nsdk_version: 6.31.0\n---\n"
DATA = ROOT / "spaces_runner" / "data"


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Where a new user sits: a directory with a clone, settings, and the variables of a shell."""

    clone: Path
    settings: Settings
    environ: dict[str, str]

    def at_hand(self, command: str) -> str:
        """The command with what a user fills in, or has on another machine, put in its place."""
        return command.replace("<this repository>", str(ROOT)).replace("/workspace/spaces-runner", self.settings.home)

    def shell(self, page: Path, kept: Path) -> Shell:
        """The README begins beside the clone that it is about to make; the other pages in the one it made."""
        return Shell(cwd=kept if page.name == "README.md" else self.clone, environ=dict(self.environ), kept=kept)


@pytest.fixture(scope="module")
def machine_settings(package_cache: Path) -> Iterator[Settings]:
    """One machine for all pages, so that an environment is made once; its Hub has what the pages paste."""
    home = open_directory("sr-docs-")
    with serve_hub() as hub:
        files = {"README.md": SDK, "app.py": HELLO}
        hub.add_space("gradio/hello_world", files)
        hub.add_space("you/your-private-space", files, private=True)
        hub.accept("hf_example")
        settings = hub.settings(make_settings(home, package_cache))
        machine.clone(home / "spaces-runner")
        yield settings
    machine.remove(home)


@pytest.fixture
def desk(machine_settings: Settings, share: Share) -> Iterator[Desk]:
    settings = share.settings(machine_settings)
    clone = settings.home_dir / "spaces-runner"
    environ = environ_of(settings, CUDA_VISIBLE_DEVICES="", HF_HUB_OFFLINE="1", GIT_TERMINAL_PROMPT="0")
    environ["PATH"] = machine.path_with(environ, clone / ".venv" / "bin")
    environ.pop("VIRTUAL_ENV", None)
    yield Desk(clone=clone, settings=settings, environ=environ)
    for status in looking.statuses(settings):
        control.remove(status.id, settings)
    core.stop(settings)  # what a page says of its start would be about one that runs already


@pytest.mark.network_index
@pytest.mark.parametrize("page", STORIES, ids=[str(page.relative_to(ROOT)) for page in STORIES])
def test_its_commands_work(desk: Desk, page: Path, tmp_path: Path) -> None:
    shell = desk.shell(page, tmp_path)
    for block in blocks(page):
        if block.is_typed:
            for command in commands(block):
                _type(shell, desk.at_hand(command.text))
        elif block.language == "python" and _for_people(page):
            shell.run_python(block.text)


def _type(shell: Shell, command: str) -> None:
    if elsewhere(command):
        shape.check(command)
    elif row := stays(command):
        shell.type_until(command, row)
    else:
        shell.type(command)
        if command.startswith("git clone"):
            machine.furnish(shell.cwd)


def _for_people(page: Path) -> bool:
    """Pages whose Python is typed by users; elsewhere it is a part of a module to be written."""
    return page.name in {"README.md", "tutorial.md"} or page.parent.name == "how-to"


def test_every_block_has_a_language_that_is_looked_at() -> None:
    odd = [
        f"{block.place}: {block.language!r}"
        for page in PAGES
        for block in blocks(page)
        if block.language not in LANGUAGES
    ]
    assert odd == []


def test_what_cannot_run_here_is_still_in_the_pages_and_stands_for_its_reason() -> None:
    typed = [command.text for command in COMMANDS]
    idle = [row.pattern for row in (*ELSEWHERE, *STAYS) if not any(re.match(row.pattern, text) for text in typed)]
    assert idle == []
    assert len({row.reason for row in ELSEWHERE}) == len(ELSEWHERE)


@pytest.mark.parametrize(
    "command",
    [
        "spaces-runner start gradio/hello_world",
        "spaces-runner run gradio/hello_world --detatch",
        "spaces-runner run",
        "spaces-runner core key make laptop",
        "spaces-runner logs hello -n many",
        "spaces-runner core start --thraeds 2",
        "scripts/bnech core",
        "spaces-runnner ps",
        "docker exec -it CONTAINER spaces-runner pss",
        "docker run --gpus all spaces-runner --shared",
    ],
)
def test_a_misspelt_command_is_found(command: str) -> None:
    with pytest.raises(shape.Misspelt):
        shape.check(command)


def test_a_command_that_could_run_is_let_through() -> None:
    for command in COMMANDS:
        if elsewhere(command.text):
            shape.check(command.text)


def test_commands_are_read_as_bash_reads_them() -> None:
    text = "# first\ncd a && \\\n  ls\n\ncurl -d '{\n}' x  # told\ncat <<E\nhello\nE\n"
    block = Block(page="a.md", line=10, language="sh", text=text)
    found = [(command.line, command.text) for command in commands(block)]
    assert found == [(11, "cd a && \\\n  ls"), (14, "curl -d '{\n}' x  # told"), (16, "cat <<E\nhello\nE")]


PYTHON = tuple(block for page in PAGES for block in blocks(page, "python"))
TOML = tuple(block for page in PAGES for block in blocks(page, "toml"))


@pytest.mark.parametrize("block", PYTHON, ids=[block.place for block in PYTHON])
def test_its_python_is_python(block: Block) -> None:
    compile(block.text, block.place, "exec", dont_inherit=True)


@pytest.mark.parametrize("block", TOML, ids=[block.place for block in TOML])
def test_its_toml_can_be_meant(block: Block, tmp_path: Path) -> None:
    said = tomllib.loads(block.text)
    if said.keys() & {"models", "presets", "models_dir"}:
        file = tmp_path / "own.toml"
        file.write_text(block.text)
        for preset in Preset:
            assert catalog.read(preset, file)
    else:
        _check_rows(said, block.text, tmp_path)


def _check_rows(said: dict[str, Any], text: str, place: Path) -> None:
    """A case as the corpus reads it, or rows that stand in the tables as they are shown."""
    if "expect" in said:
        folder = place / "a-case"
        folder.mkdir()
        (folder / "case.toml").write_text(text)
        assert read_case(folder).stage
        return
    tables = [tomllib.loads(path.read_text()) for path in sorted(DATA.glob("*.toml"))]
    for name, rows in said.items():
        for row in rows:
            assert any(row in table.get(name, ()) for table in tables), f"no table has this row: {row}"


LINKS = tuple(
    (page, target)
    for page in PAGES
    for target in re.findall(r"\]\((?!https?:|#|mailto:|data:)([^)\s]+)\)", page.read_text(encoding="utf-8"))
)


def test_its_links_lead_somewhere() -> None:
    lost = [f"{page.name}: {target}" for page, target in LINKS if not (page.parent / target.partition("#")[0]).exists()]
    assert lost == []
