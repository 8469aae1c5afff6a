"""The files of a Space: which are patched, that every other byte stays, what is said of the rest, what is written."""

import subprocess
from pathlib import Path

import pytest

from spaces_runner.errors import PatchError
from spaces_runner.patch.source import patch_tree
from spaces_runner.patch.writing import apply
from spaces_runner.types import Patch, PatchedFile, Sdk, SpaceSpec

GR = "import gradio as gr\n"
DEMO = GR + "demo = gr.Interface(f, 'text', 'text')\n"


def spec(app_file: str = "app.py") -> SpaceSpec:
    return SpaceSpec(sdk=Sdk.GRADIO, app_file=app_file)


def tree(root: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


TREES: dict[str, tuple[dict[str, str | bytes], set[str]]] = {
    "object from another module": (
        {"app.py": "from ui import demo\ndemo.launch()\n", "ui.py": GR + "demo = gr.Blocks()\n"},
        {"app.py"},
    ),
    "module attribute": (
        {"app.py": "import ui\nui.demo.launch()\n", "ui.py": GR + "demo = gr.Blocks()\n"},
        {"app.py"},
    ),
    "function of a package": (
        {
            "app.py": "from src.ui.build import make\nmake().launch()\n",
            "src/ui/build.py": GR + "def make():\n    return gr.Blocks()\n",
        },
        {"app.py"},
    ),
    "relative import": (
        {
            "app.py": "import pkg.main\n",
            "pkg/__init__.py": "",
            "pkg/main.py": "from .ui import demo\ndemo.launch()\n",
            "pkg/ui.py": GR + "demo = gr.Blocks()\n",
        },
        {"pkg/main.py"},
    ),
    "import through a package's __init__": (
        {
            "app.py": "from pkg import demo\ndemo.launch()\n",
            "pkg/__init__.py": "from .ui import *\n",
            "pkg/ui.py": GR + "demo = gr.Blocks()\n",
        },
        {"app.py"},
    ),
    "launched in another module": (
        {
            "app.py": "from serve import go\nfrom ui import demo\ngo(demo)\n",
            "serve.py": "def go(x):\n    x.launch()\n",
            "ui.py": GR + "demo = gr.Blocks()\n",
        },
        {"serve.py"},
    ),
    "handed to a class of another module": (
        {
            "app.py": GR + "from serve import Server\nServer(gr.Blocks()).run()\n",
            "serve.py": "class Server:\n    def __init__(self, ui):\n        self.ui = ui\n"
            "    def run(self):\n        self.ui.launch()\n",
        },
        {"serve.py"},
    ),
    "started as a child": (
        {"app.py": "import os\nos.system('python web/server.py')\n", "web/server.py": GR + "gr.Blocks().launch()\n"},
        {"web/server.py"},
    ),
    "app file in a folder": (
        {"demo/app.py": "from ui import demo\ndemo.launch()\n", "demo/ui.py": GR + "demo = gr.Blocks()\n"},
        {"demo/app.py"},
    ),
    "modules that import each other": (
        {"app.py": "from b import demo\ndemo.launch()\n", "b.py": "from app import demo\n"},
        set(),
    ),
    "other people's packages": (
        {
            "app.py": DEMO + "demo.launch()\n",
            "venv/lib/x.py": DEMO + "demo.launch()\n",
            "node_modules/x.py": DEMO + "demo.launch()\n",
        },
        {"app.py"},
    ),
}


@pytest.mark.parametrize(("files", "changed"), TREES.values(), ids=TREES)
def test_tree(tmp_path: Path, files: dict[str, str | bytes], changed: set[str]) -> None:
    root = tree(tmp_path, files)
    app_file = next(name for name in files if name.endswith("app.py"))
    patch = patch_tree(root, spec(app_file))
    assert {file.path for file in patch.files} == changed
    apply(patch, root)
    assert patch_tree(root, spec(app_file)).files == ()


ENCODINGS = {
    "UTF-8": "é🤗".join([DEMO + "# ", "\ndemo.launch()\n"]).encode(),
    "byte order mark": b"\xef\xbb\xbf" + (DEMO + "demo.launch()\n").encode(),
    "declared Latin-1": b"# -*- coding: latin-1 -*-\n" + (DEMO + "x = '").encode() + b"\xe9'; demo.launch()\n",
    "Windows line ends": (DEMO + "demo.launch(\n)\n").replace("\n", "\r\n").encode(),
    "mixed line ends": (DEMO + "demo.launch()\r\nx = 1\ny = 2\r\n").encode(),
    "form feed": (DEMO + "\x0c\ndemo.launch()\n").encode(),
    "no line end at the end": (DEMO + "demo.launch()").encode(),
    "tabs": (GR + "if 1:\n\tx = gr.Blocks()\n\tx.launch()\n").encode(),
}


@pytest.mark.parametrize("content", ENCODINGS.values(), ids=ENCODINGS)
def test_every_other_byte_stays(tmp_path: Path, content: bytes) -> None:
    root = tree(tmp_path, {"app.py": content})
    (root / "app.py").chmod(0o755)
    apply(patch_tree(root, spec()), root)
    written = (root / "app.py").read_bytes()
    assert written != content
    assert written.replace(b"share=True", b"") == content
    assert (root / "app.py").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("name", ["plain", "no line end at the end", "Windows line ends"])
def test_git_applies_the_diff(tmp_path: Path, name: str) -> None:
    content = ENCODINGS.get(name, (DEMO + "demo.launch()\n").encode())
    patch = patch_tree(tree(tmp_path, {"app.py": content}), spec())
    (tmp_path / "x.patch").write_bytes(patch.diff.encode())
    subprocess.run(["git", "apply", "--unsafe-paths", f"--directory={tmp_path}", "x.patch"], cwd=tmp_path, check=True)
    assert (tmp_path / "app.py").read_bytes() == patch.files[0].source.encode()


FINDINGS = {
    "arguments unpacked": (DEMO + "demo.launch(*args)\n", "launch-at-run-time"),
    "handed on": (DEMO + "import threading\nthreading.Thread(target=demo.launch).start()\n", "launch-at-run-time"),
    "unknown object": (GR + "from elsewhere import make\nmake().launch()\n", "launch-at-run-time"),
    "unknown with share": (GR + "from elsewhere import make\nmake().launch(share=0)\n", "launch-at-run-time"),
    "Python 2": (DEMO + "print 'x'\ndemo.launch()\n", "not-patched"),
    "a very large file": (DEMO + "demo.launch()\n" + "x = 1\n" * 50_000, "not-patched"),
    "broken encoding": (b"# -*- coding: nonsense -*-\nlaunch", "not-patched"),
}


@pytest.mark.parametrize(("content", "code"), FINDINGS.values(), ids=FINDINGS)
def test_what_is_left_to_run_time_is_said(tmp_path: Path, content: str | bytes, code: str) -> None:
    patch = patch_tree(tree(tmp_path, {"app.py": content}), spec())
    assert patch.files == ()
    assert [finding.code for finding in patch.findings] == [code]
    assert "app.py" in patch.findings[0].message


def test_apply_does_not_follow_a_link_out(tmp_path: Path) -> None:
    outside = tmp_path / "outside.py"
    outside.write_text(DEMO + "demo.launch()\n")
    root = tmp_path / "space"
    root.mkdir()
    (root / "app.py").symlink_to(outside)
    assert patch_tree(root, spec()).files == ()
    with pytest.raises(PatchError):
        apply(Patch(files=(PatchedFile(path="app.py", source="", diff=""),)), root)
    assert outside.read_text().endswith("demo.launch()\n")


def test_apply_leaves_hard_linked_twins(tmp_path: Path) -> None:
    root = tree(tmp_path / "space", {"app.py": DEMO + "demo.launch()\n"})
    twin = tmp_path / "twin.py"
    twin.hardlink_to(root / "app.py")
    apply(patch_tree(root, spec()), root)
    assert "share=True" in (root / "app.py").read_text()
    assert "share=True" not in twin.read_text()
