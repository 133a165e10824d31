"""A recurrent model, asked with its memory and without."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import final

from armt.core.errors import ConfigError
from armt.evaluation.answers import answer_after, answer_samples, evaluating
from armt.evaluation.subject import About, Answer, Arm
from armt.evaluation.subjects.apart import ask_apart_if_needed
from armt.evaluation.subjects.hashing import short_hash
from armt.evaluation.subjects.words import whole_words
from armt.recurrence.fingerprint import model_fingerprint
from armt.recurrence.model import Recurrent
from armt.tasks.babilong.sample import spell_question
from armt.tasks.contract import Sample, TextEncoder
from armt.tasks.scorers import decode_answer


@final
class RecurrentSubject:
    """A recurrent model that reads every context from an empty memory, many side by side.

    The tokens of a context are read as they are, which needs a task that counts in the model's own
    tokens. With `reads_text` the context is encoded anew from its text, sample by sample.
    """

    def __init__(
        self,
        model: Recurrent,
        encoder: TextEncoder,
        *,
        name: str,
        batch_size: int = 16,
        max_answer_len: int = 10,
        knows_facts: bool = True,
        reads_text: bool = False,
    ) -> None:
        """Takes a model and its tokenizer.

        Args:
            model: reads and answers, on the device where it is.
            encoder: its tokenizer.
            name: what it is called in tables.
            batch_size: contexts read side by side.
            max_answer_len: tokens of an answer, at most.
            knows_facts: whether it was trained on sentences of the task.
            reads_text: whether contexts come in the tokens of another tokenizer.

        Raises:
            ConfigError: a number is less than 1.
        """
        for option, value in (("batch_size", batch_size), ("max_answer_len", max_answer_len)):
            if value < 1:
                raise ConfigError(f"`{option}` must be at least 1. Got {value}.")
        self.about = About(
            name=name,
            category="recurrent",
            knows_facts=knows_facts,
            arms=("on", "off"),
            batch_size=batch_size,
        )
        self._model, self._encoder = model, encoder
        self._max_answer_len, self._reads_text = max_answer_len, reads_text

    @property
    def fingerprint(self) -> str:
        """A hash of weights, memory, segment length, tokenizer and length of the answer."""
        return short_hash(
            [
                model_fingerprint(self._model),
                self._model.memory.config.to_dict(),
                self._model.recurrence.segment_len,
                self._encoder.digest,
                self._max_answer_len,
                self._reads_text,
            ]
        )

    def answer(
        self, samples: Sequence[Sample], arms: Sequence[Arm]
    ) -> Mapping[Arm, Sequence[Answer]]:
        """Reads the contexts side by side and answers greedily, in every arm.

        Raises:
            DataError: the contexts differ in length.
            ConfigError: they come in the tokens of another tokenizer.
        """
        self._check_tokens(samples)
        ask = self._ask_from_text if self._reads_text else self._ask
        return ask_apart_if_needed(partial(ask, arms), samples, arms)

    def _check_tokens(self, samples: Sequence[Sample]) -> None:
        own = self._encoder.digest
        used = {str(sample.metadata.get("tokenizer", own)) for sample in samples}
        if used != {own} and not self._reads_text:
            raise ConfigError(
                "The contexts come in the tokens of another tokenizer than that of "
                f"'{self.about.name}'. Let the task count in the model's own tokens, or set "
                "`reads_text=True`."
            )

    def _ask(self, arms: Sequence[Arm], samples: Sequence[Sample]) -> dict[Arm, list[Answer]]:
        found = answer_samples(
            self._model,
            samples,
            arms=arms,
            end_id=self._encoder.end_id,
            max_answer_len=self._max_answer_len,
        )
        return self._spell(found)

    def _ask_from_text(
        self, arms: Sequence[Arm], samples: Sequence[Sample]
    ) -> dict[Arm, list[Answer]]:
        both: dict[Arm, list[Answer]] = {arm: [] for arm in arms}
        for sample in samples:
            with evaluating(self._model):
                state = self._model.read(self._encoded(sample))
            found = answer_after(
                self._model,
                [_asked_anew(sample, self._encoder)],
                state,
                arms=arms,
                end_id=self._encoder.end_id,
                max_answer_len=self._max_answer_len,
            )
            for arm, answers in self._spell(found).items():
                both[arm] += answers
        return both

    def _encoded(self, sample: Sample) -> Iterator[list[int]]:
        for piece in whole_words(sample.text()):
            ids = self._encoder.encode(piece)
            if ids:
                yield ids

    def _spell(self, found: Mapping[Arm, list[list[int]]]) -> dict[Arm, list[Answer]]:
        return {
            arm: [Answer(text=decode_answer(self._encoder, ids)) for ids in answers]
            for arm, answers in found.items()
        }


def _asked_anew(sample: Sample, encoder: TextEncoder) -> Sample:
    """Returns the sample with its question in the tokens of `encoder`."""
    return replace(sample, question_ids=spell_question(encoder, sample.question))
