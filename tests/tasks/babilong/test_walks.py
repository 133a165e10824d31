import itertools

import numpy as np
import pytest
from tokenizers import ByteLevelBPETokenizer, Tokenizer

from armt.core.errors import DataError
from armt.tasks.babi.dice import Dice
from armt.tasks.babilong import BackgroundWalk, Book, ReferenceWalk, build_store, folder_books
from armt.tasks.encoder import TokenizerEncoder
from tasks.babilong.plain_cuts import is_plain_cut
from tasks.babilong.reference_sampler import ReferenceSampler


def walk_of(store, seed=0):
    return BackgroundWalk(store, np.random.default_rng(seed))


def sentences_of(background):
    """Cuts what was taken at its gaps."""
    cuts = background.gaps
    return [background.tokens[start:end] for start, end in itertools.pairwise(cuts)]


def test_a_walk_reads_its_own_split_only(store):
    book_of = (
        np.searchsorted(store.book_offsets, np.arange(len(store.sentence_offsets)), "right") - 1
    )
    for split in ("train", "test"):
        part = store.only(split)
        seen = {int(book_of[span.first]) for span in walk_of(part).spans(400_000)}
        assert seen <= set(part.books)
        assert len(seen) > 0.8 * len(part.books)


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
    *whole, last = sentences_of(walk_of(store).take(20_000))
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


@pytest.fixture(scope="module")
def gpt2(shared_data):
    """GPT-2's encoder, by which the reference counts."""
    folder = shared_data / "gpt2_bpe"
    made = ByteLevelBPETokenizer(str(folder / "encoder.json"), str(folder / "vocab.bpe"))
    return TokenizerEncoder(Tokenizer.from_str(made.to_str()))


@pytest.fixture(scope="module")
def novels(shared_data):
    books = folder_books(shared_data / "books")
    return [book for book in books if book.name.startswith(("Barclay_P", "Bennet_B", "Birmi"))]


def compare(store, texts, encode, lengths, **options):
    """Walks twice with the same draws: through the store, and by the published rule."""
    num_plain = 0
    for number, length in enumerate(lengths):
        key = ("walk", number, length)
        walk = ReferenceWalk(store, Dice(*key), **options)
        reference = ReferenceSampler(texts, encode, Dice(*key), **options)
        for _ in range(2):
            told = sentences_of(walk.take(length))
            read = reference.take(length)
            cuts = [(texts[book], start, size) for book, start, size in reference.cuts]
            if not all(is_plain_cut(*cut) for cut in cuts):
                break
            num_plain += 1
            assert [sentence.tolist() for sentence in told] == read
    return num_plain / (2 * len(lengths))


def test_the_reference_walk_reads_what_the_reference_reads(novels, gpt2):
    assert len(novels) > 1
    store = build_store(novels, gpt2, splitter="punkt")
    texts = [book.text for book in novels]
    lengths = [*([100] * 40), *([700] * 20), *([8000] * 3)]
    assert compare(store, texts, gpt2.encode, lengths) > 0.85


def test_the_reference_walk_may_skip_long_sentences(novels, gpt2):
    store = build_store(novels[:1], gpt2, splitter="punkt")
    share = compare(store, [novels[0].text], gpt2.encode, [600] * 20, max_sentence_len=30)
    assert share > 0.85


def test_unshuffled_walks_read_the_books_from_their_start(books, encoder):
    held = books[3:8]
    store = build_store(held, encoder, splitter="punkt")
    texts = [book.text for book in held if book.name in store.book_names]
    walk = ReferenceWalk(store, Dice(0), is_shuffled=False)
    reference = ReferenceSampler(texts, encoder.encode, Dice(0), is_shuffled=False)
    for length in (50, 300, store.num_tokens, 200):
        told = [sentence.tolist() for sentence in sentences_of(walk.take(length))]
        assert told == reference.take(length)


def test_the_reference_walk_reads_prose_as_the_reference_does(books, encoder):
    held = books[:60]
    store = build_store(held, encoder, splitter="punkt")
    texts = [book.text for book in held if book.name in store.book_names]
    assert compare(store, texts, encoder.encode, [120] * 40) > 0.7


def test_a_reference_walk_keeps_unread_sentences_for_the_next_call(store):
    walk = ReferenceWalk(store, Dice("pending"))
    first = walk.spans(400)[-1]
    following = walk.spans(20)[0]
    assert following.first == first.last


@pytest.mark.parametrize("num_tokens", [0, -5])
def test_nothing_is_read_for_no_tokens(store, num_tokens):
    walk = ReferenceWalk(store, Dice(0))
    assert walk.spans(num_tokens) == []
    assert len(walk.take(num_tokens).tokens) == 0


@pytest.mark.parametrize("num_tokens", [1, 5, 12, 100, 5000])
def test_a_reference_walk_takes_exactly_what_is_asked(store, num_tokens):
    background = ReferenceWalk(store, Dice("exact")).take(num_tokens)
    assert len(background.tokens) == background.gaps[-1] == num_tokens
    assert (np.diff(background.gaps) > 0).all()


def test_a_reference_walk_is_the_same_everywhere(store):
    spans = ReferenceWalk(store, Dice("here", 7)).spans(2000)
    assert ReferenceWalk(store, Dice("here", 7)).spans(2000) == spans
    assert ReferenceWalk(store, Dice("here", 8)).spans(2000) != spans


def test_sentences_left_out_are_never_read(store):
    offsets = store.sentence_offsets
    left_out = np.arange(0, len(offsets) - 1, 3)
    walk = ReferenceWalk(store, Dice("out"), left_out=left_out)
    spans = walk.spans(30_000)
    read = np.concatenate([np.arange(span.first, span.last) for span in spans])
    assert len(read) > 500
    assert not set(read.tolist()) & set(left_out.tolist())
    assert set((read % 3).tolist()) == {1, 2}


def test_a_reference_walk_reads_its_own_split_only(store):
    test = store.only("test")
    allowed = np.concatenate(
        [np.arange(*store.book_offsets[book : book + 2]) for book in test.books]
    )
    spans = ReferenceWalk(test, Dice("split")).spans(50_000)
    assert {span.first for span in spans} <= set(allowed.tolist())


def test_books_without_a_sentence_between_two_others_are_told(encoder):
    text = "It was the very first sentence of them all. It was the last one, and there was no more."
    store = build_store([Book("two", text)], encoder, splitter="punkt")
    with pytest.raises(DataError, match="No sentence to read was found in 1000 cuts"):
        _ = ReferenceWalk(store, Dice(0)).spans(100)


def test_skipping_everything_is_told(store):
    everything = np.arange(len(store.sentence_offsets) - 1)
    with pytest.raises(DataError, match="skip fewer sentences"):
        _ = ReferenceWalk(store, Dice(0), left_out=everything).spans(1_000_000)
