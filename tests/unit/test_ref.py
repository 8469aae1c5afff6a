"""What may be pasted, and that nothing else may."""

from __future__ import annotations

import random
import string
import time
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils._validators import validate_repo_id

from spaces_runner.errors import RefError
from spaces_runner.ref import parse
from spaces_runner.settings import Settings
from spaces_runner.types import RefKind

SETTINGS = Settings(home="/nonexistent", git_hosts=("git.example.org", "127.0.0.1:8080", "forge.example.org:8443"))
SHA = "0123456789abcdef0123456789abcdef01234567"

HUB_FORMS = [
    ("https://huggingface.co/spaces/owner/name", None),
    ("https://huggingface.co/spaces/owner/name/", None),
    ("https://HuggingFace.co/spaces/owner/name", None),
    ("  https://huggingface.co/spaces/owner/name\n", None),
    ("https://www.huggingface.co/spaces/owner/name", None),
    ("https://hf.co/spaces/owner/name", None),
    ("hf.co/spaces/owner/name", None),
    ("huggingface.co/spaces/owner/name", None),
    ("https://huggingface.co/spaces/owner/name?logs=build", None),
    ("https://huggingface.co/spaces/owner/name#readme", None),
    ("https://huggingface.co/spaces/owner/name/?a=https://evil.example/x@y", None),
    ("https://huggingface.co/spaces/owner/name.git", None),
    ("https://huggingface.co/spaces/owner/name/tree/main", "main"),
    ("https://huggingface.co/spaces/owner/name/tree/main/", "main"),
    ("https://huggingface.co/spaces/owner/name/tree/main/src/app", "main"),
    ("https://huggingface.co/spaces/owner/name/tree/refs%2Fpr%2F3", "refs/pr/3"),
    ("https://huggingface.co/spaces/owner/name/tree/refs/pr/3", "refs/pr/3"),
    ("https://huggingface.co/spaces/owner/name/tree/feature%2Fx/app.py", "feature/x"),
    (f"https://huggingface.co/spaces/owner/name/tree/{SHA}", SHA),
    ("https://huggingface.co/spaces/owner/name/blob/main/app.py?x=1#L3", "main"),
    ("https://huggingface.co/spaces/owner/name/blob/refs%2Fpr%2F3/dir/app.py", "refs/pr/3"),
    (f"https://huggingface.co/spaces/owner/name/commit/{SHA}", SHA),
    ("https://huggingface.co/spaces/owner/name@v1.0", "v1.0"),
    ("owner/name", None),
    ("owner/name/", None),
    ("spaces/owner/name", None),
    ("owner/name@main", "main"),
    ("owner/name@refs/pr/3", "refs/pr/3"),
    ("owner/name@feature/x", "feature/x"),
    ("spaces/owner/name@0123abc", "0123abc"),
]


@pytest.mark.parametrize(("text", "revision"), HUB_FORMS)
def test_a_space_on_the_hub(text: str, revision: str | None) -> None:
    ref = parse(text, SETTINGS)
    assert (ref.kind, ref.source, ref.revision) == (RefKind.HUB, "owner/name", revision)
    assert (ref.owner, ref.name) == ("owner", "name")


PAGES = [
    ("tree/feature/x", ("feature/x", "feature")),
    ("tree/feature/x/", ("feature/x", "feature")),
    ("blob/feature/x/src/app.py?x=1#L3", ("feature/x/src/app.py", "feature/x/src", "feature/x", "feature")),
    ("blob/v1.0/my%20app.py", ("v1.0",)),
    ("blob/dev/src/-x/y", ("dev/src/-x/y", "dev/src/-x", "dev/src", "dev")),
    ("blob/dev/.github/x", ("dev",)),
    ("blob/dev/a/../../b", ("dev/a", "dev")),
    ("blob/dev/a%2Fb/c", ("dev",)),
    ("tree/feature%2Fx/y", ("feature/x",)),
    ("tree/main/y", ("main",)),
    ("tree/maintenance/y", ("maintenance/y", "maintenance")),
    (f"tree/{SHA}/y", (SHA,)),
    ("tree/refs/pr/3/y", ("refs/pr/3",)),
    ("tree/dev/" + "/".join(["n" * 50] * 6), tuple("/".join(["dev"] + ["n" * 50] * n) for n in (3, 2, 1, 0))),
]


