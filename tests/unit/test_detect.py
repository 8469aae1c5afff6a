"""What a checkout says about itself, as people write it."""

# ruff: noqa: E501 - one row of a table a line

from pathlib import Path

import pytest

from spaces_runner.detect import detect
from spaces_runner.distributions import missing_imports
from spaces_runner.errors import BadFrontMatter, NoAppFile, RunnerError, UnknownSdk
from spaces_runner.types import Checkout, Finding, RefKind, RunOptions, Sdk, Severity, SpaceRef, SpaceSpec

GRADIO = "import gradio as gr\ngr.Interface(len, 'text', 'number').launch()\n"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"


def checkout(root: Path, files: dict[str, str | bytes]) -> Checkout:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return Checkout(ref=SpaceRef(kind=RefKind.DIRECTORY, source=str(root)), commit="0" * 40, path=str(root))


def look(root: Path, files: dict[str, str | bytes], options: RunOptions | None = None) -> SpaceSpec:
    return detect(checkout(root, files), options or RunOptions())


def readme(**keys: str) -> str:
    return "---\n" + "".join(f"{key}: {value}\n" for key, value in keys.items()) + "---\n"


def codes(spec: SpaceSpec) -> list[str]:
    return [finding.code for finding in spec.findings]


def finding(spec: SpaceSpec, code: str) -> Finding:
    return next(found for found in spec.findings if found.code == code)


def test_front_matter(tmp_path: Path) -> None:
    text = readme(title="My App", emoji="🦀", sdk="gradio", sdk_version="3.10", python_version="3.10", app_file="src/run.py",
                  base_path="/ui", suggested_hardware="a10g-small", startup_duration_timeout="1h",
                  models="[a/b, c/d]", preload_from_hub='["x/y f1,f2"]')  # fmt: skip
    spec = look(
        tmp_path, {"README.md": text, "src/run.py": GRADIO, "requirements.txt": "torch\n", "packages.txt": "ffmpeg\n"}
    )
    assert spec.sdk is Sdk.GRADIO
    assert (spec.sdk_version, spec.python_version) == ("3.10", "3.10")
    assert (spec.app_file, spec.base_path) == ("src/run.py", "/ui")
    assert (spec.title, spec.emoji) == ("My App", "🦀")
    assert (spec.requirements, spec.pre_requirements, spec.packages) == ("requirements.txt", None, ("ffmpeg",))
    assert (spec.models, spec.preload) == (("a/b", "c/d"), ("x/y f1,f2",))
    assert spec.suggested_hardware == "a10g-small"
    assert spec.startup_timeout_s == 3600
    assert spec.imports == ("gradio",)


DURATIONS = {"1h": 3600, "30m": 1800, "90s": 90, "1h 30m": 5400, "45": 45, "soon": 1800, "": 1800, "99d": 86400}


@pytest.mark.parametrize(("text", "seconds"), DURATIONS.items())
def test_startup_timeout(tmp_path: Path, text: str, seconds: float) -> None:
    spec = look(tmp_path, {"README.md": readme(sdk="gradio", startup_duration_timeout=text), "app.py": GRADIO})
    assert spec.startup_timeout_s == seconds


SDKS: dict[str, tuple[dict[str, str | bytes], Sdk, str]] = {
    "gradio": ({"README.md": readme(sdk="gradio"), "app.py": GRADIO}, Sdk.GRADIO, "app.py"),
    "streamlit": ({"README.md": readme(sdk="streamlit"), "app.py": "import streamlit"}, Sdk.STREAMLIT, "app.py"),
    "static": ({"README.md": readme(sdk="static"), "index.html": ""}, Sdk.STATIC, "index.html"),
    "static in a folder": (
        {"README.md": readme(sdk="static", app_file="dist/index.html"), "dist/index.html": ""},
        Sdk.STATIC,
        "dist/index.html",
    ),
    "docker": ({"README.md": readme(sdk="docker"), "Dockerfile": "FROM x"}, Sdk.DOCKER, "Dockerfile"),
    "capital letters": ({"README.md": readme(sdk="Gradio"), "app.py": GRADIO}, Sdk.GRADIO, "app.py"),
    "readme in small letters": ({"readme.md": readme(sdk="static"), "index.html": ""}, Sdk.STATIC, "index.html"),
    "byte order mark and Windows lines": (
        {"README.md": "\ufeff" + readme(sdk="static").replace("\n", "\r\n"), "index.html": ""},
        Sdk.STATIC,
        "index.html",
    ),
    "not said, code imports gradio": ({"README.md": "# Hello\n", "app.py": GRADIO}, Sdk.GRADIO, "app.py"),
    "not said, code imports streamlit": ({"app.py": "import streamlit as st\n"}, Sdk.STREAMLIT, "app.py"),
    "not said, a Dockerfile": ({"Dockerfile": "FROM x"}, Sdk.DOCKER, "Dockerfile"),
    "not said, a page": ({"index.html": "<p>"}, Sdk.STATIC, "index.html"),
    "no readme, the one script that launches": ({"web.py": GRADIO, "util.py": "x = 1\n"}, Sdk.GRADIO, "web.py"),
    "no readme, app.py before others": ({"web.py": GRADIO, "app.py": GRADIO}, Sdk.GRADIO, "app.py"),
    "app file with ./": ({"README.md": readme(sdk="gradio", app_file="./x/../a.py"), "a.py": GRADIO, "x/b.py": ""}, Sdk.GRADIO, "a.py"),
    "app file with blanks": ({"README.md": readme(sdk="gradio", app_file="my app.py"), "my app.py": GRADIO}, Sdk.GRADIO, "my app.py"),
}  # fmt: skip


