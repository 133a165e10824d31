from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from armt.core.errors import DataError, UnknownNameError
from armt.tasks.babilong import BackgroundStore, Book, build_store, cached_store
from armt.tasks.babilong.corpus import Corpus
from armt.tasks.babilong.splitters import PunktSplitter, split_sentences


class Counting:
    """An encoder that counts how often it is asked."""

    def __init__(self, encoder):
        self.encoder = encoder
        self.calls = 0

    def encode_batch(self, texts):
        self.calls += 1
        return self.encoder.encode_batch(texts)

    def __getattr__(self, name):
        return getattr(self.encoder, name)


def same(one, other):
    return one.digest == other.digest and np.array_equal(one.tokens, other.tokens)


def test_sentences_are_encoded_one_by_one_and_short_ones_left_out(books, encoder):
    text = (
        "Yes. This is a sentence of quite a few words, I should say. No! And here is another one."
    )
    store = build_store([Book("short", "Yes. No."), Book("one", text)], encoder)
    kept = [ids for s in split_sentences(text) if len(ids := encoder.encode(" " + s)) >= 10]
    assert store.book_names == ("one",)
    assert store.tokens.tolist() == [token for ids in kept for token in ids]
    assert np.diff(store.sentence_offsets).tolist() == [len(ids) for ids in kept]


def test_no_usable_sentence_is_told(encoder):
    with pytest.raises(DataError, match="No sentence of at least 10 tokens"):
        _ = build_store([Book("short", "Yes. No.")], encoder)


def test_an_empty_corpus_is_told(encoder, tmp_path):
    with pytest.raises(DataError, match="The corpus is empty"):
        _ = build_store([], encoder)
    with pytest.raises(DataError, match=r"No .txt file"):
        _ = cached_store(Corpus([tmp_path]), encoder, tmp_path)


def test_a_tokenizer_without_the_methods_is_told(books, tmp_path):
    class Half:
        vocab_size = 5

    for build in (build_store, lambda held, half: cached_store(held, half, tmp_path)):
        with pytest.raises(DataError, match=r"Half cannot encode .* no encode_batch, digest"):
            _ = build(books, Half())


def test_punkt_sentences_are_encoded_as_they_are(encoder):
    text = "He went\ninto the garden, as far as anybody could tell. It was seen by\nnobody. So."
    store = build_store([Book("one", text)], encoder, splitter="punkt")
    sentences = [text[start:end] for start, end in PunktSplitter().spans(text)]
    kept = [ids for each in sentences if len(ids := encoder.encode(" " + each)) >= 10]
    assert store.tokens.tolist() == [token for ids in kept for token in ids]
    assert len(store.cuts.tails) == 3
    assert store.cuts.num_kept.tolist() == [0, *np.cumsum([len(kept) > 0, len(kept) > 1, 0])]
    assert store.splitter.startswith("punkt nltk-")


def test_an_unknown_splitter_is_told(books, encoder):
    with pytest.raises(UnknownNameError, match="Known: plain, punkt"):
        _ = build_store(books, encoder, splitter="regex")


@pytest.mark.parametrize("splitter", ["plain", "punkt"])
def test_the_number_of_workers_changes_nothing(books, encoder, splitter, monkeypatch):
    held = books[:25]
    one = build_store(held, encoder, splitter=splitter, num_workers=1)
    three = build_store(iter(held), encoder, splitter=splitter, num_workers=3)
    assert same(one, three)
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    assert same(one, build_store(held, encoder, splitter=splitter))


def test_splitters_make_different_stores(books, encoder):
    plain, punkt = (build_store(books[:9], encoder, splitter=name) for name in ("plain", "punkt"))
    assert plain.digest != punkt.digest


def test_a_failing_encoder_is_heard(books, encoder):
    class Failing(Counting):
        def encode_batch(self, texts):
            raise DataError("no vocabulary")

    with pytest.raises(DataError, match="no vocabulary"):
        _ = build_store(books, Failing(encoder), num_workers=2)


def test_progress_is_told_in_bytes(books, encoder, tmp_path):
    held = books[:12]
    nbytes = sum(len(book.text.encode()) for book in held)
    told = []
    _ = cached_store(held, encoder, tmp_path, on_progress=lambda *each: told.append(each))
    assert len(told) == 12
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1] == (nbytes, nbytes)
    unknown = []
    _ = build_store(iter(held), encoder, on_progress=lambda *each: unknown.append(each))
    assert unknown[-1] == (nbytes, 0)


def test_the_cache_is_keyed_by_texts_tokenizer_and_splitter(books, encoder, tmp_path):
    counting = Counting(encoder)
    first = cached_store(books[:3], counting, tmp_path)
    assert counting.calls == 3
    again = cached_store(iter(books[:3]), counting, tmp_path)
    assert counting.calls == 3
    assert same(first, again)
    changed = Book(books[2].name, books[2].text + " More.")
    _ = cached_store([*books[:2], changed], counting, tmp_path)
    assert counting.calls == 6
    _ = cached_store(books[:3], counting, tmp_path, splitter="punkt")
    assert counting.calls == 9
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("damage", ["text", "tokens", "older"])
def test_a_damaged_cache_is_built_anew(books, encoder, tmp_path, damage):
    counting = Counting(encoder)
    digest = cached_store(books[:3], counting, tmp_path).digest
    (folder,) = tmp_path.iterdir()
    if damage == "text":
        _ = (folder / "store.json").write_text("damaged")
    elif damage == "tokens":
        held = bytearray((folder / "tokens.npy").read_bytes())
        held[-1] ^= 1
        _ = (folder / "tokens.npy").write_bytes(held)
    else:
        _ = (folder / "store.json").write_text('{"format": "armt-background-1"}')
    assert same(cached_store(books[:3], counting, tmp_path), build_store(books[:3], encoder))
    assert counting.calls == 6
    assert BackgroundStore.load(folder).digest == digest


def test_a_corpus_read_twice_is_not_held(encoder, books, tmp_path):
    class Shelf:
        num_readings = 0

        def __iter__(self):
            self.num_readings += 1
            return iter(books[:2])

    shelf = Shelf()
    _ = cached_store(shelf, encoder, tmp_path)
    assert shelf.num_readings == 3, "asked for an iterator, hashed, encoded"


def test_equal_stores_have_equal_digests(books, encoder, tmp_path):
    direct = build_store(books[:3], encoder)
    cached = cached_store(books[:3], encoder, tmp_path)
    assert same(direct, cached)
    renamed = build_store([Book("other", books[0].text), *books[1:3]], encoder)
    assert renamed.digest != direct.digest


def test_two_may_build_the_same_store_at_once(books, encoder, tmp_path):
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: cached_store(books[:9], encoder, tmp_path), range(4)))
    assert {store.digest for store in made} == {build_store(books[:9], encoder).digest}
    assert len(list(tmp_path.iterdir())) == 1
