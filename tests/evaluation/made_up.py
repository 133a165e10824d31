"""A task and a subject made up for tests, without a model and without a text."""

import time

import numpy as np

from armt.core.errors import DataError
from armt.evaluation.subject import About, Answer, Told
from armt.tasks.contract import PlacedFact, Sample

PLACES = ("garden", "kitchen", "office")


class MadeUpTask:
    """Asks where Mary is; the contexts of length 0 differ in length."""

    def __init__(self, task="qa1", answer=""):
        self.task, self.seed, self.fingerprint = task, 7, "t1"
        self.answer = answer
        self.num_missing = 0
        self.broken = set()

    def indices(self, length, num_samples):
        return list(range(self.num_missing if length else 0, num_samples))

    def sample(self, length, index):
        if (length, index) in self.broken:
            raise DataError("no such facts")
        context_len = length or 10 + index % 2
        words = [f"w{number} " for number in range(min(context_len, 50))]
        return Sample(
            task=self.task,
            length=length,
            index=index,
            context=lambda: iter([np.arange(context_len)]),
            context_len=context_len,
            text=lambda: iter(words),
            question="Where is Mary? ",
            question_ids=np.array([1, 2]),
            answer=self.answer or PLACES[index % 3],
            answer_ids=np.array([3]),
            facts=(
                PlacedFact("John went to the office.", 0, 6, False),
                PlacedFact("Mary went there.", context_len - 4, 4, True),
            ),
            metadata={"placement": "made up"},
        )


class MadeUpSubject:
    """Is right with its memory and wrong without."""

    fingerprint = "s1"
    failed = Answer(text="", failure="the line went dead")

    def __init__(self, batch_size=3, breaks_at=0, failing=(), pause_s=0.0, prompt_hash="p1"):
        self.about = About(
            name="made up",
            category="recurrent",
            knows_facts=True,
            told={"qa1": Told(hash=prompt_hash, flags="flags")},
            prompt_set="all",
            arms=("on", "off"),
            batch_size=batch_size,
        )
        self.breaks_at, self.failing, self.pause_s = breaks_at, failing, pause_s
        self.groups = []

    def answer(self, samples, arms):
        self.groups.append(list(samples))
        time.sleep(self.pause_s)
        if len(self.groups) == self.breaks_at:
            raise KeyboardInterrupt
        return {arm: [self._say(sample, arm) for sample in samples] for arm in arms}

    def _say(self, sample, arm):
        if (sample.length, sample.index) in self.failing:
            return self.failed
        text = sample.answer if arm == "on" else "the moon"
        return Answer(text=text, num_dropped=3, details={"why": "because"})
