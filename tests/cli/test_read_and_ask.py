import errno
import os
import shutil
from pathlib import Path

import pytest
import torch

from armt.core.errors import StateError
from armt.recurrence.state_file import load_state, read_header
from armt.serving.answer import answer_question
from armt.serving.boxed_model import load_boxed
from tiny import assert_same_state
from tiny_boxed import PROSE


@pytest.fixture
def state(run, model, book, tmp_path) -> Path:
    path = tmp_path / "book.state"
    assert run("read", book, "--out", path, "--model", model).exit_code == 0
    return path


def test_a_text_is_read_and_asked_about(run, model, state):
    result = run("ask", state, "Where is Mary?", "--model", model)
    assert result.exit_code == 0, result.stderr
    boxed = load_boxed(model)
    ids = boxed.encoder.encode(" " + " ".join((PROSE * 2).split()))
    expected = answer_question(boxed, boxed.model.read(ids), "Where is  Mary?\n")
    assert result.stdout.strip() == expected
    assert "Notice" not in result.stderr
    header = read_header(state)
    assert header.num_tokens == (len(ids),)
    assert [source.nbytes for source in header.sources] == [len(PROSE * 2)]


def test_asking_leaves_the_state_file_as_it_is(run, model, state):
    before = state.read_bytes()
    _ = run("ask", state, "Where is Mary?", "--model", model)
    assert state.read_bytes() == before


def test_standard_input_and_a_file_give_the_same_state(run, model, book, state, tmp_path):
    path = tmp_path / "other.state"
    result = run("read", "-", "--out", path, "--model", model, given=book.read_bytes())
    assert result.exit_code == 0, result.stderr
    boxed = load_boxed(model)
    assert_same_state(load_state(path, boxed.model), load_state(state, boxed.model))
    assert read_header(path).sources[0].name == "-"


def test_a_folder_is_read_in_the_order_of_names(run, model, tmp_path):
    folder, path = tmp_path / "books", tmp_path / "books.state"
    folder.mkdir()
    _ = (folder / "b.txt").write_text("John moved to the kitchen.")
    _ = (folder / "a.txt").write_text("Mary went to the garden.")
    _ = (folder / ".hidden").write_bytes(b"\0")
    assert run("read", folder, "--out", path, "--model", model).exit_code == 0
    assert [Path(source.name).name for source in read_header(path).sources] == ["a.txt", "b.txt"]
    boxed = load_boxed(model)
    ids = boxed.encoder.encode(" Mary went to the garden. John moved to the kitchen.")
    assert_same_state(load_state(path, boxed.model), boxed.model.read(ids))


