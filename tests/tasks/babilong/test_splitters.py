"""Sentences are those of Punkt, only faster, and a cut's sentences are told without its text."""

import random

import numpy as np
import pytest
from nltk.tokenize.punkt import PunktSentenceTokenizer

from armt.core.errors import UnknownNameError
from armt.tasks.babilong import splitters
from armt.tasks.babilong.cuts import BookCuts, join_cuts
from armt.tasks.babilong.splitters import (
    SPLITTERS,
    PlainSplitter,
    PunktSplitter,
    split_sentences,
    splitter_named,
)
from tasks.babilong.plain_cuts import is_plain_cut

WORDS = (
    r"""He said it Mr J a 12 3.5 U.S Yes no-one o'clock don't -- ... .. " ' “ ” ( ) Étude é - e.g"""
)
BETWEEN = (
    r""". |! |? |.\n|?\n\n|." |.' |?) |!!! |... |. . . |."|!--|?--|; |, | | | | | |\n|.|| "|"""
    r"""\n\n"| '|.” |.”\n“|." "|?"--|\n\n"""
)


def parts_of(text, mark):
    """The parts between marks, line breaks spelled out."""
    return text.replace("\\n", "\n").split(mark)


def nasty_text(rng, num_words):
    words, between = parts_of(WORDS, " "), parts_of(BETWEEN, "|")
    return "".join(rng.choice(words) + rng.choice(between) for _ in range(num_words))


def punkt_spans(text):
    found = list(PunktSentenceTokenizer().span_tokenize(text))
    return np.asarray(found, dtype=np.int64).reshape(-1, 2)


def cut_table(splitter, text):
    """A table of one book in which every sentence is kept."""
    spans = splitter.spans(text)
    is_kept = np.ones(len(spans), dtype=np.bool_)
    return spans, join_cuts([BookCuts(splitter.edges(text, spans), is_kept, len(text))])


def test_sentences():
    text = (
        'Mr. Brown came in. "Who is it?" she asked. He sat\ndown! "Well?" It was 3.5 miles off\n\n'
        "CHAPTER II\n\nThe end... He went (again.) Then he was gone"
    )
    assert split_sentences(text) == [
        "Mr. Brown came in.",
        '"Who is it?" she asked.',
        "He sat down!",
        '"Well?"',
        "It was 3.5 miles off",
        "CHAPTER II",
        "The end...",
        "He went (again.)",
        "Then he was gone",
    ]


def test_no_word_is_lost(books):
    for book in books[::10]:
        assert " ".join(split_sentences(book.text)) == " ".join(book.text.split())


@pytest.mark.parametrize("name", SPLITTERS)
def test_spans_rise_and_hold_all_that_is_not_blank(name, books):
    splitter = splitter_named(name)
    for text in [books[0].text, "", " \n", "One", "One. Two.\n\n\n", "\n\n... "]:
        spans = splitter.spans(text)
        assert spans.shape == (len(spans), 2)
        assert (np.diff(spans.ravel()) >= 0).all()
        inside = "".join(text[start:end] for start, end in spans)
        assert "".join(inside.split()) == "".join(text.split())


def test_punkt_keeps_line_breaks_within_a_sentence():
    text = "He went\ninto the garden. Nobody\nsaw him."
    punkt = PunktSplitter()
    sentences = [punkt.clean(text[start:end]) for start, end in punkt.spans(text)]
    assert sentences == ["He went\ninto the garden.", "Nobody\nsaw him."]


@pytest.mark.parametrize("piece_len", [60, 250, 1 << 18])
def test_punkt_in_pieces_is_punkt_of_the_whole(piece_len, monkeypatch):
    monkeypatch.setattr(splitters, "_PIECE_LEN", piece_len)
    rng = random.Random(piece_len)
    for _ in range(60):
        text = nasty_text(rng, rng.randint(1, 150))
        assert np.array_equal(PunktSplitter().spans(text), punkt_spans(text)), text


