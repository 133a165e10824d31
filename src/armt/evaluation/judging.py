"""How an output is judged, by every metric that its task has."""

import re

from armt.tasks.babi.catalogue import BABI_TASKS
from armt.tasks.babilong.scoring import reference_score, strict_score
from armt.tasks.scorers import exact_match

_BABI_NAME = re.compile(r"qa\d+(?![0-9A-Za-z])")


def judge(task: str, truth: str, output: str, question: str) -> dict[str, bool]:
    """Returns whether an output is right, by each metric that the task has.

    A bAbI task has all three; any other has `exact` alone. What follows the number of a bAbI task
    in its name, such as where the question stands, does not change how it is judged.

    Args:
        task: its name, such as `qa1`.
        truth: the right answer.
        output: what was said.
        question: the question asked.
    """
    exact = {"exact": exact_match(output, truth)}
    name = babi_name(task)
    if name is None:
        return exact
    return {
        "reference": reference_score(name, truth, output, question),
        "strict": strict_score(name, truth, output, question),
        **exact,
    }


def babi_name(task: str) -> str | None:
    """Returns the name of the bAbI task that a task's name begins with, if it is one."""
    found = _BABI_NAME.match(task)
    return found[0] if found and found[0] in BABI_TASKS else None