@pytest.mark.parametrize("name", ["d[run]/x.state", "x[/run].state", ":book:.state"])
def test_paths_are_shown_as_they_are(run, model, book, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    result = run("read", book, "--out", name, "--model", model)
    assert result.exit_code == 0, result.output
    assert f"tokens into '{name}'" in result.stdout


def test_reading_goes_on_from_a_state(run, model, state, tmp_path):
    more, path = tmp_path / "more.txt", tmp_path / "more.state"
    _ = more.write_text("Mary went to the garden.")
    result = run("read", more, "--out", path, "--from", state, "--model", model)
    assert result.exit_code == 0, result.stderr
    assert len(read_header(path).sources) == 2
    boxed = load_boxed(model)
    ids = boxed.encoder.encode(" " + " ".join((PROSE * 2 + "Mary went to the garden.").split()))
    assert_same_state(load_state(path, boxed.model), boxed.model.read(ids))


@pytest.mark.parametrize("content", [b"", b" \n\n\t ", b"\xef\xbb\xbf"])
def test_an_empty_text_is_told_and_leaves_an_empty_memory(run, model, tmp_path, content):
    book, path = tmp_path / "empty.txt", tmp_path / "empty.state"
    _ = book.write_bytes(content)
    result = run("read", book, "--out", path, "--model", model)
    assert result.exit_code == 0
    assert "Notice: the text is empty" in result.stderr
    boxed = load_boxed(model)
    assert_same_state(load_state(path, boxed.model), boxed.model.init_state(1))
    asked = run("ask", path, "Where is Mary?", "--model", model)
    assert asked.exit_code == 0
    assert "Notice: nothing was read into this memory" in asked.stderr


def test_a_text_shorter_than_a_segment_is_kept(run, model, tmp_path):
    book, path = tmp_path / "short.txt", tmp_path / "short.state"
    _ = book.write_text("the garden")
    assert run("read", book, "--out", path, "--model", model).exit_code == 0
    boxed = load_boxed(model)
    loaded = load_state(path, boxed.model)
    assert loaded.pending.tolist() == [boxed.encoder.encode(" the garden")]
    asked = run("ask", path, "Where is Mary?", "--model", model)
    assert asked.exit_code == 0
    assert "Notice" not in asked.stderr


def test_bytes_that_are_no_utf8_are_replaced_and_counted(run, model, tmp_path):
    book, path = tmp_path / "latin.txt", tmp_path / "latin.state"
    _ = book.write_bytes("Zoë café".encode("latin-1"))
    result = run("read", book, "--out", path, "--model", model)
    assert result.exit_code == 0
    assert "Notice: 2 bytes were not UTF-8" in result.stderr
    boxed = load_boxed(model)
    ids = boxed.encoder.encode(" Zo\ufffd caf\ufffd")
    assert_same_state(load_state(path, boxed.model), boxed.model.read(ids))


def test_missing_binary_and_unreadable_texts_are_refused(refused, model, tmp_path, monkeypatch):
    monkeypatch.setattr("armt.serving.reader._READ_NBYTES", 64)
    out = tmp_path / "x.state"
    binary = tmp_path / "image.bin"
    _ = binary.write_bytes(b"abc\0def")
    late = tmp_path / "late.txt"
    _ = late.write_bytes(b"words " * 20 + b"\0")
    (tmp_path / "nothing").mkdir()
    read = ("--out", out, "--model", model)
    assert "No file or folder" in refused("read", tmp_path / "missing.txt", *read)
    assert "is binary" in refused("read", binary, *read)
    assert "is binary" in refused("read", "-", *read, given=b"abc\0def")
    assert "is binary" in refused("read", late, *read)
    assert "holds no file" in refused("read", tmp_path / "nothing", *read)
    assert not out.exists()


def test_damaged_state_files_are_refused(refused, model, state, tmp_path):
    whole = state.read_bytes()
    ask = ("ask", tmp_path / "bad.state", "Where is Mary?", "--model", model)
    assert "No state file" in refused(*ask)
    damaged = {
        "empty": b"",
        "truncated in its header": whole[:50],
        "truncated in its tensors": whole[:-7],
        "one bit": whole[:-20] + bytes([whole[-20] ^ 1]) + whole[-19:],
        "text": b"Once upon a time there was a garden.",
        "pickle": b"\x80\x04\x95" + whole[3:],
    }
    for content in damaged.values():
        _ = (tmp_path / "bad.state").write_bytes(content)
        message = refused(*ask)
        assert "damaged" in message or "no state file" in message


def test_a_pickle_is_refused_by_its_name(refused, model, tmp_path):
    torch.save({"a": torch.zeros(2)}, tmp_path / "state.pt")
    assert "pickle" in refused("ask", tmp_path / "state.pt", "Where?", "--model", model)


def test_the_state_of_another_model_is_refused(refused, other_model, state, book, tmp_path):
    message = refused("ask", state, "Where is Mary?", "--model", other_model)
    assert "another model" in message
    out = tmp_path / "out.state"
    args = ("read", book, "--out", out, "--from", state, "--model", other_model)
    assert "another model" in refused(*args)
    assert not out.exists()


def test_an_empty_question_is_refused(refused, model, state):
    assert "question is empty" in refused("ask", state, "  ", "--model", model)


def test_folders_without_a_model_are_refused(refused, model, state, tmp_path):
    assert "No recurrent model" in refused("ask", state, "Where?", "--model", tmp_path / "none")
    broken = tmp_path / "broken"
    _ = shutil.copytree(model, broken)
    _ = (broken / "model.safetensors").write_bytes(b"")
    assert "cannot be loaded" in refused("ask", state, "Where?", "--model", broken)
    _ = shutil.copy(model / "model.safetensors", broken)
    _ = (broken / "config.json").write_text('{"model_type": "martian"}')
    assert "cannot be loaded" in refused("ask", state, "Where?", "--model", broken)


def test_a_model_without_a_tokenizer_is_told_apart_from_no_model(refused, model, book, tmp_path):
    bare, out = tmp_path / "bare", tmp_path / "x.state"
    _ = shutil.copytree(model, bare)
    (bare / "tokenizer.json").unlink()
    message = refused("read", book, "--out", out, "--model", bare)
    assert "holds a model but no tokenizer" in message
    assert f"tokenizer.save_pretrained('{bare}')" in message
    (bare / "config.json").unlink()
    assert "No recurrent model" in refused("read", book, "--out", out, "--model", bare)


def test_a_full_disk_keeps_the_old_state(refused, model, state, book, monkeypatch):
    before = state.read_bytes()

    def fail(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    message = refused("read", book, "--out", state, "--model", model)
    assert "No space left" in message
    assert state.read_bytes() == before
    assert [path.name for path in state.parent.iterdir() if path.name.endswith(".tmp")] == []


def test_an_interrupted_reading_keeps_the_old_state(run, model, state, book, monkeypatch):
    before = state.read_bytes()

    def interrupt(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("armt.cli.read.read_pieces", interrupt)
    result = run("read", book, "--out", state, "--model", model)
    assert result.exit_code == 130
    assert len(result.stderr.splitlines()) == 1
    assert state.read_bytes() == before


def test_a_reading_whose_memory_breaks_keeps_the_last_good_state(
    refused, model, state, book, monkeypatch
):
    good, before = load_state(state, load_boxed(model).model), state.read_bytes()

    def break_down(*args: object, **options: object) -> None:
        raise StateError("The memory is no longer finite.", state=good)

    monkeypatch.setattr("armt.cli.read.read_pieces", break_down)
    message = refused("read", book, "--out", state, "--model", model)
    assert "no longer finite" in message
    assert state.read_bytes() == before
    kept = load_state(state.with_name("book.state.last-good"), load_boxed(model).model)
    assert_same_state(kept, good)


def test_a_place_that_cannot_be_written_is_refused_before_the_reading(
    refused, model, book, tmp_path, monkeypatch
):
    monkeypatch.setattr("armt.cli.read.read_pieces", lambda *args: pytest.fail("it was read"))
    (tmp_path / "folder").mkdir()
    read = ("read", book, "--model", model, "--out")
    assert "is a folder. Name a file in it" in refused(*read, tmp_path / "folder")
    assert "Nothing was read yet" in refused(*read, book / "x.state")
    usage = shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert "and 10 are free" in refused(*read, tmp_path / "x.state")
