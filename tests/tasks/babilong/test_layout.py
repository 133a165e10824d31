from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from armt.tasks.babilong.layout import PIECE_LEN, Layout, RunningText, pieces_of
from armt.tasks.babilong.store import Span
from tasks.babilong.reference_mixer import fact_starts, mix
from tasks.babilong.tiny_store import made_up_store

NO_IDS = np.empty(0, dtype=np.int64)
STORE = made_up_store([[12, 10, 30], [11] * 7, [40, 10]])


@st.composite
def span_lists(draw):
    """Runs of sentences of the made-up store, the last one cut."""
    spans = []
    for _ in range(draw(st.integers(0, 5))):
        first = draw(st.integers(0, 11))
        last = draw(st.integers(first + 1, 12))
        spans.append(Span(first, last, int(STORE.sentence_offsets[last])))
    if spans:
        first, last, end = spans[-1]
        shortest = int(STORE.sentence_offsets[last - 1]) + 1
        spans[-1] = Span(first, last, draw(st.integers(shortest, end)))
    return spans


def sentences_of(spans):
    offsets = STORE.sentence_offsets.tolist()
    return [
        STORE.tokens[offsets[number] : min(offsets[number + 1], end)].tolist()
        for first, last, end in spans
        for number in range(first, last)
    ]


def joined(pieces):
    return np.concatenate([NO_IDS, *pieces]).tolist()


@given(spans=span_lists(), data=st.data())
def test_a_layout_is_the_literal_mixture(spans, data):
    sentences = sentences_of(spans)
    lens = data.draw(st.lists(st.integers(1, 4), max_size=6))
    facts = [[1000 + number] * length for number, length in enumerate(lens)]
    gap = st.integers(0, len(sentences))
    slots = sorted(data.draw(gap) for _ in facts)
    text = RunningText(STORE, spans)
    items = [np.asarray(fact) for fact in facts]
    layout = Layout(text, text.offsets(np.asarray(slots, dtype=np.int64)), items, NO_IDS)
    expected = mix(sentences, facts, slots)
    assert joined(pieces_of(layout)) == expected
    assert layout.num_tokens == len(expected)
    assert layout.starts == fact_starts(sentences, facts, slots)
    assert text.num_sentences == len(sentences)
    headed = replace(layout, head=np.asarray([7, 8, 9]))
    assert joined(pieces_of(headed)) == [7, 8, 9, *expected]
    assert headed.starts == [start + 3 for start in layout.starts]


@given(spans=span_lists(), num_tokens=st.integers(-3, 900))
def test_gaps_are_found_by_tokens(spans, num_tokens):
    text = RunningText(STORE, spans)
    offsets = np.cumsum([0, *(len(sentence) for sentence in sentences_of(spans))])
    gaps = np.arange(len(offsets), dtype=np.int64)
    assert text.offsets(gaps).tolist() == offsets.tolist()
    assert text.gap_from(num_tokens) == int(np.searchsorted(offsets, num_tokens))
    distance = np.abs(offsets - num_tokens)
    assert text.nearest_gap(num_tokens) == int(distance.argmin())


@pytest.mark.parametrize("num_tokens", [PIECE_LEN - 1, PIECE_LEN, 2 * PIECE_LEN + 1])
def test_no_piece_is_long_or_empty(num_tokens):
    store = made_up_store([[num_tokens]])
    text = RunningText(store, [Span(0, 1, num_tokens)])
    layout = Layout(text, text.offsets(np.asarray([1])), [np.asarray([3])], NO_IDS)
    sizes = [len(piece) for piece in pieces_of(layout)]
    assert sum(sizes) == num_tokens + 1
    assert 0 < min(sizes) <= max(sizes) <= PIECE_LEN
