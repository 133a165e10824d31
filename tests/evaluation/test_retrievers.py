import math
import random
import re
import time

import numpy as np
import pytest

from armt.core.errors import ConfigError, DataError
from armt.evaluation.retrievers import (
    BM25,
    EmbeddingRetriever,
    HashedBag,
    best_passages,
    hashed_bag_retriever,
)

WORDS = "mary john went to the garden kitchen house river stood and where is".split()  # noqa: SIM905


def literal_bm25(query: str, passages: list[str], k1: float, b: float) -> list[float]:
    """The formula of Lucene, word by word."""
    docs = [re.findall(r"\w+", passage.lower()) for passage in passages]
    mean_len = sum(len(doc) for doc in docs) / len(docs)
    scores = []
    for doc in docs:
        score = 0.0
        for word in re.findall(r"\w+", query.lower()):
            n = sum(word in other for other in docs)
            f = doc.count(word)
            idf = math.log(1 + (len(docs) - n + 0.5) / (n + 0.5))
            if f:
                score += idf * f / (f + k1 * (1 - b + b * len(doc) / mean_len))
        scores.append(score)
    return scores


@pytest.mark.parametrize(("k1", "b"), [(1.2, 0.75), (0.0, 0.5), (2.0, 0.0), (0.9, 1.0)])
def test_bm25_is_its_formula(k1, b):
    draw = random.Random(3)
    passages = [" ".join(draw.choices(WORDS, k=draw.randrange(1, 12))) + "." for _ in range(60)]
    passages[7] = "..."
    query = "Where is Mary? Is Mary in the GARDEN?"
    found = BM25(k1, b).scores(query, passages)
    assert found == pytest.approx(literal_bm25(query, passages, k1, b), abs=1e-12)
    assert found[7] == 0
    assert len(set(found)) > 10


def test_bm25_with_nothing_to_find():
    assert BM25().scores("x", []).tolist() == []
    assert BM25().scores("x", ["", "..."]).tolist() == [0, 0]
    assert BM25().scores("", ["a b", "c"]).tolist() == [0, 0]
    assert BM25(k1=0.0).scores("z", ["a b", "c"]).tolist() == [0, 0]


def test_bm25_prefers_the_rare_word():
    passages = ["Mary was there.", "The garden was there.", "The river was there.", "The end."]
    assert best_passages(BM25().scores("the Mary", passages), 1) == [0]


def test_bm25_goes_over_many_passages():
    draw = random.Random(3)
    passages = [" ".join(draw.choices(WORDS, k=20)) for _ in range(20_000)]
    start = time.perf_counter()
    scores = BM25().scores("Where is Mary?", passages)
    assert len(scores) == 20_000
    assert time.perf_counter() - start < 10


def test_the_best_come_first_and_of_equals_the_earlier():
    assert best_passages(np.array([0.5, 2.0, 0.5, 3.0]), 3) == [3, 1, 0]
    assert best_passages(np.array([1.0]), 5) == [0]


def test_any_callable_embeds():
    calls = []

    def embed(texts):
        calls.append(len(texts))
        return [[float(text.count("a")), 1.0] for text in texts]

    retriever = EmbeddingRetriever(embed, name="counts", batch_size=2)
    assert retriever.scores("aa", ["a", "", "aaa"]).tolist() == [3.0, 1.0, 7.0]
    assert calls == [1, 2, 1]
    other = EmbeddingRetriever(embed, name="counts", embed_query=lambda texts: [[0.0, 1.0]])
    assert other.scores("aa", ["a", ""]).tolist() == [1.0, 1.0]
    assert retriever.scores("aa", []).tolist() == []


@pytest.mark.parametrize(
    ("embed", "embed_query", "message"),
    [
        (lambda texts: [1.0], None, "one row for each text"),
        (lambda texts: [[1.0]] * 3, None, "one row for each text"),
        (lambda texts: [[1.0]] * len(texts), lambda texts: [[1.0, 2.0]], "one size"),
    ],
)
def test_embeddings_of_a_wrong_shape_are_told(embed, embed_query, message):
    retriever = EmbeddingRetriever(embed, name="wrong", embed_query=embed_query)
    with pytest.raises(DataError, match=message):
        _ = retriever.scores("a", ["b", "c"])


def test_hashed_words_find_what_shares_them():
    passages = ["The house stood there.", "Mary went to the garden.", "It rained all night."]
    retriever = hashed_bag_retriever()
    assert best_passages(retriever.scores("Where is Mary?", passages), 1) == [1]
    rows = HashedBag(64)([*passages, ""])
    assert np.linalg.norm(rows, axis=1) == pytest.approx([1, 1, 1, 0])
    assert (rows == HashedBag(64)([*passages, ""])).all()
    # Fixed numbers: the same on every machine.
    assert np.flatnonzero(HashedBag(16)(["mary went"])[0]).tolist() == [9, 14]


@pytest.mark.parametrize(
    "make",
    [
        lambda: BM25(k1=-1.0),
        lambda: BM25(b=1.5),
        lambda: HashedBag(0),
        lambda: EmbeddingRetriever(HashedBag(), name="x", batch_size=0),
    ],
)
def test_wrong_options_are_refused(make):
    with pytest.raises(ConfigError):
        _ = make()
