import io
import os
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from armt.core.errors import DataError
from armt.serving import reader as module
from armt.serving.reader import TextReader, TextSource, find_sources


class Slow(io.RawIOBase):
    """Hands over a few bytes at a time, as a pipe does."""

    def __init__(self, data: bytes, step: int) -> None:
        self.data, self.step = data, step

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        part, self.data = self.data[: self.step], self.data[self.step :]
        buffer[: len(part)] = part
        return len(part)


def pieces_of(data: bytes, piece_len: int = 40, step: int | None = None) -> list[str]:
    stream = io.BytesIO(data) if step is None else io.BufferedReader(Slow(data, step))
    return list(TextReader([TextSource("text", lambda: stream)], piece_len=piece_len).pieces())


@settings(max_examples=60, deadline=None)
@given(st.text(st.sampled_from("ab \n.é\U0001f600"), max_size=400), st.integers(1, 60))
def test_nothing_is_lost_and_no_piece_is_too_long(text, piece_len):
    found = pieces_of(text.encode(), piece_len)
    assert "".join(found) == text
    assert all(0 < len(piece) <= piece_len for piece in found)


@settings(max_examples=30, deadline=None)
@given(st.text(st.sampled_from("ab \n.é"), max_size=300), st.integers(1, 7))
def test_the_pieces_do_not_depend_on_how_the_text_arrives(text, step):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_READ_NBYTES", 16)
        assert pieces_of(text.encode(), step=step) == pieces_of(text.encode())


def test_a_piece_ends_at_the_best_edge():
    assert pieces_of(b"one two\n\nthree four\nfive six", 24)[0] == "one two\n\n"
    assert pieces_of(b"one two three\nfour five six", 24)[0] == "one two three\n"
    assert pieces_of(b"one two three four five six", 16) == ["one two three", " four five six"]
    assert pieces_of(b"x" * 50, 20) == ["x" * 20, "x" * 20, "x" * 10]


def test_bytes_that_are_no_utf8_are_counted_also_across_reads(monkeypatch):
    monkeypatch.setattr(module, "_READ_NBYTES", 3)
    reader = TextReader([TextSource("text", lambda: io.BytesIO("aé€".encode() + b"\xff\xe9b\xc3"))])
    assert "".join(reader.pieces()) == "aé€\ufffd\ufffdb\ufffd"
    assert reader.num_replaced == 3
    assert reader.nbytes == {"text": 10}


def test_a_byte_order_mark_is_no_text():
    assert pieces_of(b"\xef\xbb\xbfabc") == ["abc"]


def test_two_files_never_share_a_piece(tmp_path):
    for name in ("b", "a"):
        _ = (tmp_path / name).write_text(name * 3)
    reader = TextReader(find_sources([str(tmp_path)], io.BytesIO()))
    assert list(reader.pieces()) == ["aaa", "bbb"]
    assert list(reader.nbytes.values()) == [3, 3]


def test_a_file_that_vanishes_is_told(tmp_path):
    path = tmp_path / "a"
    _ = path.write_text("abc")
    reader = TextReader(find_sources([str(path)], io.BytesIO()))
    path.unlink()
    with pytest.raises(DataError, match="Cannot read"):
        _ = list(reader.pieces())


def test_nothing_of_a_pipe_is_lost_by_looking_at_it(tmp_path):
    pipe, text = tmp_path / "pipe", b"Mary went to the garden. " * 8000
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(text,), daemon=True)
    writer.start()
    reader = TextReader(find_sources([str(pipe)], io.BytesIO()))
    assert "".join(reader.pieces()).encode() == text
    writer.join()
