"""Whatever can be asked: what an evaluation needs to know of it, and what it answers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, final

from armt.core.config import PlainTree
from armt.core.errors import ArmtError
from armt.evaluation.judging import babi_name
from armt.evaluation.reports.reference_files import spell_flags
from armt.tasks.babilong.prompts import Prompt, PromptBook
from armt.tasks.contract import Sample

Arm = Literal["on", "off", "none"]
"""`on`: with what the memory read; `off`: the same model with an empty memory at the question;
`none`: the subject has no memory to switch off."""

Category = Literal["recurrent", "causal", "endpoint", "retrieval", "rules", "constant"]
"""How a subject comes to its answers; tables never mix them up."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a subject said to one question."""

    text: str
    """The output as it came, cut before an end token; empty after a failure."""

    failure: str = ""
    """Why there is no output; empty if there is one. A failure counts as a wrong answer."""

    num_dropped: int = 0
    """Tokens of context that the subject could not be shown."""

    details: Mapping[str, PlainTree] = field(default_factory=dict[str, PlainTree])
    """Whatever helps to understand the answer, such as the passages that were retrieved."""


@final
class PartlyAnsweredError(ArmtError):
    """No further question is worth asking, but some samples were answered before that was known."""

    def __init__(self, error: ArmtError, answers: Mapping[Arm, Mapping[int, Answer]]) -> None:
        """Takes what is wrong, and by their numbers the answers to the samples that have one."""
        super().__init__(str(error))
        self.error, self.answers = error, answers


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a subject is told for one task alone."""

    hash: str = ""
    """A hash of the wording of its prompt, or of an answer given in advance; empty for nothing."""

    flags: str = ""
    """Which parts of a prompt are there, as the reference's result files spell it."""


@dataclass(frozen=True, kw_only=True)
class About:
    """What tables and records tell of a subject, and how it wants to be asked."""

    name: str
    """What it is called in tables, such as `armt/boxed-qa1`."""

    category: Category
    """How it comes to its answers."""

    knows_facts: bool
    """Whether it was told by its makers what the sentences of the task look like."""

    told: Mapping[str, Told] = field(default_factory=dict[str, Told])
    """What it is told for each task, by name; empty if nothing."""

    prompt_set: str = ""
    """A hash of the prompts of all tasks together: tables know by it which of them are one way of
    asking. No record is looked up by it."""

    arms: tuple[Arm, ...] = ("none",)
    """The arms it can be asked in: `("on", "off")` or `("none",)`."""

    batch_size: int = 1
    """Samples of one context length that it wants to see together."""

    def told_for(self, task: str) -> Told:
        """Returns what it is told for `task`; for `qa1@both` the same as for `qa1`."""
        return self.told.get(babi_name(task) or task, Told())


def told_by(prompts: PromptBook, *, has_chat_template: bool) -> dict[str, Told]:
    """Returns what a subject is told for each task that has a prompt.

    Args:
        prompts: the prompts of the tasks.
        has_chat_template: whether they are messages in a chat template; one text knows no system
            message.
    """
    return {task: _told(prompts[task], has_chat_template) for task in prompts.tasks}


def _told(prompt: Prompt, has_chat_template: bool) -> Told:
    flags = {
        "instruction": bool(prompt.instruction),
        "examples": bool(prompt.examples),
        "post_prompt": bool(prompt.post_prompt),
        "chat_template": has_chat_template,
        "system_prompt": has_chat_template and bool(prompt.system),
    }
    return Told(hash=prompt.hash, flags=spell_flags(flags))


class Subject(Protocol):
    """A model, a service or a rule that answers questions about contexts."""

    @property
    def about(self) -> About:
        """What is told of it."""
        ...

    @property
    def fingerprint(self) -> str:
        """A short hash of all that decides its answers to every task: weights, decoding.

        What it is told for one task alone stands in `About.told`, so that no other task's answers
        are lost when it changes.
        """
        ...

    def answer(
        self, samples: Sequence[Sample], arms: Sequence[Arm]
    ) -> Mapping[Arm, Sequence[Answer]]:
        """Answers samples whose contexts are of one length, each for itself, in every arm.

        A failure that concerns one sample (a service that times out, a context that is too long)
        is an `Answer` with a `failure`; what makes any further question useless is raised.

        Raises:
            PartlyAnsweredError: it came up when some of the samples had their answer.
        """
        ...


def answer_in_groups(
    subject: Subject,
    samples: Sequence[Sample],
    groups: Iterable[Sequence[int]],
    arms: Sequence[Arm],
) -> dict[Arm, list[Answer]]:
    """Asks one group of samples after the other; returns the answers in the order of the samples.

    Args:
        subject: who is asked.
        samples: all samples.
        groups: the numbers of the samples that are asked together.
        arms: the arms that they are asked in.

    Raises:
        PartlyAnsweredError: the subject gave up after some answers, in this group or before.
    """
    found: dict[Arm, dict[int, Answer]] = {arm: {} for arm in arms}
    for numbers in groups:
        try:
            given = subject.answer([samples[number] for number in numbers], arms)
        except PartlyAnsweredError as stopped:
            for arm, answers in stopped.answers.items():
                found[arm] |= {numbers[place]: answer for place, answer in answers.items()}
            raise PartlyAnsweredError(stopped.error, found) from None
        except ArmtError as error:
            if not any(found.values()):
                raise
            raise PartlyAnsweredError(error, found) from None
        for arm in arms:
            found[arm] |= dict(zip(numbers, given[arm], strict=True))
    return {arm: [found[arm][number] for number in range(len(samples))] for arm in arms}
