"""A control: the facts of a sample without the text around them."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import final

import numpy as np

from armt.evaluation.subject import Answer, Arm, Subject, answer_in_groups
from armt.evaluation.subjects.hashing import short_hash
from armt.tasks.contract import Ids, PlacedFact, Sample


@final
class FactsOnly:
    """Shows another subject nothing but the facts, whatever the length.

    So it counts as told what they look like: whoever finds them for it knows.
    """

    def __init__(self, subject: Subject) -> None:
        """Takes the subject that is asked."""
        self.subject = subject
        name = f"{subject.about.name}, facts alone"
        self.about = replace(subject.about, name=name, knows_facts=True)

    @property
    def fingerprint(self) -> str:
        """A hash of the subject's."""
        return short_hash(["facts only", self.subject.fingerprint])

    def answer(
        self, samples: Sequence[Sample], arms: Sequence[Arm]
    ) -> Mapping[Arm, Sequence[Answer]]:
        """Asks the subject about the facts of each sample."""
        by_len: dict[int, list[int]] = defaultdict(list)
        shown = [facts_alone(sample) for sample in samples]
        for place, sample in enumerate(shown):
            by_len[sample.context_len].append(place)
        return answer_in_groups(self.subject, shown, by_len.values(), arms)


def facts_alone(sample: Sample) -> Sample:
    """Returns the sample with a context of its facts and nothing else."""
    starts = np.cumsum([0, *(fact.length for fact in sample.facts)])
    facts = tuple(
        fact._replace(start=int(start))
        for fact, start in zip(sample.facts, starts[:-1], strict=True)
    )
    return replace(
        sample,
        context=partial(_fact_ids, sample),
        context_len=int(starts[-1]),
        text=partial(_fact_texts, sample.facts),
        facts=facts,
    )


def _fact_ids(sample: Sample) -> Iterator[Ids]:
    """Yields the tokens of the facts out of the context."""
    begin = 0
    pending = list(sample.facts)
    for piece in sample.context():
        end = begin + len(piece)
        while pending and pending[0].start < end:
            fact = pending[0]
            last = fact.start + fact.length
            yield piece[max(0, fact.start - begin) : last - begin]
            if last > end:
                break
            _ = pending.pop(0)
        begin = end


def _fact_texts(facts: Sequence[PlacedFact]) -> Iterator[str]:
    for fact in facts:
        yield f" {fact.text}"
