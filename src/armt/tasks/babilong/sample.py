"""Evaluation samples: one question about facts scattered over a text of any length."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple, final

import numpy as np
import numpy.typing as npt

from armt.core.config import PlainTree
from armt.core.errors import DataError, UnknownNameError
from armt.tasks.babi.format import Question, Story
from armt.tasks.babi.single_fact import NUM_QUESTIONS, draw_single_fact_story
from armt.tasks.babilong.background import BackgroundStore, BackgroundWalk, Span
from armt.tasks.babilong.lengths import parse_length
from armt.tasks.babilong.placement import place_uniformly
from armt.tasks.contract import Ids, Sample, TextEncoder

GENERATORS: dict[str, Callable[[np.random.Generator], Story]] = {"qa1": draw_single_fact_story}
"""Generators of stories with `NUM_QUESTIONS` questions, by task."""

PIECE_LEN = 1 << 14
"""Longest piece of a context, in tokens."""

_STORY_SEED, _TEXT_SEED = 1, 2


class _Layout(NamedTuple):
    """A context that is written down only piece by piece."""

    spans: list[Span]
    offsets: npt.NDArray[np.int64]
    facts: list[Ids]


@final
class BabilongTask:
    """Makes samples of one task: the same index asks the same question at every length."""

    def __init__(
        self,
        store: BackgroundStore,
        encoder: TextEncoder,
        *,
        task: str = "qa1",
        seed: int = 0,
        questions: Sequence[Question] | None = None,
    ) -> None:
        """Takes the background of `store` and questions of an own generator, or those given.

        Raises:
            UnknownNameError: there is no generator for `task` and no questions are given.
            DataError: `questions` is empty.
        """
        if questions is None and task not in GENERATORS:
            raise UnknownNameError(
                f"No generator for the task '{task}'. Known: {', '.join(sorted(GENERATORS))}. "
                "Pass `questions` read from a bAbI file."
            )
        if questions is not None and not questions:
            raise DataError("`questions` is empty. Give at least one question.")
        self.task = task
        self.seed = seed
        self._store = store
        self._encoder = encoder
        self._questions = questions

    def question(self, index: int) -> Question:
        """Returns the story and question of sample `index`, the same at every length.

        Raises:
            DataError: `index` lies beyond the given questions.
        """
        if self._questions is None:
            rng = np.random.default_rng([self.seed, index, _STORY_SEED])
            return GENERATORS[self.task](rng).questions()[index % NUM_QUESTIONS]
        if not 0 <= index < len(self._questions):
            raise DataError(
                f"There is no question {index}: {len(self._questions)} are given, from 0 on."
            )
        return self._questions[index]

    def sample(self, length: str | int, index: int) -> Sample:
        """Returns sample `index` with a context of `length` tokens (`16k`, `1M`, 700, ...).

        The budget counts facts and background together. If the facts alone exceed it, as always at
        length 0, the context is the facts and nothing else. The text depends on length and index,
        the story on the index alone.

        Raises:
            ConfigError: the length cannot be read.
            DataError: there is no such question.
        """
        budget = parse_length(length)
        question = self.question(index)
        facts = [_as_ids(self._encoder.encode(" " + fact)) for fact in question.facts]
        num_fact_tokens = sum(len(fact) for fact in facts)
        layout = self._lay_out(facts, budget - num_fact_tokens, index, budget)
        encode = self._encoder.encode
        return Sample(
            task=self.task,
            length=budget,
            index=index,
            context=partial(_pieces, self._store, layout),
            context_len=max(budget, num_fact_tokens),
            question_ids=_as_ids([*encode(question.question), self._encoder.gen_id]),
            answer=question.answer,
            answer_ids=_as_ids([*encode(question.answer), self._encoder.end_id]),
            metadata=self._metadata(question, layout),
        )

    def _lay_out(self, facts: list[Ids], background_len: int, index: int, budget: int) -> _Layout:
        rng = np.random.default_rng([self.seed, index, _TEXT_SEED, budget])
        spans = BackgroundWalk(self._store, rng).spans(background_len)
        sizes = np.asarray([span.last - span.first for span in spans], dtype=np.int64)
        slots = place_uniformly(int(sizes.sum()) + 1, len(facts), rng)
        return _Layout(spans, self._offsets(spans, sizes, slots), facts)

    def _offsets(
        self, spans: list[Span], sizes: npt.NDArray[np.int64], slots: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        """Returns the background tokens before each gap of `slots`."""
        if not spans:
            return np.zeros(len(slots), dtype=np.int64)
        sentences = self._store.sentence_offsets
        starts = sentences[np.asarray([span.first for span in spans])]
        lens = np.asarray([span.end for span in spans]) - starts
        which = np.searchsorted(np.cumsum(sizes), slots, side="right")
        inner = np.minimum(which, len(spans) - 1)
        before = (np.cumsum(sizes) - sizes)[inner]
        first = np.asarray([span.first for span in spans])[inner]
        offsets = (np.cumsum(lens) - lens)[inner]
        offsets += sentences[first + slots - before] - starts[inner]
        return np.where(which == len(spans), lens.sum(), offsets)

    def _metadata(self, question: Question, layout: _Layout) -> dict[str, PlainTree]:
        fact_lens = np.asarray([len(fact) for fact in layout.facts], dtype=np.int64)
        starts = layout.offsets + np.cumsum(fact_lens) - fact_lens
        num_background = sum(
            span.end - int(self._store.sentence_offsets[span.first]) for span in layout.spans
        )
        return {
            "question": question.question,
            "facts": list(question.facts),
            "fact_starts": [int(start) for start in starts],
            "supporting": [question.fact_numbers.index(each) for each in question.supporting],
            "repetition": num_background / self._store.num_tokens,
        }


def _pieces(store: BackgroundStore, layout: _Layout) -> Iterator[Ids]:
    """Yields the context: background with the facts at their offsets, in short pieces."""
    position = 0
    pending = 0
    for span in layout.spans:
        tokens = store.slice(span)
        cursor = 0
        last = int(np.searchsorted(layout.offsets, position + len(tokens)))
        for number in range(pending, last):
            stop = int(layout.offsets[number]) - position
            yield from _cut(tokens[cursor:stop])
            yield layout.facts[number]
            cursor = stop
        pending = last
        yield from _cut(tokens[cursor:])
        position += len(tokens)
    yield from layout.facts[pending:]


def _cut(tokens: Ids) -> Iterator[Ids]:
    for start in range(0, len(tokens), PIECE_LEN):
        yield np.asarray(tokens[start : start + PIECE_LEN], dtype=np.int64)


def _as_ids(ids: list[int]) -> Ids:
    return np.asarray(ids, dtype=np.int64)
