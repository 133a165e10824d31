"""Tracking people through a text of many sentences: bAbI task 1 with other sentences between.

    Mary went to the garden . John took the milk there . ... Where is Mary ? garden END

Every sentence has six words, a question with its answer and END too, so that a segment whose length
is a multiple of six holds whole ones. Some tell a move; others tell of an object, name the same
people and do not matter. The last sentence is a question about a person whose last move may lie any
number of sentences back.

Source: Weston et al., "Towards AI-Complete Question Answering", arXiv:1502.05698, task 1. LM2
(arXiv:2502.06049) and RMT are compared on such stories, told in natural language. Where we differ:
a word is a token ("went back" and "picked up" are one), nobody is told not to move, and how far
back the last move lies is drawn evenly; in the published data it is a few sentences.
"""

from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt
import torch

from armt.core.errors import ConfigError
from armt.tasks.babi.sentences import DROP_VERBS, GET_VERBS, MOVE_VERBS, OBJECTS, PEOPLE, PLACES
from armt.tasks.babi.world import NOWHERE, IntArray, Moves, draw_places, known_places
from armt.tasks.contract import NO_LABEL, Batch
from armt.tasks.symbols import Prompts, SymbolTask, SymbolTaskConfig, split_answers

WORDS = (
    *("END", "Where", "is", "?", ".", "to", "the", "there"),
    *(*PEOPLE, *PLACES, *OBJECTS, *MOVE_VERBS, *GET_VERBS, *DROP_VERBS),
)
"""The vocabulary: the word of each token."""

END_ID = WORDS.index("END")
"""After the answer."""

VOCAB_SIZE = 48
"""Entries of the vocabulary, some of them unused."""

SENTENCE_LEN = 6
"""Words of a sentence, its full stop included."""

BoolArray = npt.NDArray[np.bool_]

_ANSWER_LEN = 2


@dataclass(frozen=True, kw_only=True)
class TrackingConfig(SymbolTaskConfig):
    """Options of `Tracking`."""

    vocab_size = VOCAB_SIZE
    end_id = END_ID

    num_sentences: int = 80
    """Sentences before the question."""

    move_share: float = 0.2
    """How many of them tell a move, in (0, 1]."""

    question_share: float = 0.0
    """How many of them are questions with their answers, in training only, so that more is learned
    from a story; whoever was asked for stands nearer after that. At most 1 with `move_share`."""

    distance: int | None = None
    """Sentences after the last move of the person asked for; none for any number."""

    def __post_init__(self) -> None:
        """Checks the options."""
        if self.num_sentences < 1:
            raise ConfigError(f"`num_sentences` must be at least 1. Got {self.num_sentences}.")
        if not 0 < self.move_share <= 1:
            raise ConfigError(f"`move_share` must lie in (0, 1]. Got {self.move_share}.")
        if self.question_share < 0 or self.move_share + self.question_share > 1:
            raise ConfigError(
                "`question_share` must not be negative, nor above 1 together with `move_share`. "
                f"Got {self.question_share} and {self.move_share}."
            )
        if self.distance is not None and not 0 <= self.distance < self.num_sentences:
            raise ConfigError(
                f"`distance` must be from 0 to {self.num_sentences - 1}. Got {self.distance}."
            )

    def build(self) -> "Tracking":
        """Returns the task."""
        return Tracking(self)


