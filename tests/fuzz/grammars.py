"""For each parser, input that is nearly right: made of what its grammar is made of, in an order that may be wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from hypothesis import strategies as st

from tests.fuzz.pace import SMALL
from tests.fuzz.programs import programs

Bytes = st.SearchStrategy[bytes]


def mixed(pieces: Sequence[str], joint: str = "") -> Bytes:
    """Texts of `pieces`, with a little that is none of them, some of it again and again, up to 16 KiB."""
    piece = st.sampled_from(pieces) | st.text(max_size=3)
    text = st.lists(piece, max_size=24).map(joint.join)
    swollen = st.tuples(text, text, st.integers(2, 4000), text).map(
        lambda made: joint.join(
            [made[0], made[1] * min(made[2], SMALL // (len(made[1].encode(errors="ignore")) + 1)), made[3]]
        )
    )
    return (text | swollen).map(_cut)


def _cut(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")[:SMALL]


REF = mixed(
    [
        "https://",
        "http://",
        "huggingface.co",
        "hf.co",
        ".hf.space",
        "git.example.org",
        "127.0.0.1:8080",
        "/spaces/",
        "owner",
        "name",
        "/",
        "//",
        "@",
        ":",
        "%2F",
        "%2e%2e",
        "%00",
        "..",
        "-",
        "--",
        ".git",
        "tree/",
        "blob/",
        "main",
        "refs/pr/3",
        "/-/tree/",
        "/src/branch/",
        "?a=b",
        "#x",
        "\\",
        " ",
        "~",
        "./",
        "[::1]",
        "user:pw@",
        "\u017f",
        "\u212a",
    ]
)
FRONT_MATTER = mixed(
    [
        "---\n",
        "---",
        "\n",
        "\r\n",
        "\r",
        "\ufeff",
        "sdk: gradio\n",
        "title: ",
        "- a\n",
        "  b: c\n",
        "tags: [x, 'y']\n",
        "&a ",
        "*a",
        "!!python/object:os.system ",
        "<<: *a\n",
        "{",
        "}",
        "[",
        "]",
        ": ",
        "? ",
        "| \n",
        ">-\n  ",
        "\t",
        "'",
        '"',
        "\\x",
        "%YAML 1.1\n",
        "...\n",
        "# ",
        "null",
        "3.10",
        "\x00",
        "\x85",
        "\u2028",
        "🤗",
        "sdk: &b [*a, *a]\n",
    ]
).map(lambda body: b"---\n" + body) | mixed(["---\n", "\n", "sdk: gradio\n", " "])
REQUIREMENTS = mixed(
    [
        "torch",
        "==2.1",
        ">=1,<2",
        "[extra]",
        " ; ",
        "python_version<'3.10'",
        "\n",
        "\r\n",
        "\\\n",
        "#",
        " # no\n",
        "-r ",
        "-c ",
        "-e ",
        "-i ",
        "--extra-index-url ",
        "--find-links=",
        "--hash=sha256:00",
        "--pre",
        "requirements.txt",
        "..",
        "/etc/passwd",
        "https://e.org/a-1.0-py3-none-any.whl",
        "git+https://e.org/x@main#egg=x",
        "https://",
        "file://",
        "git+https://",
        "]",
        "\u2100",
        "x @ ",
        "file:///etc",
        "@",
        "./",
        "/home/user/app/",
        "${HOME}",
        "(",
        ")",
        "'",
        '"',
        "\x00",
        "~=",
        "!=",
        "===",
        ",",
        ".whl",
        "%2e%2e/",
        "[",
    ]
)
PACKAGES = mixed(["ffmpeg", "libgl1", " ", "\n", "#", "-o", "=1.0", ":amd64", "../", "\x00", "$(id)", ";", "APT::x=y"])
LOG = mixed(
    [
        "\x1b",
        "\x1b[",
        "\x1b]8;;https://e.org\x1b\\",
        "\x1b[2J",
        "\x1b[1;31m",
        "\x1b]0;",
        "\x07",
        "\x9b",
        "\x9c",
        "\x9d",
        "\x1bP",
        "\x1b_",
        "\r",
        "\n",
        "\r\n",
        "\x08",
        "\t",
        "a",
        "é",
        "漢",
        "\u202e",
        "\u200b",
        "\ufeff",
        "\x00",
        "100%|##",
        "m",
    ]
)
SECRET = mixed(
    [
        "hf_abcdefghijkl",
        "hf_abcdef",
        "ghijkl",
        "pa55",
        "two words",
        "two%20words",
        "two+words",
        "ünï",
        "¢ode",
        "-värde",
        "aGZfYWJjZGVmZ2hpamts",
        "hf_",
        "\n",
        " ",
        "x",
        "[secret]",
        "=",
    ]
)

_VALUE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(
        ["alpaca", "user", "text", "image_url", "<image>", "data:image/png;base64,AAAA", "![](data:,)", ""]
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=10,
)
_FIELDS = (
    *("model", "messages", "prompt", "inputs", "parameters", "stream", "stream_options", "max_tokens", "temperature"),
    *("top_p", "top_k", "seed", "stop", "n", "tools", "logit_bias", "ignore_eos", "response_format", "user", "best_of"),
)
_PART = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "image_url"])},
    optional={"text": _VALUE, "image_url": st.fixed_dictionaries({"url": st.text(max_size=9)}) | _VALUE},
)
_MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool"]), "content": st.lists(_PART, max_size=3) | _VALUE}
)
_WISHES = st.dictionaries(
    st.sampled_from(["stop", "seed", "top_p", "grammar", "truncate", "typical_p", "details"]), _VALUE
)
_RIGHT = {
    "model": "alpaca",
    "messages": [{"role": "user", "content": "Hi"}],
    "prompt": "Hi",
    "inputs": "Hi ![](data:x)",
}


def _body(changes: Mapping[str, object], messages: object, wishes: object) -> bytes:
    written = json.dumps({**_RIGHT, "messages": messages, "parameters": wishes, **changes})
    return written.encode("utf-8", "surrogatepass")[:SMALL]


BODY = st.builds(
    _body, st.dictionaries(st.sampled_from(_FIELDS), _VALUE, max_size=3), st.lists(_MESSAGE, max_size=4), _WISHES
) | mixed(
    [
        '{"model":"alpaca",',
        '"prompt":',
        '"inputs":"',
        '"Hi"',
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "1e999",
        "NaN",
        "\\ud800",
        '"',
    ]
)
REPORT = mixed(
    [
        '{"ask": "launch"',
        '{"ask":"up","local_url":"http://127.0.0.1:7860"',
        ', "port": ',
        "7860",
        '"tunnel"',
        "}",
        "{",
        "[",
        "]",
        '"',
        ":",
        ",",
        "\n",
        "null",
        "1e999",
        "NaN",
        "-0",
        "\\u0000",
        "true",
        '"lines": ["a"]',
        "9" * 5000,
    ]
)

GRAMMARS: Mapping[str, Bytes] = {
    "ref": REF,
    "front-matter": FRONT_MATTER,
    "requirements": REQUIREMENTS,
    "packages": PACKAGES,
    "patcher": programs().map(lambda text: text.encode()[:SMALL]),
    "sanitizer": LOG,
    "masker": SECRET,
    "report": REPORT,
    "chat": BODY,
    "completion": BODY,
    "tgi": BODY,
}