@pytest.mark.parametrize(("files", "sdk", "app_file"), SDKS.values(), ids=SDKS)
def test_kind_and_app_file(tmp_path: Path, files: dict[str, str | bytes], sdk: Sdk, app_file: str) -> None:
    spec = look(tmp_path, files)
    assert (spec.sdk, spec.app_file) == (sdk, app_file)


def test_a_static_space_has_the_headers_of_the_hub_and_may_be_built_first(tmp_path: Path) -> None:
    said = readme(sdk="static", app_file="./dist/index.html", app_build_command="npm run build").removesuffix("---\n")
    headers = "custom_headers:\n  Cross-Origin-Opener-Policy: same-origin\n  x-frame-options: deny\n---\n"
    spec = look(tmp_path, {"README.md": said + headers})
    assert (spec.app_file, spec.build_command) == ("dist/index.html", "npm run build")
    assert spec.headers == {"cross-origin-opener-policy": "same-origin"}
    assert "x-frame-options" in finding(spec, "setting-ignored").message


ERRORS: dict[str, tuple[dict[str, str | bytes], type[RunnerError], str, str]] = {
    "unknown kind": ({"README.md": readme(sdk="shiny"), "app.py": ""}, UnknownSdk, "shiny", "docker, gradio, static, streamlit"),
    "kind read as text": ({"README.md": readme(sdk="no"), "app.py": ""}, UnknownSdk, "no", "gradio"),
    "bad front matter": ({"README.md": "---\n- a\n---\n"}, BadFrontMatter, "line 2", "README.md"),
    "missing app file": ({"README.md": readme(sdk="gradio"), "main.py": GRADIO, "a.py": ""}, NoAppFile, "app.py", "main.py, a.py"),
    "missing named file": ({"README.md": readme(sdk="gradio", app_file="x.py"), "app.py": GRADIO}, NoAppFile, "x.py", "app.py"),
    "outside": ({"README.md": readme(sdk="gradio", app_file="../../etc/passwd")}, NoAppFile, "leads out", "repository"),
    "a folder": ({"README.md": readme(sdk="gradio", app_file="src"), "src/app.py": GRADIO}, NoAppFile, "src", "src/app.py"),
    "docker without Dockerfile": ({"README.md": readme(sdk="docker"), "app.py": ""}, NoAppFile, "Dockerfile", "app.py"),
    "nothing at all": ({}, NoAppFile, "app.py", "no .py file"),
    "two scripts and no readme": ({"a.py": GRADIO, "b.py": GRADIO}, NoAppFile, "app.py", "a.py, b.py"),
    "a name too long": ({"README.md": readme(sdk="gradio", app_file="x" * 3000)}, NoAppFile, "x", "repository"),
    "a built file outside": ({"README.md": readme(sdk="static", app_build_command="x", app_file="../x")}, NoAppFile, "leads out", "repository"),
    "a list": ({"README.md": readme(sdk="gradio", app_file="[a.py, b.py]"), "a.py": GRADIO}, NoAppFile, "app.py", "a.py"),
}  # fmt: skip


@pytest.mark.parametrize(("files", "error", "said", "hinted"), ERRORS.values(), ids=ERRORS)
def test_errors(
    tmp_path: Path, files: dict[str, str | bytes], error: type[RunnerError], said: str, hinted: str
) -> None:
    with pytest.raises(error) as caught:
        look(tmp_path, files)
    assert said in caught.value.message
    assert hinted in caught.value.hint