@final
class Tracking(SymbolTask):
    """Tell where people go, among other things, and ask where one is; loss on the answer."""

    def __init__(self, config: TrackingConfig) -> None:
        """Takes the options."""
        self.config = config

    def draw_batch(self, rng: np.random.Generator, num_rows: int) -> Batch:
        """Returns stories with their questions and answers; loss on the answers."""
        sentences, is_question = self._draw(rng, num_rows, self.config.question_share)
        labels = np.full_like(sentences, NO_LABEL)
        labels[is_question, -_ANSWER_LEN:] = sentences[is_question, -_ANSWER_LEN:]
        first = 0 if self.config.question_share else self.config.num_sentences
        return Batch(
            input_ids=torch.from_numpy(sentences.reshape(num_rows, -1)),
            labels=torch.from_numpy(labels.reshape(num_rows, -1)),
            label_start=(first + 1) * SENTENCE_LEN - _ANSWER_LEN,
        )

    def draw_prompts(self, rng: np.random.Generator, num_rows: int) -> Prompts:
        """Returns stories with the last question, and its answers."""
        sentences, _ = self._draw(rng, num_rows, question_share=0.0)
        return split_answers(torch.from_numpy(sentences.reshape(num_rows, -1)), _ANSWER_LEN)

    def _draw(
        self, rng: np.random.Generator, num_rows: int, question_share: float
    ) -> tuple[IntArray, BoolArray]:
        """Returns the sentences (rows, sentences, words), and which of them are questions."""
        config, every = self.config, np.arange(num_rows)
        decisive = self._draw_decisive(rng, num_rows)
        people = rng.integers(len(PEOPLE), size=(num_rows, config.num_sentences))
        luck = rng.random(people.shape)
        is_move = luck < config.move_share
        is_move[every, decisive] = True
        asked = people[every, decisive]
        # whoever is asked for at the end moves no more: another one does
        is_later = np.arange(config.num_sentences) > decisive[:, None]
        is_wrong = is_later & is_move & (people == asked[:, None])
        people = (people + is_wrong * rng.integers(1, len(PEOPLE), people.shape)) % len(PEOPLE)
        movers = np.where(is_move, people, NOWHERE)
        moves = Moves(
            movers, rng.integers(len(MOVE_VERBS), size=movers.shape), draw_places(rng, movers)
        )
        people = np.concatenate([people, asked[:, None]], axis=1)
        known = np.take_along_axis(known_places(moves), people[..., None], axis=-1)[..., 0]
        is_question = ~is_move & (luck >= 1 - question_share) & (known[:, :-1] != NOWHERE)
        told = np.where(
            is_move[..., None], _moves(people[:, :-1], moves), _objects(rng, people[:, :-1])
        )
        is_question = np.concatenate([is_question, np.ones((num_rows, 1), dtype=np.bool_)], axis=1)
        told = np.concatenate([told, told[:, :1]], axis=1)
        return np.where(is_question[..., None], _questions(people, known), told), is_question

    def _draw_decisive(self, rng: np.random.Generator, num_rows: int) -> IntArray:
        """Returns in which sentence of each row the person asked for moves last."""
        number, distance = self.config.num_sentences, self.config.distance
        if distance is None:
            return rng.integers(number, size=num_rows)
        return np.full(num_rows, number - 1 - distance)


def _moves(people: IntArray, moves: Moves) -> IntArray:
    verbs, places = _ids(MOVE_VERBS)[moves.verbs], _ids(PLACES)[moves.places]
    return _sentences(_ids(PEOPLE)[people], verbs, "to", "the", places, ".")


def _objects(rng: np.random.Generator, people: IntArray) -> IntArray:
    kinds = _ids((*GET_VERBS, *DROP_VERBS))
    verbs = kinds[rng.integers(len(kinds), size=people.shape)]
    objects = _ids(OBJECTS)[rng.integers(len(OBJECTS), size=people.shape)]
    return _sentences(_ids(PEOPLE)[people], verbs, "the", objects, "there", ".")


def _questions(people: IntArray, places: IntArray) -> IntArray:
    """Returns a question with its answer for each person; nonsense where no place is known."""
    return _sentences("Where", "is", _ids(PEOPLE)[people], "?", _ids(PLACES)[places], "END")


def _sentences(*words: IntArray | str) -> IntArray:
    """Returns the words side by side, each an array of tokens or the same everywhere."""
    ids = [_ids((word,))[0] if isinstance(word, str) else word for word in words]
    return np.stack(np.broadcast_arrays(*ids), axis=-1)


def _ids(words: tuple[str, ...]) -> IntArray:
    return np.asarray([WORDS.index(word) for word in words])