@pytest.mark.parametrize(("page", "revisions"), PAGES)
def test_a_page_of_a_space_may_mean_several_revisions(page: str, revisions: tuple[str, ...]) -> None:
    ref = parse(f"https://huggingface.co/spaces/owner/name/{page}", SETTINGS)
    assert ref.revisions == revisions
    assert ref.revision == revisions[-1]
    assert str(ref) == f"owner/name@{revisions[0]}"


@pytest.mark.parametrize(
    "text",
    [
        "https://owner-name.hf.space",
        "https://owner-name.hf.space/",
        "https://owner-name.hf.space/?__theme=dark",
        "https://owner-name.static.hf.space/index.html",
        "owner-name.hf.space",
        "https://OWNER-name.hf.space",
    ],
)
def test_a_running_spaces_address(text: str) -> None:
    ref = parse(text, SETTINGS)
    assert (ref.kind, ref.source) == (RefKind.SUBDOMAIN, "owner-name")


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:7123", "http://localhost:7123", "https://mirror.example.org"])
def test_the_hosts_of_another_endpoint(endpoint: str) -> None:
    settings = replace(SETTINGS, hf_endpoint=endpoint)
    for text in (f"{endpoint}/spaces/owner/name", f"{endpoint.partition('://')[2]}/spaces/owner/name/tree/main"):
        assert parse(text, settings).source == "owner/name"
    assert parse("https://huggingface.co/spaces/owner/name", settings).source == "owner/name"
    with pytest.raises(RefError):
        parse(f"{endpoint}0/spaces/owner/name", settings)


@pytest.mark.parametrize(
    ("text", "source", "revision"),
    [
        ("https://git.example.org/team/space", "https://git.example.org/team/space", None),
        ("https://git.example.org/team/space.git", "https://git.example.org/team/space.git", None),
        ("https://git.example.org/team/space.git@v2", "https://git.example.org/team/space.git", "v2"),
        ("https://forge.example.org:8443/space", "https://forge.example.org:8443/space", None),
        ("http://127.0.0.1:8080/team/space", "http://127.0.0.1:8080/team/space", None),
    ],
)
def test_a_repository_on_an_allowed_host(text: str, source: str, revision: str | None) -> None:
    ref = parse(text, SETTINGS)
    assert (ref.kind, ref.source, ref.revision) == (RefKind.GIT, source, revision)
    assert ref.name == "space"


@pytest.mark.parametrize(
    ("page", "source", "revisions"),
    [
        ("team/repo/tree/main/demo", "team/repo", ("main/demo", "main")),
        ("team/repo/tree/main/demo/my%20space/", "team/repo", ("main/demo/my space", "main/demo", "main")),
        ("team/repo/tree/feature%2Fx/.demo", "team/repo", ("feature/x/.demo", "feature/x")),
        ("team/repo/tree/v1.0", "team/repo", ("v1.0",)),
        ("team/tree/tree/v1/tree", "team/tree", ("v1/tree", "v1")),
        ("group/sub/repo/-/tree/main/demo", "group/sub/repo", ("main/demo", "main")),
        ("team/repo/src/branch/main/demo", "team/repo", ("main/demo", "main")),
        ("team/repo/src/tag/v1/demo", "team/repo", ("v1/demo", "v1")),
        (f"team/repo/src/commit/{SHA}/demo", "team/repo", (f"{SHA}/demo", SHA)),
    ],
)
def test_a_folder_of_a_repository(page: str, source: str, revisions: tuple[str, ...]) -> None:
    ref = parse(f"https://git.example.org/{page}", SETTINGS)
    assert (ref.kind, ref.source) == (RefKind.GIT, f"https://git.example.org/{source}")
    assert ref.revisions == revisions
    assert ref.revision == revisions[-1]


def test_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ß space").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for text in (f"{tmp_path}/ß space", "~/ß space", "./ß space", "./ß space/", f"../{tmp_path.name}/ß space"):
        ref = parse(text, SETTINGS)
        assert (ref.kind, ref.source) == (RefKind.DIRECTORY, str(tmp_path / "ß space"))
    assert parse(".", SETTINGS).source == str(tmp_path)