def test_an_app_file_that_is_missing_is_told_with_the_files_that_are_there(tmp_path: Path) -> None:
    files = {f"part{number:02}.py": "" for number in range(22)}
    with pytest.raises(NoAppFile) as caught:
        look(tmp_path, {"README.md": readme(sdk="gradio", app_file="gone.py"), "src/main.py": GRADIO, **files})
    assert caught.value.lines[:3] == ("asked for: gone.py", "there is: src/main.py", "there is: part00.py")
    assert caught.value.lines[-1] == "and 3 more"
    (tmp_path / "web").mkdir()
    with pytest.raises(NoAppFile) as caught:
        look(tmp_path / "web", {"README.md": readme(sdk="static")})
    assert caught.value.lines == ("asked for: index.html", "there is: no .html file")


def test_an_app_file_that_is_a_link_out_is_refused(tmp_path: Path) -> None:
    (tmp_path / "outside.py").write_text(GRADIO)
    space = tmp_path / "space"
    space.mkdir()
    (space / "app.py").symlink_to(tmp_path / "outside.py")
    with pytest.raises(NoAppFile, match="leads out"):
        look(space, {"README.md": readme(sdk="gradio")})


def test_versions_that_are_none_are_ignored_and_said(tmp_path: Path) -> None:
    text = readme(sdk="gradio", sdk_version="latest", python_version="2.7; rm -rf /")
    spec = look(tmp_path, {"README.md": text, "app.py": GRADIO})
    assert (spec.sdk_version, spec.python_version) == (None, None)
    assert codes(spec) == ["setting-ignored", "setting-ignored"]


def test_imports_are_followed_through_the_tree(tmp_path: Path) -> None:
    spec = look(tmp_path, {
        "app.py": "import os, json, gradio as gr, cv2\nfrom helper import x\nfrom pkg.deep import y\nimport importlib\n"
                  "importlib.import_module('sklearn.svm')\nos.system('python tools/serve.py')\n",
        "helper.py": "import requests\nfrom . import never\n",
        "pkg/__init__.py": "import yaml\n",
        "pkg/deep.py": "from .near import z\nfrom .. import helper\n",
        "pkg/near.py": "import torch.nn as nn\n",
        "tools/serve.py": "import fastapi\n",
        "unused.py": "import tensorflow\n",
        "README.md": readme(sdk="gradio"),
    })  # fmt: skip
    assert spec.imports == ("cv2", "fastapi", "gradio", "requests", "sklearn", "torch", "yaml")


def test_imports_with_a_way_out_are_none(tmp_path: Path) -> None:
    code = (
        "try:\n    import flash_attn\nexcept ImportError:\n    import xformers\n"
        "try:\n    import tomllib\nexcept:\n    tomllib = None\n"
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import pandas\nimport gradio\n"
    )
    assert look(tmp_path, {"app.py": code}).imports == ("gradio",)


def test_imports_that_nothing_provides(tmp_path: Path) -> None:
    code = "import gradio, numpy, cv2, PIL, transformers, tokenizers, sklearn, nowhere, spaces\n"
    files: dict[str, str | bytes] = {"app.py": code, "requirements.txt": "opencv-python-headless\nTransformers>=4\n"}
    found = finding(look(tmp_path, files), "unlisted-import")
    assert found.severity is Severity.WARNING
    assert "nowhere (app.py, line 1), sklearn (app.py, line 1)." in found.message
    assert found.remedy.endswith("nowhere scikit-learn.")


def test_missing_imports_against_everything_installed() -> None:
    assert missing_imports(["yaml", "PIL", "gradio"], ["PyYAML", "pillow"], hub=False) == ("gradio",)


def test_unreadable_requirements_are_the_next_stage_s_error(tmp_path: Path) -> None:
    spec = look(tmp_path, {"app.py": GRADIO, "requirements.txt": "not a requirement\n"})
    assert spec.requirements == "requirements.txt"
    assert codes(spec) == []


