"""Baselines that search the context and show a reader the best passages only."""

import dataclasses
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, final

import numpy as np

from armt.core.config import Config, PlainTree
from armt.core.errors import ConfigError
from armt.evaluation.passages import CutContext, PassageCutter
from armt.evaluation.retrievers import Retriever, best_passages
from armt.evaluation.subject import (
    About,
    Answer,
    Arm,
    PartlyAnsweredError,
    Subject,
    answer_in_groups,
)
from armt.evaluation.subjects.hashing import short_hash
from armt.tasks.contract import Sample, TextEncoder

_SHOWN_LEN = 300
# These read samples side by side as rows of a batch; the others take them one by one anyway.
_SIDE_BY_SIDE = ("recurrent", "causal")


@dataclass(frozen=True, kw_only=True)
class RetrievalConfig(Config):
    """How many passages are shown, and in which order."""

    num_passages: int = 5
    """Passages that the reader is shown."""

    order: Literal["score", "position"] = "position"
    """`score`: the best one first, as in the reference, which loses the order of time.
    `position`: as they stand in the text."""

    separator: str = "\n\n"
    """What stands between two passages."""

    def __post_init__(self) -> None:
        """Checks the options."""
        if self.num_passages < 1:
            raise ConfigError(f"`num_passages` must be at least 1. Got {self.num_passages}.")
        if self.order not in ("score", "position"):
            raise ConfigError(f"`order` must be 'score' or 'position'. Got {self.order!r}.")


class Retrieved(NamedTuple):
    """What a search in one context found."""

    texts: list[str]
    """The passages, in the order in which they are shown."""

    details: dict[str, PlainTree]
    """For the record: the passages, and how many of the supporting facts are in them."""


@final
class Search:
    """A cutter and a retriever, put to work on samples."""

    def __init__(
        self, cutter: PassageCutter, retriever: Retriever, config: RetrievalConfig | None = None
    ) -> None:
        """Puts the parts together."""
        self.cutter, self.retriever = cutter, retriever
        self.config = config or RetrievalConfig()

    @property
    def name(self) -> str:
        """All that decides what is found, in words."""
        return (
            f"{self.retriever.name}, best {self.config.num_passages} of {self.cutter.name} "
            f"by {self.config.order}"
        )

    def find(self, sample: Sample) -> Retrieved:
        """Returns the passages for the question of a sample.

        `support_recall` in the details is the share of the supporting facts that stand wholly in
        one of the passages; it is missing where the sample does not tell its facts.
        """
        cut = self.cutter.cut(sample)
        scores = self.retriever.scores(
            sample.question.strip(), [passage.text for passage in cut.passages]
        )
        chosen = best_passages(scores, self.config.num_passages)
        if self.config.order == "position":
            chosen = sorted(chosen)
        found = [cut.passages[each] for each in chosen]
        details: dict[str, PlainTree] = {
            "search": self.name,
            "num_passages": len(cut.passages),
            "passages": [passage.text[:_SHOWN_LEN] for passage in found],
            "passage_starts": [passage.start for passage in found],
            "passage_scores": [round(float(scores[each]), 6) for each in chosen],
            **_support(sample, cut, chosen),
        }
        return Retrieved([passage.text for passage in found], details)


@final
class RetrievalSubject:
    """A reader that is shown the passages found in a context instead of the context."""

    def __init__(self, search: Search, reader: Subject, encoder: TextEncoder) -> None:
        """Takes the reader and the encoder it reads tokens with, if it reads tokens."""
        self.search, self.reader = search, reader
        name = f"{reader.about.name} + {search.name}"
        self.about = dataclasses.replace(reader.about, name=name, category="retrieval")
        self._encoder = encoder

    @property
    def fingerprint(self) -> str:
        """A hash of search and reader."""
        return short_hash([self.reader.fingerprint, self.search.name, self.search.config.separator])

    def answer(
        self, samples: Sequence[Sample], arms: Sequence[Arm] = ("none",)
    ) -> Mapping[Arm, Sequence[Answer]]:
        """Searches the context of every sample and lets the reader answer from what was found."""
        found = [self.search.find(sample) for sample in samples]
        shown = [
            self._shown(sample, each.texts) for sample, each in zip(samples, found, strict=True)
        ]
        try:
            told = answer_in_groups(self.reader, shown, self._alike(shown), arms)
        except PartlyAnsweredError as stopped:
            answered: dict[Arm, dict[int, Answer]] = {
                arm: {
                    number: _with_details(answer, found[number].details)
                    for number, answer in answers.items()
                }
                for arm, answers in stopped.answers.items()
            }
            raise PartlyAnsweredError(stopped.error, answered) from None
        return {
            arm: [
                _with_details(answer, each.details)
                for answer, each in zip(answers, found, strict=True)
            ]
            for arm, answers in told.items()
        }

    def _shown(self, sample: Sample, texts: list[str]) -> Sample:
        """Returns the sample with the passages as its whole context."""
        text = self.search.config.separator.join(texts)
        ids = np.asarray(self._encoder.encode(" " + text) if text else [], dtype=np.int64)
        return dataclasses.replace(
            sample,
            context=lambda: iter([ids] if len(ids) else []),
            context_len=len(ids),
            text=lambda: iter([text]),
            facts=(),
        )

    def _alike(self, samples: Sequence[Sample]) -> list[list[int]]:
        """Returns groups of samples that the reader can be given together."""
        if self.reader.about.category not in _SIDE_BY_SIDE:
            return [list(range(len(samples)))]
        groups: dict[int, list[int]] = defaultdict(list)
        for number, sample in enumerate(samples):
            groups[sample.context_len].append(number)
        return list(groups.values())


@final
class RetrievalOnly:
    """A search without a reader: no answers, but the recall of the supporting facts."""

    def __init__(self, search: Search) -> None:
        """Takes the search."""
        self.search = search
        self.about = About(name=search.name, category="retrieval", knows_facts=False)

    @property
    def fingerprint(self) -> str:
        """A hash of the search."""
        return short_hash([self.search.name])

    def answer(
        self, samples: Sequence[Sample], arms: Sequence[Arm] = ("none",)
    ) -> Mapping[Arm, Sequence[Answer]]:
        """Searches the context of every sample; the answers are empty texts."""
        found = [self.search.find(sample) for sample in samples]
        return {arm: [Answer(text="", details=each.details) for each in found] for arm in arms}


def _support(sample: Sample, cut: CutContext, chosen: Sequence[int]) -> dict[str, PlainTree]:
    supporting = [number for number, fact in enumerate(sample.facts) if fact.is_supporting]
    if not supporting:
        return {}
    num_found = sum(cut.holds(number, chosen) for number in supporting)
    return {
        "num_supporting": len(supporting),
        "num_supporting_found": num_found,
        "support_recall": num_found / len(supporting),
    }


def _with_details(answer: Answer, details: Mapping[str, PlainTree]) -> Answer:
    return dataclasses.replace(answer, details={**answer.details, **details})
