"""Finds the passages that a question is about."""

import re
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol, final

import numpy as np
import numpy.typing as npt

from armt.core.errors import ConfigError, DataError

Scores = npt.NDArray[np.float64]
"""One number for each passage; the higher the better."""

Embed = Callable[[Sequence[str]], npt.ArrayLike]
"""Returns one row of numbers for each text."""

_WORD = re.compile(r"\w+")


class Retriever(Protocol):
    """A way to compare a question with passages."""

    @property
    def name(self) -> str:
        """What it is called in tables and fingerprints, its options included."""
        ...

    def scores(self, query: str, passages: Sequence[str]) -> Scores:
        """Returns how well each passage fits the query."""
        ...


@final
class BM25:
    """Ranks by shared words that are rare among the passages, in the variant of Lucene.

    score = sum over the query's words of
        ln(1 + (N - n + 0.5) / (n + 0.5)) * f / (f + k1 * (1 - b + b * len / mean_len)),
    with N passages, n of them with the word, f times in this one. Words are runs of letters and
    digits in lower case; none are left out and none are reduced to a stem. Kamphuis et al.,
    "Which BM25 do you mean?", ECIR 2020; unlike the original of Robertson et al., a word in more
    than half of the passages does not count against one that has it.
    """

    def __init__(self, k1: float = 1.2, b: float = 0.75) -> None:
        """Takes how soon repetition stops to count (`k1`), and how much length does (`b`).

        Raises:
            ConfigError: `k1` is negative or `b` not between 0 and 1.
        """
        if k1 < 0 or not 0 <= b <= 1:
            raise ConfigError(f"`k1` must not be negative, `b` within [0, 1]. Got {k1} and {b}.")
        self._k1, self._b = k1, b

    @property
    def name(self) -> str:
        """`bm25` and its two constants."""
        return f"bm25(k1={self._k1:g}, b={self._b:g})"

    def scores(self, query: str, passages: Sequence[str]) -> Scores:
        """Returns how well each passage fits the query."""
        terms = Counter(_words(query))
        counts = np.zeros((len(terms), len(passages)))
        lengths = np.zeros(len(passages))
        for number, passage in enumerate(passages):
            words = _words(passage)
            lengths[number] = len(words)
            for row, term in enumerate(terms):
                counts[row, number] = words.count(term)
        if not lengths.any():
            return lengths
        num_with = (counts > 0).sum(axis=1)
        weight = np.log1p((len(passages) - num_with + 0.5) / (num_with + 0.5))
        weight *= np.asarray(list(terms.values()), dtype=np.float64)
        norm = self._k1 * (1 - self._b + self._b * lengths / lengths.mean())
        # Without norm (k1 = 0, or b = 1 and no words) a word that is not there is 0 / 0.
        share = np.divide(counts, counts + norm, out=np.zeros_like(counts), where=counts > 0)
        return weight @ share


@final
class EmbeddingRetriever:
    """Ranks by the dot product of embeddings from any callable; few are held at a time."""

    def __init__(
        self,
        embed: Embed,
        *,
        name: str,
        embed_query: Embed | None = None,
        batch_size: int = 1024,
    ) -> None:
        """Takes what embeds passages, and queries too unless they have their own.

        Raises:
            ConfigError: `batch_size` is less than 1.
        """
        if batch_size < 1:
            raise ConfigError(f"`batch_size` must be at least 1. Got {batch_size}.")
        self.name = name
        self._embed = embed
        self._embed_query = embed_query or embed
        self._batch_size = batch_size

    def scores(self, query: str, passages: Sequence[str]) -> Scores:
        """Returns how well each passage fits the query.

        Raises:
            DataError: the callable does not return one row for each text.
        """
        target = _rows(self._embed_query, [query])[0]
        found = [np.zeros(0)]
        for start in range(0, len(passages), self._batch_size):
            texts = passages[start : start + self._batch_size]
            rows = _rows(self._embed, texts)
            if rows.shape[1] != len(target):
                raise DataError(
                    f"Passages and queries need embeddings of one size. Got {rows.shape[1]} and "
                    f"{len(target)}."
                )
            found.append(rows @ target)
        return np.concatenate(found)


@final
class HashedBag:
    """Embeds a text by its words, each hashed to one of `size` places; nothing is downloaded.

    The hash trick of Weinberger et al., ICML 2009: counts with a sign of their own, so that words
    in one place cancel out on average; rows have length one.
    """

    def __init__(self, size: int = 1024) -> None:
        """Takes the length of a row.

        Raises:
            ConfigError: it is less than 1.
        """
        if size < 1:
            raise ConfigError(f"`size` must be at least 1. Got {size}.")
        self.size = size

    def __call__(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Returns one row for each text; a text without a word has a row of zeros."""
        words = [_words(text) for text in texts]
        hashes = np.asarray(
            [zlib.crc32(word.encode()) for each in words for word in each], np.int64
        )
        row = np.repeat(np.arange(len(texts)), [len(each) for each in words])
        places = row * self.size + hashes % self.size
        signs = np.where(hashes >> 31, 1.0, -1.0)
        flat = np.bincount(places, weights=signs, minlength=len(texts) * self.size)
        rows = flat.reshape(len(texts), self.size).astype(np.float32)
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        return rows / np.maximum(norms, 1e-12)


def hashed_bag_retriever(size: int = 1024) -> EmbeddingRetriever:
    """Returns a retriever by `HashedBag`, which needs no model."""
    return EmbeddingRetriever(HashedBag(size), name=f"hashed-bag({size})")


def best_passages(scores: Scores, num_passages: int) -> list[int]:
    """Returns the numbers of the best passages, the best first; of equals the earlier first."""
    return [int(each) for each in np.argsort(-scores, kind="stable")[:num_passages]]


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _rows(embed: Embed, texts: Sequence[str]) -> npt.NDArray[np.float64]:
    rows = np.asarray(embed(texts), dtype=np.float64)
    if rows.ndim != 2 or len(rows) != len(texts):
        raise DataError(
            f"An embedding must have one row for each text. Got the shape {rows.shape} for "
            f"{len(texts)} texts."
        )
    return rows