REFUSED = [
    *("", " ", "name", "a/b/c/d", "spaces/owner", "owner/", "/owner", "owner//name", "owner/name@", "owner/name@@x"),
    *("owner/-name", "-owner/name", "owner/na me", "owner/name\nx", "owner/na..me", "owner/na--me", "owner/name.git"),
    *("owner/name.", ".owner/name", "öwner/name", "owner/\uff4eame", "owner/" + "n" * 97, "owner/$(id)"),
    *("owner/name@-x", "owner/name@a..b", "owner/name@a b", "owner/name@a\x00b", "owner/name@/x", "owner/name@x/"),
    *("owner/name@a//b", "owner/name@x.lock", "owner/name@.x", "owner/name@--upload-pack=id", "owner/name@x^{tree}"),
    *("http://huggingface.co/spaces/owner/name", "ftp://huggingface.co/spaces/owner/name", "file:///etc/passwd"),
    *("https://huggingface.co@evil.example/spaces/owner/name", "https://user:pw@huggingface.co/spaces/owner/name"),
    *("https://huggingface.co\\@evil.example/spaces/o/n", "https://huggingface.co.evil.example/spaces/owner/name"),
    *("https://huggingface.co:8443/spaces/owner/name", "https://huggingface.co./spaces/owner/name"),
    *("https://hugging\u212aace.co/spaces/o/n", "https://hf。co/spaces/owner/name", "https://hf.co\t/spaces/o/n"),
    *("https://huggingface.co/owner/name", "https://huggingface.co/datasets/owner/name", "https://huggingface.co"),
    *("https://huggingface.co/spaces/owner", "https://huggingface.co/spaces/owner/name/settings"),
    *("https://huggingface.co/spaces/%2e%2e/name", "https://huggingface.co/spaces/owner/na%0Ame"),
    *("https://huggingface.co/spaces/owner%2Fother/name", "https://huggingface.co/spaces/owner/name/tree/..%2F.."),
    *("https://huggingface.co/spaces/owner/name/tree/-x", "https://huggingface.co/spaces/owner/name/tree/%252e"),
    *(
        "https://hf.space",
        "https://.hf.space",
        "https://a.b.hf.space",
        "https://-x.hf.space",
        "https://x.hf.space.evil.example",
    ),
    *("https://evil.example/team/space", "http://git.example.org/team/space", "https://git.example.org:9/team/space"),
    *(
        "https://git.example.org",
        "https://git.example.org/../x",
        "https://git.example.org/-x/y",
        "https://git.example.org/a b",
    ),
    *(
        "https://x:y@git.example.org/team/space",
        "https://git.example.org/team/space@-x",
        "https://git.example.org/%2e%2e/x",
    ),
    *(f"https://git.example.org/o/r/tree/main/{part}" for part in ("..", "a/../b", "-x", "%2e%2e", "a%00b", "a*")),
    *("https://git.example.org/o/r/tree/-x/demo", "https://git.example.org/o/r/tree/..%2F../demo"),
    *("ext::sh -c id", "git@git.example.org:team/space", "ssh://git.example.org/x", "--upload-pack=id", "-x/y"),
    *("/nonexistent/directory", "./nonexistent", "~nosuchuser/x", "/etc/passwd", "/\x00", "/" + "x" * 300),
]


@pytest.mark.parametrize("text", REFUSED)
def test_everything_else_is_told_what_is_accepted(text: str) -> None:
    with pytest.raises(RefError) as caught:
        parse(text, SETTINGS)
    assert caught.value.message.endswith(".")
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 250
    assert "owner/name" in caught.value.hint
    assert "https://huggingface.co/spaces/" in caught.value.hint


def test_names_are_those_that_the_hubs_own_client_accepts() -> None:
    """Every name of up to three letters of the alphabet that matters, and longer ones at random."""
    letters = "aZ0_-./é "
    names = {a + b + c for a in ["", *letters] for b in ["", *letters] for c in letters}
    chooser = random.Random(7)
    names |= {"".join(chooser.choices(letters, k=chooser.randint(4, 98))) for _ in range(300)}
    names |= {"x" * 96, "x" * 97, "x.git", "x.git.y"}
    for name in names:
        assert _takes(name) == _hub_takes(name), name


def _takes(name: str) -> bool:
    try:
        return parse(f"owner/{name}", SETTINGS).source == f"owner/{name}"
    except RefError:
        return False


def _hub_takes(name: str) -> bool:
    try:
        validate_repo_id(f"owner/{name}")
    except HFValidationError:
        return False
    return True


@pytest.mark.parametrize("kind", ["/", "https://", "a", "owner/name@a/", "https://huggingface.co/spaces/", "%2e", "-."])
def test_garbage_is_refused_quickly(kind: str) -> None:
    chooser = random.Random(3)
    texts = [(kind * 16384)[:16384], kind + "".join(chooser.choices(string.printable, k=16384)), (kind * 4096)[:4090]]
    begun = time.perf_counter()
    for text in texts:
        with pytest.raises(RefError):
            parse(text, SETTINGS)
    assert time.perf_counter() - begun < 2
