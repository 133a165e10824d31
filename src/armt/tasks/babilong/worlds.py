"""What a training stream tells and asks: worlds, their stories, and what is known of them when.

A story is recorded as two arrays: the facts in the order of telling, and for each number of facts
told so far the answer of every question that the world knows. So a stream finds what it can ask at
any place of a text by looking it up.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from types import MappingProxyType
from typing import NamedTuple, Protocol, final

import numpy as np
import numpy.typing as npt

from armt.tasks.babi.dice import Dice
from armt.tasks.babi.world import NOWHERE, IntArray

FloatArray = npt.NDArray[np.float64]

_MOST_SETTLED = 40
"""Facts at the beginning of a story, at most, that are told soon for a question's sake."""

_MOST_MORE = 3
"""How many more facts than needed may be told soon."""


class Telling(NamedTuple):
    """Stories as numbers; axes before the ones named count independent stories."""

    facts: IntArray
    """Numbers of the facts in the order of telling, (..., facts)."""

    known: IntArray
    """Number of each question's answer after so many facts, `NOWHERE` where it has none,
    (..., facts + 1, questions)."""

    sources: IntArray
    """Questions with the same number have their answers since the same fact, so that one may tell
    what another asks, (..., facts + 1, questions)."""


class Sentences(NamedTuple):
    """All that can be told, asked and answered in a world; numbers count within these."""

    facts: tuple[str, ...]
    questions: tuple[str, ...]
    answers: tuple[str, ...]

    weights: tuple[float, ...]
    """How many times as often as another each question is asked, where all can be asked."""


class Words(NamedTuple):
    """The words by which a sentence of the background looks like a fact."""

    people: tuple[str, ...]
    things: tuple[str, ...]
    verbs: tuple[str, ...]


class OpenStory(Protocol):
    """A story that is about to be told."""

    @property
    def num_early(self) -> int:
        """Facts to be told soon, so that there is something to ask."""
        ...

    @property
    def num_settled(self) -> int:
        """Of these the first ones, which no border may move; 0 where any one fact is enough."""
        ...

    def tell(self, num_facts: int) -> Telling:
        """Tells so many facts."""
        ...


class World(Protocol):
    """A kind of stories."""

    @property
    def sentences(self) -> Sentences:
        """What can be told and asked."""
        ...

    @property
    def words(self) -> Words:
        """The words of its facts."""
        ...

    def open(self, rng: np.random.Generator) -> OpenStory:
        """Opens another story."""
        ...

    def tell_many(self, rng: np.random.Generator, num_facts: IntArray) -> Telling:
        """Tells stories of so many facts each; what stands behind a shorter one means nothing."""
        ...


def all_words(worlds: Sequence[World]) -> Words:
    """Returns the words of several worlds, each once."""
    joined = (
        tuple(dict.fromkeys(word for words in each for word in words))
        for each in zip(*(world.words for world in worlds), strict=True)
    )
    return Words(*joined)


class Step(NamedTuple):
    """A fact and what it changes."""

    fact: str
    """The sentence."""

    answers: Mapping[str, str | None]
    """The answers that follow from it, be they as before, and none for questions that it opens."""

    sources: Mapping[str, int] = MappingProxyType({})
    """The numbers, from 1, of the facts that answers follow from; this one's if none is given."""


@final
class SteppedWorld:
    """A world whose stories are told step by step."""

    def __init__(
        self, sentences: Sentences, words: Words, steps: Callable[[Dice], Iterator[Step]]
    ) -> None:
        """Takes the sentences, and what tells a story; it may answer more than is ever asked."""
        self.sentences = sentences
        self.words = words
        self._steps = steps
        self._facts = {text: number for number, text in enumerate(sentences.facts)}
        self._questions = {text: number for number, text in enumerate(sentences.questions)}
        self._answers: dict[str | None, int] = {
            text: number for number, text in enumerate(sentences.answers)
        }
        self._answers[None] = NOWHERE

    def open(self, rng: np.random.Generator) -> "SteppedStory":
        """Opens a story of dice that no evaluation throws: its keys begin with another word."""
        return SteppedStory(self, rng)

    def tell_many(self, rng: np.random.Generator, num_facts: IntArray) -> Telling:
        """Tells stories one after the other; behind a shorter one its end is repeated."""
        told = [self.open(rng).tell(number) for number in num_facts.tolist()]
        most = int(num_facts.max())
        facts, known, sources = zip(*told, strict=True)
        return Telling(_stack(facts, most), _stack(known, most + 1), _stack(sources, most + 1))

    def begin(self, key: int) -> Iterator[Step]:
        """Returns the steps of story number `key`."""
        return self._steps(Dice("training", key))

    def record(self, steps: list[Step]) -> Telling:
        """Returns the steps as numbers."""
        known = np.full((len(steps) + 1, len(self._questions)), NOWHERE, dtype=np.int64)
        sources = np.zeros_like(known)
        numbers, answers = self._questions, self._answers
        for told, step in enumerate(steps, start=1):
            known[told], sources[told] = known[told - 1], sources[told - 1]
            for question, answer in step.answers.items():
                if question in numbers:
                    known[told, numbers[question]] = answers[answer]
                    sources[told, numbers[question]] = step.sources.get(question, told)
        facts = [self._facts[step.fact] for step in steps]
        return Telling(np.asarray(facts, dtype=np.int64), known, sources)

    def can_ask(self, step: Step) -> bool:
        """Whether the step answers a question of full weight, so not an easier one."""
        weights = self.sentences.weights
        return any(
            answer is not None and question in self._questions
            and weights[self._questions[question]] >= 1
            for question, answer in step.answers.items()
        )  # fmt: skip


@final
class SteppedStory:
    """A story of a `SteppedWorld`; as many of its facts as the first question needs come soon."""

    def __init__(self, world: SteppedWorld, rng: np.random.Generator) -> None:
        """Tells its beginning."""
        self._world = world
        self._rest = world.begin(int(rng.integers(1 << 62)))
        self._begun: list[Step] = []
        for step in islice(self._rest, _MOST_SETTLED):
            self._begun.append(step)
            if world.can_ask(step):
                break
        self.num_settled = len(self._begun)
        self.num_early = self.num_settled + int(rng.integers(_MOST_MORE + 1))

    def tell(self, num_facts: int) -> Telling:
        """Tells so many facts from the beginning."""
        missing = max(0, num_facts - len(self._begun))
        steps = [*self._begun, *islice(self._rest, missing)]
        return self._world.record(steps[:num_facts])


def _stack(arrays: Sequence[IntArray], length: int) -> IntArray:
    """Returns arrays as one, each made `length` long by repeating its last entry."""
    rising = np.arange(length)
    return np.stack([each[np.minimum(rising, len(each) - 1)] for each in arrays])
