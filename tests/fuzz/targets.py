"""Each parser of what strangers write, as a function of bytes that raises nothing for any of them.

The errors that a parser is meant to raise are caught here; every other one is a defect. The tests call these, and
`scripts/fuzz` does so under atheris.
"""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from unicodedata import category

from app.inference.errors import InferenceError
from app.inference.server import bodies
from app.inference.server.openai_bodies import ChatRequest, CompletionRequest
from app.inference.server.tgi_bodies import CompatRequest, TgiRequest
from spaces_runner import masking, pysource, requirements, sanitize
from spaces_runner.detect import frontmatter
from spaces_runner.errors import BadFrontMatter, BadRequirements, RefError
from spaces_runner.patch.source import patch_source
from spaces_runner.ref import parse
from spaces_runner.settings import Settings
from spaces_runner.shim.bridge import read_question
from tests.support.inference_server import CARDS

Target = Callable[[bytes], object]
SETTINGS = Settings(home="/nonexistent", git_hosts=("git.example.org", "127.0.0.1:8080"))
SECRETS = ("hf_abcdefghijkl", "pa55", "two words", "ünï¢ode-värde")


def harmless(text: str) -> bool:
    """Whether nothing in it moves a cursor, breaks a line where none was, or is no character at all."""
    return all(char in "\n\t" or category(char) not in ("Cc", "Cs", "Zl", "Zp") for char in text)


def ref(data: bytes) -> None:
    try:
        parse(data.decode("utf-8", "surrogateescape"), SETTINGS)
    except RefError as refused:
        assert refused.message.isprintable()


def front_matter(data: bytes) -> None:
    try:
        frontmatter.read(data)
    except BadFrontMatter as bad:
        assert harmless("\n".join((bad.message, *bad.lines)))


def requirement_files(data: bytes) -> None:
    with tempfile.TemporaryDirectory(prefix="sr-fuzz-") as folder:
        root = Path(folder).resolve()
        (root / "requirements.txt").write_bytes(data)
        try:
            found = requirements.read(root, "requirements.txt")
        except BadRequirements:
            return
        assert all((root / entry.path).resolve().is_relative_to(root) for entry in found.entries if entry.path)


def packages(data: bytes) -> None:
    with tempfile.TemporaryDirectory(prefix="sr-fuzz-") as folder:
        (Path(folder) / "packages.txt").write_bytes(data)
        names, _ = requirements.read_packages(folder, "packages.txt")
        assert not any(name.startswith("-") for name in names)


def patcher(data: bytes) -> None:
    try:
        text = pysource.decode(data).text
    except pysource.Unreadable:
        return
    patched = patch_source(text, "app.py")
    if patched is not None:
        pysource.parse(patched.source)


def sanitizer(data: bytes) -> None:
    shown = sanitize.clean(data)
    assert harmless(shown)
    assert sanitize.clean(shown) == shown


def masker(data: bytes) -> None:
    """In two chunks: whatever was cut, nothing that is masked inside words is left."""
    masked = masking.Masker(SECRETS)
    middle = len(data) // 2
    shown = masked.feed(data[:middle]) + masked.feed(data[middle:]) + masked.rest()
    assert not any(secret.encode() in shown for secret in SECRETS if len(secret.encode()) >= masking.LONG)


def report(data: bytes) -> None:
    """What a Space says on the socket of its bootstrap, up to what the kernel holds at once."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * len(data) + 4096)
        theirs.sendall(data[: 64 * 1024])
        theirs.shutdown(socket.SHUT_WR)
        question = read_question(ours)
        assert question is None or isinstance(question, dict)


def chat(data: bytes) -> None:
    try:
        request = bodies.checked(data, ChatRequest)
        request.check()
        request.conversation()
        request.sampling(CARDS[0])
    except InferenceError as error:
        assert error.status < 500


def completion(data: bytes) -> None:
    try:
        request = bodies.checked(data, CompletionRequest)
        request.check()
        request.raw(images=True)
        request.sampling(CARDS[0])
    except InferenceError as error:
        assert error.status < 500


def tgi(data: bytes) -> None:
    for kind in (TgiRequest, CompatRequest):
        try:
            request = bodies.checked(data, kind)
            request.wishes.check()
            request.wishes.sampling()
            request.prompt(images=True)
        except InferenceError as error:
            assert error.status < 500


TARGETS: Mapping[str, Target] = {
    "ref": ref,
    "front-matter": front_matter,
    "requirements": requirement_files,
    "packages": packages,
    "patcher": patcher,
    "sanitizer": sanitizer,
    "masker": masker,
    "report": report,
    "chat": chat,
    "completion": completion,
    "tgi": tgi,
}
