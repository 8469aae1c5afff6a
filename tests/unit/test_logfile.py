"""Log files: every byte in order, whole lines per file, no secrets, harmless to read."""

from __future__ import annotations

import base64
import json
import random
import shutil
import threading
import time
from pathlib import Path
from urllib.parse import quote

import pytest

from spaces_runner.logfile import LogWriter, Place, dropped, erase, files, follow, tail, whole
from spaces_runner.masking import Masker

SECRET = "hunter2/and more?"


def everything(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in files(path))


def test_bytes_arrive_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    data = bytes(range(256)) * 20
    log = LogWriter(path, limit=10**6, keep=3)
    for start in range(0, len(data), 7):
        log.write(data[start : start + 7])
    log.close()
    log.close()
    assert path.read_bytes() == data
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_log_is_appended_to(tmp_path: Path) -> None:
    for text in (b"one\n", b"two\n"):
        log = LogWriter(tmp_path / "run.log", limit=100, keep=3)
        log.write(text)
        log.close()
    assert everything(tmp_path / "run.log") == b"one\ntwo\n"


def test_a_rotation_that_fails_takes_nobody_elses_file(tmp_path: Path) -> None:
    """The number of a closed file is the next file's, which may be the database."""
    log = LogWriter(tmp_path / "run.log", limit=10, keep=2)
    (tmp_path / "run.log.1").mkdir()
    (tmp_path / "run.log.1" / "in the way").touch()
    with pytest.raises(OSError, match="directory"):
        log.write(b"line 1\nline 2\n")
    with (tmp_path / "other").open("wb"):
        with pytest.raises(OSError, match="directory"):
            log.write(b"line 3\n")
        shutil.rmtree(tmp_path / "run.log.1")
        log.write(b"line 4\n")
        log.close()
    assert (tmp_path / "other").read_bytes() == b""
    assert everything(tmp_path / "run.log").endswith(b"line 4\n")


@pytest.mark.parametrize("size", [1, 13, 64, 1000, 100_000])
def test_rotation_keeps_order_and_whole_lines(tmp_path: Path, size: int) -> None:
    path = tmp_path / "run.log"
    data = b"".join(b"line %06d\n" % number for number in range(2000))
    log = LogWriter(path, limit=1000, keep=4)
    for start in range(0, len(data), size):
        log.write(data[start : start + size])
    log.close()
    kept = everything(path)
    assert len(files(path)) <= 4
    assert data.endswith(kept)
    gone = dropped(path)
    assert gone.bytes + len(kept) == len(data)
    assert gone.lines + kept.count(b"\n") == 2000
    assert gone.files > 0
    for file in files(path):
        content = file.read_bytes()
        assert content == b"" or content.endswith(b"\n")
        assert len(content) <= 1000 + 12


def test_a_line_without_an_end_is_not_cut(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    log = LogWriter(path, limit=100, keep=2)
    for _ in range(50):
        log.write(b"x" * 10)
    log.write(b"\nnext\n")
    log.close()
    assert [file.read_bytes() for file in files(path)] == [b"x" * 500 + b"\n", b"next\n"]


def test_one_file_is_kept_alone(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    log = LogWriter(path, limit=50, keep=1)
    for number in range(100):
        log.write(b"line %03d\n" % number)
    log.close()
    assert len(files(path)) == 1
    assert dropped(path).lines + everything(path).count(b"\n") == 100


def test_erasing_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    log = LogWriter(path, limit=10, keep=2)
    for _ in range(10):
        log.write(b"0123456789\n")
    log.close()
    erase(path)
    assert list(tmp_path.iterdir()) == []
    assert dropped(path).lines == 0


def test_a_broken_count_is_none(tmp_path: Path) -> None:
    (tmp_path / "run.log.dropped").write_text("{")
    assert dropped(tmp_path / "run.log").files == 0


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
def test_secrets_are_masked_wherever_a_chunk_ends(tmp_path: Path, size: int) -> None:
    encoded = base64.b64encode(SECRET.encode()).decode()
    inside = base64.b64encode(f"user:{SECRET}:x".encode()).decode()
    text = f"a {SECRET} b {encoded} c {quote(SECRET, safe='')} d {inside} {SECRET}{SECRET} hunter2"
    path = tmp_path / "run.log"
    log = LogWriter(path, limit=10**6, keep=2, secrets=[SECRET, "short", ""])
    data = text.encode()
    for start in range(0, len(data), size):
        log.write(data[start : start + size])
    log.close()
    written = path.read_text()
    assert written.startswith("a [secret] b [secret] c [secret] d ")
    assert written.endswith("[secret][secret] hunter2")
    assert base64.b64encode(SECRET.encode())[2:-6].decode() not in written
    assert inside[8:-8] not in written


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("pin 1234, again: 1234", "pin [secret], again: [secret]"),
        ("1234", "[secret]"),
        ("PIN=1234&x", "PIN=[secret]&x"),
        ("1234 1234\n1234", "[secret] [secret]\n[secret]"),
        ("12345 91234 1234_ x1234 ü1234 1234ü 12341234", "12345 91234 1234_ x1234 ü1234 1234ü 12341234"),
        ("a k-y! k-y!b xk-y!", "a [secret] [secret]b xk-y!"),
        ("k-y!k-y!", "[secret][secret]"),
        ("as 123 and 7", "as 123 and 7"),
        (base64.b64encode(b"1234").decode(), "[secret]"),
    ],
)
def test_a_short_value_is_masked_where_it_stands_alone(text: str, written: str) -> None:
    data = text.encode()
    for size in range(1, len(data) + 1):
        masker = Masker(["1234", "k-y!", "7", "123", ""])
        got = b"".join(masker.feed(data[at : at + size]) for at in range(0, len(data), size)) + masker.rest()
        assert got.decode() == written