SECRETS: dict[str, tuple[str, set[str]]] = {
    "subscript": ("import os\nx = os.environ['API_KEY']\n", {"API_KEY"}),
    "subscript stripped": ("from os import environ\nx = environ['A_KEY'].strip()\n", {"A_KEY"}),
    "getenv that must not be None": ("import os\nx = os.getenv('A_KEY').strip()\n", {"A_KEY"}),
    "in a function": ("import os\ndef f():\n    return os.environ['A_KEY']\n", {"A_KEY"}),
    "in an f-string": ("import os\nx = f\"Bearer {os.environ['A_KEY']}\"\n", {"A_KEY"}),
    "pop": ("import os\nx = os.environ.pop('A_KEY')\n", {"A_KEY"}),
    "in a helper": ("import helper\n", {"HELPER_KEY"}),
    "with a default": ("import os\nx = os.getenv('A_KEY', '')\ny = os.environ.get('B_KEY')\n", set()),
    "asked for before": ("import os\nif 'A_KEY' in os.environ:\n    x = os.environ['A_KEY']\n", set()),
    "asked for in line": ("import os\nx = os.environ['A_KEY'] if os.getenv('A_KEY') else ''\n", set()),
    "caught": ("import os\ntry:\n    x = os.environ['A_KEY']\nexcept KeyError:\n    x = ''\n", set()),
    "set by the code": ("import os\nos.environ['A_KEY'] = 'x'\ny = os.environ['A_KEY']\n", set()),
    "set by default": ("import os\nos.environ.setdefault('A_KEY', 'x')\ny = os.environ['A_KEY']\n", set()),
    "set for a child": ("import subprocess\nsubprocess.run('MODE=ui python child.py', shell=True)\n", set()),
    "the Hub's own": (
        "import os\nx = os.environ['SPACE_ID'], os.environ['HOME'], os.environ['GRADIO_TEMP_DIR']\n",
        set(),
    ),
    "the Hub's own, which it alone knows": (
        "import os\nx = os.environ['SPACE_CREATOR_USER_ID']\n",
        {"SPACE_CREATOR_USER_ID"},
    ),
    "given as a secret": ("import os\nx = os.environ['GIVEN_SECRET'], os.environ['GIVEN_VARIABLE']\n", set()),
    "a comment": ("# os.environ['A_KEY']\n", set()),
}


@pytest.mark.parametrize(("code", "names"), SECRETS.values(), ids=SECRETS)
def test_secrets(tmp_path: Path, code: str, names: set[str]) -> None:
    options = RunOptions(variables={"GIVEN_VARIABLE": "x"}, secret_names=("GIVEN_SECRET",))
    files: dict[str, str | bytes] = {
        "app.py": code,
        "helper.py": "import os\nK = os.environ['HELPER_KEY']\n",
        "child.py": "import os\nassert os.environ['MODE']\n",
    }
    spec = look(tmp_path, files, options)
    assert set(spec.secrets) == names
    assert codes(spec).count("missing-secret") == len(names)
    for name in names:
        assert f"--secret {name}=" in finding(spec, "missing-secret").remedy


def test_optional_secrets_are_named(tmp_path: Path) -> None:
    code = "import os\na = os.getenv('HF_TOKEN')\nb = os.environ.get('MODE')\n" + GRADIO
    found = finding(look(tmp_path, {"app.py": code}), "optional-secret")
    assert "HF_TOKEN" in found.message
    assert "MODE" not in found.message


def test_findings_of_the_hub_s_own_services(tmp_path: Path) -> None:
    code = "import spaces\n@spaces.GPU(duration=60)\ndef f(x):\n    open('/data/x')\n" + GRADIO
    files: dict[str, str | bytes] = {
        "README.md": readme(sdk="gradio", sdk_version="4.44.1", hf_oauth="true"),
        "app.py": code,
        "model.bin": POINTER,
    }
    assert codes(look(tmp_path, files)) == ["lfs-pointer", "old-gradio-shared", "hub-login", "zero-gpu", "hub-path"]
    quiet = look(tmp_path, files, RunOptions(share=False))
    assert "old-gradio-shared" not in codes(quiet)


def test_models_of_the_code(tmp_path: Path) -> None:
    code = (
        "from transformers import AutoModel, pipeline\nAutoModel.from_pretrained('org/model-7b', revision='x')\n"
        "pipeline('text-generation', model='gpt/two')\nAutoModel.from_pretrained('./local/dir')\n"
        "hf_hub_download(repo_id='a/data', repo_type='dataset', filename='x')\nAutoModel.from_pretrained(name)\n"
    )
    assert look(tmp_path, {"app.py": code}).models == ("gpt/two", "org/model-7b")


def test_sources_that_cannot_be_read_are_said(tmp_path: Path) -> None:
    spec = look(tmp_path, {"README.md": readme(sdk="gradio"), "app.py": "import old\n", "old.py": "print 'x'\n"})
    assert "old.py" in finding(spec, "unreadable-source").message


def test_names_that_no_file_can_have(tmp_path: Path) -> None:
    long = "x" * 3000
    spec = look(tmp_path, {"app.py": f"import {long}\nfrom .{long} import y\nz = 'python {long}.py', 'a\\0.py'\n"})
    assert spec.imports == (long,)


def test_newer_python_is_read(tmp_path: Path) -> None:
    code = 'import os, cv2\ntype A = int\ndef f[T](x: T): ...\nprint(f"{os.environ["A_KEY"]} {"a" + f"{1}"}")\n'
    spec = look(tmp_path, {"app.py": code})
    assert spec.imports == ("cv2",)
    assert "unreadable-source" not in codes(spec)
