"""Requirements files as people write them, and what must not leave or enter the Space through one."""

from pathlib import Path

import pytest

from spaces_runner.errors import BadRequirements
from spaces_runner.requirements import MAX_LINES, Requirements, read, read_packages


def parse(tmp_path: Path, text: str | bytes) -> Requirements:
    (tmp_path / "requirements.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    return read(tmp_path, "requirements.txt")


LINES = {
    "plain": ("torch\nnumpy==1.26.4\n", ["torch", "numpy==1.26.4"]),
    "comments and blanks": ("# hello\n\ntorch # why\n  # more\n", ["torch"]),
    "a hash sign in a URL is no comment": (
        "x @ https://e.org/x.zip#sha256=ab\n",
        ["x @ https://e.org/x.zip#sha256=ab"],
    ),
    "Windows line ends": ("torch\r\nnumpy\r\n", ["torch", "numpy"]),
    "byte order mark": (b"\xef\xbb\xbftorch\n", ["torch"]),
    "UTF-16 of PowerShell": ("torch\r\nnumpy==1\r\n".encode("utf-16"), ["torch", "numpy==1"]),
    "UTF-16 without mark": ("torch\n".encode("utf-16-le"), ["torch"]),
    "Western code page": (b"torch # caf\xe9\n", ["torch"]),
    "continuation": ("torch \\\n  ==2.1 \\\n  ; python_version > '3.8'\n", ['torch==2.1; python_version > "3.8"']),
    "continuation at the end": ("torch\\\n", ["torch"]),
    "extras and markers": (
        "gradio[oauth]>=4,<5; sys_platform=='linux'",
        ['gradio[oauth]<5,>=4; sys_platform == "linux"'],
    ),
    "local version": ("torch==2.1.0+cu118", ["torch==2.1.0+cu118"]),
    "git": ("git+https://github.com/a/b.git@v1#egg=b", ["git+https://github.com/a/b.git@v1#egg=b"]),
    "wheel URL": ("https://e.org/x-1-py3-none-any.whl", ["https://e.org/x-1-py3-none-any.whl"]),
    "hashes": ("a==1 \\\n --hash=sha256:00 --hash sha256:11", ["a==1 --hash=sha256:00 --hash=sha256:11"]),
    "options": (
        "--extra-index-url https://i.org/s\n-i https://j.org/s\ntorch",
        ["--extra-index-url https://i.org/s", "--index-url https://j.org/s", "torch"],
    ),
    "option with equals sign": ("--find-links=https://e.org/w\nx", ["--find-links https://e.org/w", "x"]),
    "option without space": ("-fhttps://e.org/w\nx", ["--find-links https://e.org/w", "x"]),
    "quoted option": ('--index-url "https://i.org/s"\nx', ["--index-url https://i.org/s", "x"]),
    "options of pip only": ("--trusted-host i.org\n--prefer-binary\nx", ["x"]),
    "empty": ("", []),
}


@pytest.mark.parametrize(("text", "lines"), LINES.values(), ids=LINES)
def test_lines(tmp_path: Path, text: str | bytes, lines: list[str]) -> None:
    assert list(parse(tmp_path, text).lines) == lines


def test_names_and_pins(tmp_path: Path) -> None:
    parsed = parse(tmp_path, "Gradio==4.44.1\nPyYAML>=6\nnumpy==1.*\ngit+https://e.org/a/B_c.git#egg=B_c\n")
    assert parsed.names == {"gradio", "pyyaml", "numpy", "b-c"}
    assert parsed.pin("gradio") == "4.44.1"
    assert parsed.pin("numpy") is None
    assert parsed.pin("pyyaml") is None
    assert "Gradio==4.44.1" not in parsed.without("gradio")


def test_includes_and_constraints(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "base.txt").write_text("numpy\n-r ../requirements.txt\n-c limits.txt\n")
    (tmp_path / "more" / "limits.txt").write_text("pillow<10\n")
    parsed = parse(tmp_path, "-r more/base.txt\ntorch\n")
    assert parsed.lines == ("numpy", "torch")
    assert parsed.constraints == ("pillow<10",)
    assert parsed.entries[0].origin == "more/base.txt:1"


def test_paths_in_the_space(tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / "my_pkg-1.0-py3-none-any.whl").write_bytes(b"")
    text = "./wheels/my_pkg-1.0-py3-none-any.whl\n-e .\n/home/user/app/wheels/my_pkg-1.0-py3-none-any.whl\n-f wheels\n"
    parsed = parse(tmp_path, text)
    wheel = "./wheels/my_pkg-1.0-py3-none-any.whl"
    assert parsed.lines == ("--find-links ./wheels", wheel, "-e .", wheel)
    assert parsed.names == {"my-pkg"}


ESCAPES = {
    "absolute include": "-r {secret}",
    "include that climbs": "-r ../secret.txt",
    "constraint outside": "-c {secret}",
    "include by a link": "-r link.txt",
    "include from the network": "-r https://e.org/r.txt",
    "editable outside": "-e {folder}",
    "editable file URL": "-e file://{folder}",
    "file URL": "x @ file://{secret}",
    "bare file URL": "file://{secret}",
    "path that climbs": "../secret.txt",
    "find links outside": "--find-links {folder}",
    "page of wheels at an address": "--find-links file://{folder}",
    "index of files": "--index-url file://{folder}",
    "further index in a folder": "--extra-index-url {folder}",
    "repository of files": "git+file://{folder}",
    "named repository of files": "x @ git+file://{folder}",
    "missing include": "-r nowhere.txt",
}


@pytest.mark.parametrize("line", ESCAPES.values(), ids=ESCAPES)
def test_nothing_outside_the_space_is_read(tmp_path: Path, line: str) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("hf_very_secret\n")
    space = tmp_path / "space"
    space.mkdir()
    (space / "link.txt").symlink_to(secret)
    with pytest.raises(BadRequirements) as caught:
        parse(space, line.format(secret=secret, folder=tmp_path))
    said = " ".join([caught.value.message, caught.value.hint, *caught.value.lines])
    assert "hf_very_secret" not in said
    assert "requirements.txt:1" in said


BAD = {
    "no requirement": ("torch\nthis is not one\n", "requirements.txt:2"),
    "one equals sign": ("torch=2.1\n", "requirements.txt:1"),
    "environment variable": ("--extra-index-url https://x:${HF_TOKEN}@e.org/s\n", "environment variable"),
    "option without value": ("-r\n", "without a value"),
    "binary": (b"\x01\x02\x03\xff", "no requirement"),
    "no address": ("https://[e.org/a.whl\n", "has an address that is none"),
    "no address of a name": ("x @ git+https://[e.org\n", "has an address that is none"),
    "no address of an index": ("-f file://[\n", "has an address that is none"),
    "a disguised host": ("https://\u2100.com/x.whl\n", "has an address that is none"),
    "deep brackets": ("a" + "[" * 5000, "no requirement"),
}


@pytest.mark.parametrize(("text", "said"), BAD.values(), ids=BAD)
def test_bad(tmp_path: Path, text: str | bytes, said: str) -> None:
    with pytest.raises(BadRequirements) as caught:
        parse(tmp_path, text)
    assert said in caught.value.message


def test_other_indexes_are_findings_without_their_passwords(tmp_path: Path) -> None:
    parsed = parse(tmp_path, "--extra-index-url https://me:pa55@e.org/simple\nx\n")
    assert [finding.code for finding in parsed.findings] == ["index-override"]
    assert "pa55" not in parsed.findings[0].message


def test_debian_packages(tmp_path: Path) -> None:
    (tmp_path / "packages.txt").write_bytes(
        b"\xef\xbb\xbfffmpeg # sound\r\nlibgl1 libsm6\r\n\r\n-oDpkg::x=y\r\nBad_Name\r\nffmpeg\r\n"
    )
    packages, findings = read_packages(tmp_path, "packages.txt")
    assert packages == ("ffmpeg", "libgl1", "libsm6")
    assert [finding.code for finding in findings] == ["bad-package-name"]
    assert "-oDpkg::x=y" in findings[0].message


def test_includes_that_multiply_are_given_up(tmp_path: Path) -> None:
    """Six files, each of which includes the next twenty times over, would be read for an hour."""
    for number in range(6):
        (tmp_path / f"{number}.txt").write_text(f"-r {number + 1}.txt\n" * 20)
    (tmp_path / "6.txt").write_text("numpy\n")
    with pytest.raises(BadRequirements) as caught:
        parse(tmp_path, "-r 0.txt\n")
    assert f"more than {MAX_LINES} lines" in caught.value.message
