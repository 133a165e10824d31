"""Evaluation samples: one question about facts scattered over a text of any length."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import final

import numpy as np

from armt.core.config import PlainTree
from armt.core.errors import DataError
from armt.tasks.babi.catalogue import babi_task
from armt.tasks.babi.dice import Dice
from armt.tasks.babi.format import Question
from armt.tasks.babilong.contamination import fact_like_sentences
from armt.tasks.babilong.layout import Layout, RunningText, pieces_of
from armt.tasks.babilong.lengths import context_budget, parse_length
from armt.tasks.babilong.store import BackgroundStore, Span
from armt.tasks.babilong.task_config import (
    GENERATOR_VERSION,
    TOKENS_PER_LINE,
    BabilongTaskConfig,
)
from armt.tasks.babilong.text_pieces import decode_pieces
from armt.tasks.babilong.walks import BackgroundWalk, ReferenceWalk
from armt.tasks.contract import Ids, PlacedFact, Sample, TextEncoder

_COUNTING = "tokens of the pieces, each encoded for itself"


@final
class BabilongTask:
    """Makes samples of one task: the same index asks the same question at every length.

    A sample depends on nothing but the config, the texts, the tokenizer, its length and its index:
    not on other samples, processes or machines.
    """

    def __init__(
        self,
        store: BackgroundStore,
        encoder: TextEncoder,
        config: BabilongTaskConfig | None = None,
        *,
        questions: Sequence[Question] | None = None,
    ) -> None:
        """Takes the background of `store` and questions of the own generator, or those given.

        `questions` are those of an official file; see `armt.tasks.babi.archive`.

        Raises:
            UnknownNameError: there is no generator for the task and no questions are given.
            DataError: `questions` is empty.
        """
        self.config = config or BabilongTaskConfig()
        if questions is None:
            self._draw = babi_task(self.config.task).draw_until
        elif not questions:
            raise DataError("`questions` is empty. Give at least one question.")
        self.store = store
        self.encoder = encoder
        self._questions = questions
        self._left_out = None if self.config.has_lookalikes else fact_like_sentences(store, encoder)
        self._fingerprint = self._hash_origin()

    @property
    def task(self) -> str:
        """The name that results bear, such as `qa1` or `qa1@both`."""
        return self.config.label

    @property
    def seed(self) -> int:
        """Decides the samples."""
        return self.config.seed

    @property
    def fingerprint(self) -> str:
        """A hash of everything that decides the samples: config, texts, tokenizer, questions."""
        return self._fingerprint

    def question(self, index: int) -> Question:
        """Returns the story and question of sample `index`, the same at every length.

        Raises:
            DataError: `index` is negative or lies beyond the given questions.
        """
        if self._questions is not None:
            if 0 <= index < len(self._questions):
                return self._questions[index]
            raise DataError(
                f"There is no question {index}: {len(self._questions)} are given, from 0 on."
            )
        if index < 0:
            raise DataError(f"Samples are counted from 0. Got {index}.")
        return self._draw(self._dice(index, "story"), index).questions()[-1]

    def indices(self, length: str | int, num_samples: int) -> list[int]:
        """Returns which of the first `num_samples` samples exist at `length`.

        Left out are those beyond a given list and those whose facts a context of this length does
        not hold; see `BabilongTaskConfig.has_fact_limit`.

        Raises:
            ConfigError: the length cannot be read, or the reserve leaves nothing of it.
        """
        budget = context_budget(length, self.config.reserve_len)
        given = self._questions
        if given is None:
            return [index for index in range(num_samples) if self._fits(index, budget)]
        kept = [index for index in range(len(given)) if self._fits(index, budget)]
        kept = kept[:-1] if self.config.reference_compat else kept
        return [index for index in kept if index < num_samples]

    def sample(self, length: str | int, index: int) -> Sample:
        """Returns sample `index` at a length (`16k`, `1M`, 64000, ...).

        The length less the reserve counts facts and background together. If the facts alone exceed
        it, as always at length 0, the context is the facts and nothing else.

        Raises:
            ConfigError: the length cannot be read, or the reserve leaves nothing of it.
            DataError: there is no such question, it has too many facts for the length, there is no
                gap where they should stand, or the background would repeat itself and may not.
        """
        budget = context_budget(length, self.config.reserve_len)
        question = self.question(index)
        self._check_facts(question, index, budget)
        told = self._told(question, index)
        encode = self.encoder.encode
        layout = self._lay_out([" " + question.facts[each] for each in told], index, budget)
        if self.config.question_at == "both":
            layout = replace(layout, head=_as_ids(encode(question.question)))
        context = partial(pieces_of, layout)
        return Sample(
            task=self.task,
            length=parse_length(length),
            index=index,
            context=context,
            context_len=layout.num_tokens,
            text=partial(decode_pieces, self.encoder, context),
            question=question.question,
            question_ids=spell_question(self.encoder, question.question),
            answer=question.answer,
            answer_ids=spell_answer(self.encoder, question.answer),
            facts=_placed(question, told, layout),
            metadata=self._metadata(layout, budget),
        )

    def _dice(self, index: int, *purpose: str | int) -> Dice:
        config = self.config
        return Dice(GENERATOR_VERSION, config.task, config.split, config.seed, index, *purpose)

    def _fits(self, index: int, budget: int) -> bool:
        if budget == 0 or not self.config.has_fact_limit:
            return True
        return len(self.question(index).facts) <= _most_facts(budget)

    def _check_facts(self, question: Question, index: int, budget: int) -> None:
        found, most = len(question.facts), _most_facts(budget)
        if budget and self.config.has_fact_limit and found > most:
            raise DataError(
                f"Sample {index} of {self.task} has {found} facts, but a context of {budget} "
                f"tokens takes at most {most} (an eighth, less the question). Ask for a longer "
                "one, take the samples of `indices(...)`, or set `has_fact_limit=False`."
            )

    def _told(self, question: Question, index: int) -> list[int]:
        """Returns which facts are told, in their order of telling."""
        numbers = range(len(question.facts))
        if self.config.facts == "shuffled":
            return self._dice(index, "order").shuffle(numbers)
        if self.config.facts == "distractors":
            lines = question.fact_numbers
            return [each for each in numbers if lines[each] not in question.supporting]
        return list(numbers)

    def _lay_out(self, facts: list[str], index: int, budget: int) -> Layout:
        items = [_as_ids(self.encoder.encode(fact)) for fact in facts]
        lens = [len(item) for item in items]
        placement = self.config.placement
        spans = self._spans(budget - sum(lens), index, budget)
        text = RunningText(self.store, spans)
        gaps = placement.draw(text, lens, self._dice(index, "places"))
        return Layout(text, text.offsets(gaps), items, _as_ids([]))

    def _spans(self, num_tokens: int, index: int, budget: int) -> Sequence[Span]:
        if num_tokens <= 0:
            return []
        if num_tokens > self.store.num_tokens and not self.config.may_repeat:
            raise DataError(
                f"A background of {num_tokens} tokens is asked for, but the books hold only "
                f"{self.store.num_tokens}. Give more books, or set `may_repeat=True`."
            )
        dice = self._dice(index, "background", budget)
        if self.config.background == "sentences":
            seed = [dice.below(1 << 32) for _ in range(4)]
            return BackgroundWalk(self.store, np.random.default_rng(seed)).spans(num_tokens)
        longest = self.config.placement.max_sentence_len(budget)
        return ReferenceWalk(
            self.store, dice, max_sentence_len=longest, left_out=self._left_out
        ).spans(num_tokens)

    def _metadata(self, layout: Layout, budget: int) -> dict[str, PlainTree]:
        config = self.config
        return {
            "split": config.split,
            "seed": config.seed,
            "placement": config.placement.name,
            "question_at": config.question_at,
            "facts": config.facts,
            "background": config.background,
            "has_lookalikes": config.has_lookalikes,
            "budget": budget,
            "num_excess": max(0, sum(layout.lens) - budget) if budget else 0,
            "repetition": layout.text.num_tokens / self.store.num_tokens,
            "counting": _COUNTING,
            "tokenizer": self.encoder.digest,
            "store": self.store.digest,
            "splitter": self.store.splitter,
            "version": GENERATOR_VERSION,
        }

    def _hash_origin(self) -> str:
        questions = hashlib.blake2b(digest_size=16)
        for each in self._questions or ():
            questions.update(repr(each).encode())
        origin = {
            "version": GENERATOR_VERSION,
            "config": self.config.to_dict(),
            "store": self.store.digest,
            "books": list(self.store.books),
            "tokenizer": self.encoder.digest,
            "questions": questions.hexdigest() if self._questions is not None else None,
        }
        return hashlib.blake2b(
            json.dumps(origin, sort_keys=True).encode(), digest_size=8
        ).hexdigest()


def spell_question(encoder: TextEncoder, question: str) -> Ids:
    """Returns a question and the token that asks for its answer."""
    return _as_ids([*encoder.encode(question), encoder.gen_id])


def spell_answer(encoder: TextEncoder, answer: str) -> Ids:
    """Returns an answer and the token that ends it."""
    return _as_ids([*encoder.encode(answer), encoder.end_id])


def _most_facts(budget: int) -> int:
    return max(0, budget // TOKENS_PER_LINE - 1)


def _placed(question: Question, told: list[int], layout: Layout) -> tuple[PlacedFact, ...]:
    return tuple(
        PlacedFact(
            text=question.facts[number],
            start=start,
            length=len(item),
            is_supporting=question.fact_numbers[number] in question.supporting,
        )
        for number, start, item in zip(told, layout.starts, layout.items, strict=True)
    )


def _as_ids(ids: list[int]) -> Ids:
    return np.asarray(ids, dtype=np.int64)
