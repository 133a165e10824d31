import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from armt.core.errors import DataError, StorageError
from armt.tasks.babi.dice import Dice
from armt.tasks.babilong import BackgroundStore, ReferenceWalk, build_store
from armt.tasks.babilong.corpus import is_test_book
from armt.tasks.babilong.store import MIN_SENTENCE_LEN


@pytest.fixture(scope="module")
def saved(store, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "store"
    store.save(folder)
    return folder


@pytest.fixture
def copied(saved, tmp_path) -> Path:
    """A copy to be damaged."""
    return shutil.copytree(saved, tmp_path / "store")


def test_a_small_vocabulary_takes_two_bytes_a_token(store):
    assert store.tokens.dtype == np.uint16
    assert np.diff(store.sentence_offsets).min() >= MIN_SENTENCE_LEN
    assert store.num_tokens == len(store.tokens)


def test_a_store_survives_its_files(store, saved):
    again = BackgroundStore.load(saved)
    assert np.array_equal(again.tokens, store.tokens)
    assert np.array_equal(again.sentence_offsets, store.sentence_offsets)
    assert np.array_equal(again.book_offsets, store.book_offsets)
    assert (again.book_names, again.books) == (store.book_names, store.books)
    assert (again.digest, again.splitter) == (store.digest, store.splitter)
    assert again.tokens.dtype == store.tokens.dtype
    walks = [ReferenceWalk(each, Dice("files")).spans(5000) for each in (store, again)]
    assert walks[0] == walks[1]


def test_an_opened_store_stays_on_the_disk(saved):
    tokens = BackgroundStore.load(saved).tokens
    assert isinstance(tokens.base, np.memmap)
    assert not tokens.flags.writeable


def test_every_flipped_byte_is_found(copied):
    rng = np.random.default_rng(0)
    paths = sorted(copied.iterdir())
    assert len(paths) == 10
    for path in paths:
        whole = path.read_bytes()
        for position in [0, len(whole) - 1, *rng.integers(len(whole), size=5).tolist()]:
            damaged = bytearray(whole)
            damaged[position] ^= 1 << int(rng.integers(8))
            _ = path.write_bytes(damaged)
            with pytest.raises(DataError, match=r"(?s)no readable .*build anew"):
                _ = BackgroundStore.load(copied)
        _ = path.write_bytes(whole)
    _ = BackgroundStore.load(copied)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("missing", r"'tokens\.npy' cannot be read: .*No such file"),
        ("cut", r"'tokens\.npy' has 1,000 bytes instead of"),
        ("no json", r"its 'store\.json' cannot be read"),
        ("a list", r"its 'store\.json' cannot be read"),
        ("other length", r"its 'store\.json' was changed"),
        ("older", r"its format is 'armt-background-1', not 'armt-background-2'"),
        ("no folder", r"its 'store\.json' cannot be read"),
    ],
)
def test_damaged_stores_are_told(copied, damage, reason):
    tokens, meta = copied / "tokens.npy", copied / "store.json"
    held = json.loads(meta.read_text())
    if damage == "missing":
        tokens.unlink()
    elif damage == "cut":
        _ = tokens.write_bytes(tokens.read_bytes()[:1000])
    elif damage == "no json":
        _ = meta.write_text("{")
    elif damage == "a list":
        _ = meta.write_text("[]")
    elif damage == "other length":
        held["files"]["tokens"]["nbytes"] = 5
        _ = meta.write_text(json.dumps(held))
    elif damage == "older":
        _ = meta.write_text(json.dumps({"format": "armt-background-1", "num_tokens": 5}))
    else:
        shutil.rmtree(copied)
    with pytest.raises(DataError, match=rf"{reason}.*build anew"):
        _ = BackgroundStore.load(copied)


def test_saving_replaces_an_older_store(books, encoder, copied):
    other = build_store(books[:2], encoder)
    other.save(copied)
    assert BackgroundStore.load(copied).digest == other.digest
    assert [path.name for path in copied.parent.iterdir()] == ["store"]


def test_saving_spares_what_is_no_store(store, tmp_path):
    _ = (tmp_path / "thesis.txt").write_text("ten years of work")
    with pytest.raises(StorageError, match="holds files that are no background store"):
        store.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_saving_fails_whole(store, copied, monkeypatch):
    before = {path.name: path.read_bytes() for path in copied.iterdir()}

    def no_space(file, array, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", no_space)
    with pytest.raises(StorageError, match="No space left"):
        store.save(copied)
    assert {path.name: path.read_bytes() for path in copied.iterdir()} == before
    assert [path.name for path in copied.parent.iterdir()] == ["store"]


def test_the_older_store_comes_back_if_the_new_one_cannot_take_its_place(
    books, encoder, copied, monkeypatch
):
    before = BackgroundStore.load(copied).digest
    rename = Path.rename

    def refusing(path, target):
        if path.suffix == ".tmp" and Path(target) == copied:
            raise OSError(16, "Device or resource busy")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refusing)
    with pytest.raises(StorageError, match="Device or resource busy"):
        build_store(books[:2], encoder).save(copied)
    assert BackgroundStore.load(copied).digest == before
    assert [path.name for path in copied.parent.iterdir()] == ["store"]


def test_a_folder_that_cannot_be_made_is_told(store, tmp_path):
    _ = (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="Choose another folder"):
        store.save(tmp_path / "file" / "store")


def test_no_book_is_in_both_splits(store):
    train, test = (store.only(split) for split in ("train", "test"))
    assert not set(train.books) & set(test.books)
    assert sorted(train.books + test.books) == list(range(len(store.book_names)))
    assert train.num_tokens + test.num_tokens == store.num_tokens == store.only("all").num_tokens
    assert 0.04 < len(test.books) / len(store.book_names) < 0.3


def test_an_empty_split_is_told(books, encoder):
    one = build_store(books[:1], encoder)
    empty = "train" if is_test_book(one.book_names[0]) else "test"
    with pytest.raises(DataError, match=f"No book of 1 falls into the split '{empty}'"):
        _ = one.only(empty)
