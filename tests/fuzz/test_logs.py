"""A log loses nothing and shows no secret, wherever what a Space prints was cut; its readers agree."""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spaces_runner import logfile
from spaces_runner.masking import Masker, forms
from spaces_runner.sanitize import LINE_BYTES, clean, clean_lines
from tests.fuzz.grammars import LOG, SECRET
from tests.fuzz.targets import SECRETS

Chunks = list[bytes]
CHUNKS = st.tuples(SECRET | LOG, st.lists(st.integers(0, 400), max_size=6)).map(lambda made: cut(*made))


def cut(data: bytes, places: list[int]) -> Chunks:
    edges = [0, *sorted(place for place in places if place < len(data)), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def masked(chunks: Chunks) -> bytes:
    masker = Masker(SECRETS)
    return b"".join([*map(masker.feed, chunks), masker.rest()])


@settings(max_examples=300, deadline=None)
@given(chunks=CHUNKS)
def test_what_is_masked_does_not_depend_on_where_it_was_cut(chunks: Chunks) -> None:
    assert masked(chunks) == masked([b"".join(chunks)])


@settings(max_examples=200, deadline=None)
@given(secret=st.text(min_size=6, max_size=40), before=st.binary(max_size=20), after=st.binary(max_size=20))
def test_no_form_of_a_secret_is_left(secret: str, before: bytes, after: bytes) -> None:
    secret = secret.encode("utf-8", "replace").decode()
    for form in forms(secret):
        masker = Masker([secret])
        shown = masker.feed(before + form) + masker.feed(after) + masker.rest()
        assert form not in shown.replace(b"[secret]", b"") or form in before + after or form in b"[secret]"


@settings(max_examples=100, deadline=None)
@given(chunks=CHUNKS, limit=st.integers(50, 2000))
def test_a_log_holds_all_that_was_written(chunks: Chunks, limit: int) -> None:
    with tempfile.TemporaryDirectory(prefix="sr-fuzz-") as folder:
        path = Path(folder) / "run.log"
        log = logfile.LogWriter(path, limit=limit, keep=1000)
        for chunk in chunks:
            log.write(chunk)
        log.close()
        assert b"".join(file.read_bytes() for file in logfile.files(path)) == b"".join(chunks)
        assert list(logfile.whole(path)) == logfile.tail(path, 10**6)


@pytest.mark.parametrize("strategy", [LOG, SECRET, st.binary(max_size=2000)], ids=["log", "words", "bytes"])
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_lines_are_short_and_stay_as_they_are(strategy: st.SearchStrategy[bytes], data: st.DataObject) -> None:
    raw = data.draw(strategy)
    lines = clean_lines(raw)
    assert all(len(line.encode()) <= LINE_BYTES for line in lines)
    assert clean("\n".join(lines)) == "\n".join(lines)
