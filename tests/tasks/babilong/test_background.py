import itertools
import json

import numpy as np
import pytest

from armt.core.errors import DataError
from armt.tasks.babilong import BackgroundStore, BackgroundWalk, Book, build_store, cached_store
from armt.tasks.babilong.background import MIN_SENTENCE_LEN
from armt.tasks.babilong.corpus import is_test_book, split_sentences


def walk_of(store, seed=0):
    return BackgroundWalk(store, np.random.default_rng(seed))


def sentences_of(store, background):
    """Cuts what was taken at its gaps."""
    cuts = background.gaps
    return [background.tokens[start:end] for start, end in itertools.pairwise(cuts)]


def test_sentences_are_encoded_one_by_one_and_short_ones_left_out(books, encoder):
    text = (
        "Yes. This is a sentence of quite a few words, I should say. No! And here is another one."
    )
    store = build_store([Book("short", "Yes. No."), Book("one", text)], encoder)
    kept = [ids for s in split_sentences(text) if len(ids := encoder.encode(" " + s)) >= 10]
    assert store.book_names == ("one",)
    assert store.tokens.tolist() == [token for ids in kept for token in ids]
    assert np.diff(store.sentence_offsets).tolist() == [len(ids) for ids in kept]


def test_a_small_vocabulary_takes_two_bytes_a_token(store):
    assert store.tokens.dtype == np.uint16
    assert np.diff(store.sentence_offsets).min() >= MIN_SENTENCE_LEN
    assert store.num_tokens == len(store.tokens)


def test_no_usable_sentence_is_told(encoder):
    with pytest.raises(DataError, match="No sentence of at least 10 tokens"):
        _ = build_store([Book("short", "Yes. No.")], encoder)


def test_a_store_survives_its_files(store, tmp_path):
    store.save(tmp_path / "store")
    again = BackgroundStore.load(tmp_path / "store")
    assert np.array_equal(again.tokens, store.tokens)
    assert np.array_equal(again.sentence_offsets, store.sentence_offsets)
    assert np.array_equal(again.book_offsets, store.book_offsets)
    assert (again.book_names, again.books) == (store.book_names, store.books)
    assert again.digest == store.digest
    assert again.tokens.dtype == store.tokens.dtype


@pytest.mark.parametrize("damage", ["missing", "cut", "no json", "other length"])
def test_damaged_stores_are_told(store, tmp_path, damage):
    store.save(tmp_path)
    tokens, meta = tmp_path / "tokens.npy", tmp_path / "store.json"
    if damage == "missing":
        tokens.unlink()
    elif damage == "cut":
        _ = tokens.write_bytes(tokens.read_bytes()[:1000])
    elif damage == "no json":
        _ = meta.write_text("{")
    else:
        held = json.loads(meta.read_text())
        _ = meta.write_text(json.dumps({**held, "num_tokens": 5}))
    with pytest.raises(DataError, match="build anew"):
        _ = BackgroundStore.load(tmp_path)


def test_the_cache_is_keyed_by_texts_and_tokenizer(books, encoder, tmp_path):
    class Counting:
        def __init__(self):
            self.calls = 0

        def __getattr__(self, name):
            self.calls += name == "encode_batch"
            return getattr(encoder, name)

    counting = Counting()
    first = cached_store(books[:3], counting, tmp_path)
    assert counting.calls == 3
    again = cached_store(books[:3], counting, tmp_path)
    assert counting.calls == 3
    assert np.array_equal(first.tokens, again.tokens)
    _ = cached_store(
        [*books[:2], Book(books[2].name, books[2].text + " More.")], counting, tmp_path
    )
    assert counting.calls == 6
    for meta in tmp_path.glob("*/store.json"):
        _ = meta.write_text("damaged")
    assert cached_store(books[:3], counting, tmp_path).digest == first.digest
    assert counting.calls == 9


def test_no_book_is_in_both_splits(store):
    train, test = (store.only(split) for split in ("train", "test"))
    assert not set(train.books) & set(test.books)
    assert sorted(train.books + test.books) == list(range(len(store.book_names)))
    assert train.num_tokens + test.num_tokens == store.num_tokens == store.only("all").num_tokens
    assert 0.04 < len(test.books) / len(store.book_names) < 0.3


def test_a_walk_reads_its_own_split_only(store):
    book_of = (
        np.searchsorted(store.book_offsets, np.arange(len(store.sentence_offsets)), "right") - 1
    )
    for split in ("train", "test"):
        part = store.only(split)
        seen = {int(book_of[span.first]) for span in walk_of(part).spans(400_000)}
        assert seen <= set(part.books)
        assert len(seen) > 0.8 * len(part.books)


def test_an_empty_split_is_told(books, encoder):
    one = build_store(books[:1], encoder)
    empty = "train" if is_test_book(one.book_names[0]) else "test"
    with pytest.raises(DataError, match=f"No book of 1 falls into the split '{empty}'"):
        _ = one.only(empty)


@pytest.mark.parametrize("length", [0, 1, 9, 100, 777, 30_000])
def test_a_walk_takes_exactly_what_is_asked(store, length):
    background = walk_of(store).take(length)
    assert len(background.tokens) == length
    assert background.gaps[0] == 0
    assert background.gaps[-1] == length
    assert (np.diff(background.gaps) > 0).all()


def test_what_is_taken_are_whole_sentences_but_for_the_last(store):
    cuts = store.sentence_offsets
    every = [store.tokens[start:end].tolist() for start, end in itertools.pairwise(cuts)]
    known = {tuple(sentence) for sentence in every}
    *whole, last = sentences_of(store, walk_of(store).take(20_000))
    assert all(tuple(sentence.tolist()) in known for sentence in whole)
    assert any(sentence[: len(last)] == last.tolist() for sentence in every)


def test_a_walk_goes_on_with_the_next_sentence(store):
    walk = walk_of(store)
    (first,) = walk.spans(25)
    following = walk.spans(25)[0]
    assert following.first == first.last or first.last in store.book_offsets


def test_a_leap_opens_another_place(store):
    walk = walk_of(store)
    last = walk.spans(10)[-1].last
    starts = [walk.leap().spans(10)[0].first for _ in range(20)]
    assert len(set(starts)) > 10
    assert starts != list(range(last, last + 20))


def test_a_walk_is_decided_by_its_seed(store):
    one, two, other = (walk_of(store, seed).take(5000).tokens for seed in (1, 1, 2))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)