def test_punkt_is_exact_on_prose_and_on_a_novel(books, shared_data):
    prose = "\n\n".join(book.text for book in books[:40])
    novel = next((shared_data / "books").glob("Barclay_Postern*.txt")).read_text(encoding="utf-8")
    for text in (prose, novel):
        assert np.array_equal(PunktSplitter().spans(text), punkt_spans(text))


def test_punkt_reads_a_text_without_any_sentence():
    text = "word " * 120_000
    assert PunktSplitter().spans(text).tolist() == [[0, len(text) - 1]]


def check_cuts(text, rng, num_cuts):
    """Compares cuts of `text` with Punkt on the piece alone; returns how many were told apart."""
    spans, table = cut_table(PunktSplitter(), text)
    num_wrong = num_plain = 0
    for _ in range(num_cuts):
        start, size = rng.randrange(len(text)), rng.choice([100, 300, 1000, 3000])
        kept = table.kept_within(0, start, size)
        told = spans[kept.first : kept.last]
        found = punkt_spans(text[start : start + size])[1:-1] + start
        is_same = np.array_equal(told, found)
        num_wrong += not is_same
        if is_plain_cut(text, start, size):
            num_plain += 1
            assert is_same, (text[max(0, start - 30) : start], text[start : start + size])
    assert num_plain > 0.9 * num_cuts
    return num_wrong


def test_cuts_of_prose_show_the_sentences_that_punkt_finds_in_them(books):
    text = "\n\n".join(book.text for book in books[:60])
    assert check_cuts(text, random.Random(0), 400) <= 4


def test_cuts_of_a_novel_show_the_sentences_that_punkt_finds_in_them(shared_data):
    paths = sorted((shared_data / "books").glob("*.txt"))[::30]
    texts = [path.read_text(encoding="utf-8")[50_000:450_000] for path in paths]
    num_wrong = sum(check_cuts(text, random.Random(1), 250) for text in texts)
    assert num_wrong <= 2


def test_a_quotation_mark_is_told_from_what_it_belongs_to():
    text = 'One. "Two went?" said he. Was it "here." "Four" left. Five.'
    spans, table = cut_table(PunktSplitter(), text)
    for start in range(len(text)):
        for end in range(start + 1, len(text) + 1):
            kept = table.kept_within(0, start, end - start)
            found = punkt_spans(text[start:end])[1:-1] + start
            assert np.array_equal(spans[kept.first : kept.last], found), (start, end)


def test_a_last_letter_alone_looks_like_an_initial():
    text = "He was glad. They all left. So it was. The end."
    spans, table = cut_table(PunktSplitter(), text)
    start = text.index("d. They")
    assert table.is_weak.tolist() == [True, True, True, False]
    for shift, first in ((-1, 1), (0, 2), (1, 1)):
        kept = table.kept_within(0, start + shift, len(text))
        assert kept.first == first
        found = punkt_spans(text[start + shift :])[1:-1] + start + shift
        assert np.array_equal(spans[kept.first : kept.last], found)


def test_plain_sentences_belong_to_a_cut_that_holds_them():
    text = "The first came in. The second went out. The third stayed here. The fourth slept."
    spans, table = cut_table(PlainSplitter(), text)
    assert len(spans) == 4
    assert table.kept_within(0, 5, len(text)) == (1, 3)
    assert table.kept_within(0, 5, text.index("The fourth")) == (1, 3)
    assert table.kept_within(0, 5, text.index("The third") + 1 - 5) == (1, 2)
    assert table.kept_within(0, 5, 20) == (1, 1)
    assert table.kept_within(0, len(text) - 1, 100) == (4, 4)


def test_an_unknown_splitter_is_told():
    with pytest.raises(UnknownNameError, match=r"'spacy'\. Known: plain, punkt"):
        _ = splitter_named("spacy")


def test_versions_name_what_finds_the_sentences():
    assert PlainSplitter().version == "1"
    assert PunktSplitter().version.startswith("nltk-3.")