def test_only_what_may_be_a_secret_is_held_back() -> None:
    masker = Masker(["hunter2"])
    assert masker.feed(b"who is hun") == b"who is "
    assert masker.feed(b"gry?") == b"hungry?"
    assert masker.feed(b"hunter") == b""
    assert masker.rest() == b"hunter"
    assert masker.rest() == b""


def test_random_cuts_mask_as_one_piece_does() -> None:
    rng = random.Random(7)
    for _ in range(300):
        secrets = ["".join(rng.choices("ab", k=rng.randint(6, 9))) for _ in range(2)]
        data = "".join(rng.choices("ab", k=200)).encode()
        masker, cut = Masker(secrets), b""
        position = 0
        while position < len(data):
            size = rng.randint(1, 30)
            cut += masker.feed(data[position : position + size])
            position += size
        cut += masker.rest()
        assert not any(secret.encode() in cut for secret in secrets)


def test_the_lines_of_a_key_are_masked_one_by_one() -> None:
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\n-----END KEY-----"
    assert Masker([key]).feed(b"got MIIEvQIBADANBgkqhkiG9w0B\n").startswith(b"got [secret]")


@pytest.mark.parametrize("count", [0, 1, 5, 99, 100, 150, 100_000])
def test_the_tail_goes_across_files(tmp_path: Path, count: int) -> None:
    path = tmp_path / "run.log"
    log = LogWriter(path, limit=200, keep=50)
    lines = [f"line {number}" for number in range(100)]
    log.write("".join(f"{line}\n" for line in lines).encode())
    log.close()
    assert tail(path, count) == (lines[-count:] if count else [])


def test_the_tail_of_nothing(tmp_path: Path) -> None:
    assert tail(tmp_path / "run.log", 10) == []
    (tmp_path / "run.log").write_bytes(b"")
    assert tail(tmp_path / "run.log", 10) == []


def test_an_unfinished_line_is_in_the_tail(tmp_path: Path) -> None:
    (tmp_path / "run.log").write_bytes(b"a\n\nb")
    assert tail(tmp_path / "run.log", 10) == ["a", "", "b"]
    assert tail(tmp_path / "run.log", 1) == ["b"]


def test_what_is_read_is_harmless(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    path.write_bytes(b"before\n\x1b[2Jhidden\n 1%\r 99%\n\xff\n")
    assert tail(path, 10) == ["before", "hidden", " 99%", "�"]
    assert list(follow(path, going=lambda: False, offset=0)) == tail(path, 10)


def test_a_whole_log_is_all_that_rotation_kept(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    assert list(whole(path)) == []
    log = LogWriter(path, limit=50, keep=3)
    for number in range(40):
        log.write(f"line \x1b[31m{number}\n".encode())
    log.write(b"not yet ended")
    log.close()
    assert len(files(path)) == 3
    found = list(whole(path))
    assert found == tail(path, 1000)
    assert found[-2:] == ["line 39", "not yet ended"] and found[0] not in ("line 0", "line 39")


def test_a_whole_log_that_is_rotated_meanwhile_has_no_gap(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    log = LogWriter(path, limit=200_000, keep=4)
    log.write(b"".join(b"line %06d\n" % number for number in range(40_000)))
    reading = whole(path)
    found = [next(reading)]
    log.write(b"".join(b"line %06d\n" % number for number in range(40_000, 60_000)))
    log.close()
    found += reading
    assert found == [f"line {number:06}" for number in range(60_000)][-len(found) :]
    assert len(found) >= 40_000


def test_following_reads_on_through_rotation(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    log = LogWriter(path, limit=2000, keep=1000)
    log.write(b"before\n")
    stop = threading.Event()
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(follow(path, going=lambda: not stop.is_set())))
    reader.start()
    time.sleep(0.3)
    for number in range(3000):
        log.write(b"line %d\n" % number)
        if number % 500 == 0:
            time.sleep(0.05)
    log.write(b"the rest")
    log.close()
    stop.set()
    reader.join(10)
    assert not reader.is_alive()
    assert lines == [f"line {number}" for number in range(3000)] + ["the rest"]


def test_a_tail_ends_where_it_is_told_to(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    log = LogWriter(path, limit=100, keep=1000)
    log.write(b"".join(b"line %d\n" % number for number in range(50)))
    there = path.stat()
    log.write(b"later\n" * 100)
    log.close()
    place = Place(inode=there.st_ino, offset=there.st_size)
    assert tail(path, 20, place) == [f"line {number}" for number in range(30, 50)]


def test_nothing_is_missing_between_the_tail_and_what_follows(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    log = LogWriter(path, limit=100, keep=1000)
    log.write(b"".join(b"line %d\n" % number for number in range(50)))
    lines = follow(path, going=lambda: False, before=20)
    first = next(lines)
    log.write(b"".join(b"line %d\n" % number for number in range(50, 90)))
    log.close()
    assert [first, *lines] == [f"line {number}" for number in range(30, 90)]


def test_following_waits_for_the_file(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    stop = threading.Event()
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(follow(path, going=lambda: not stop.is_set())))
    reader.start()
    time.sleep(0.1)
    path.write_bytes(b"here\n")
    time.sleep(0.5)
    stop.set()
    reader.join(5)
    assert lines == ["here"]


def test_the_count_of_what_was_dropped_is_never_half_written(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    log = LogWriter(path, limit=10, keep=1)
    for _ in range(20):
        log.write(b"0123456789\n")
        sidecar = tmp_path / "run.log.dropped"
        assert not sidecar.exists() or json.loads(sidecar.read_text())["files"] > 0
    log.close()
