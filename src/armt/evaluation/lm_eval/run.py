"""Runs the lm-evaluation-harness on a model and tasks, ours or its own."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from armt.core.errors import ConfigError, DataError, UnknownNameError, suggestion
from armt.evaluation.lm_eval.adapter import require_lm_eval

if TYPE_CHECKING:
    from lm_eval.api.model import LM
    from lm_eval.api.task import Task
    from lm_eval.tasks import TaskManager


def run_lm_eval(
    lm: "LM",
    tasks: Sequence["str | Task"],
    *,
    limit: int | None = None,
    num_fewshot: int | None = None,
    has_chat_template: bool = False,
    include_path: str | os.PathLike[str] | None = None,
    metadata: Mapping[str, Any] | None = None,
    num_bootstrap: int = 1000,
) -> dict[str, Any]:
    """Returns the results as `lm_eval.simple_evaluate` gives them.

    Under `results` stands a table for each task (`reference,none` and so on), under `samples` every
    prompt and output. Tasks of the harness itself may be downloaded; ours never are.

    Args:
        lm: the model; see `recurrent_lm`.
        tasks: tasks of `lm_eval_task`, or names of tasks that the harness knows.
        limit: questions of each task, at most.
        num_fewshot: examples before each question; by default as many as the task says.
        has_chat_template: whether prompts are written in the model's chat template.
        include_path: a folder with task files of one's own.
        metadata: options for tasks that make their data, such as `{"max_seq_lengths": [4096]}`.
        num_bootstrap: resamplings for the standard errors.

    Raises:
        MissingExtraError: the lm-evaluation-harness is not installed.
        ConfigError: no task is given.
        UnknownNameError: the harness knows no task of that name.
    """
    if not tasks:
        raise ConfigError("No task was given. Name one, such as 'lambada_openai'.")
    options: dict[str, Any] = {
        "limit": limit,
        "num_fewshot": num_fewshot,
        "apply_chat_template": has_chat_template,
        "bootstrap_iters": num_bootstrap,
    }
    return _evaluate(lm, tasks, _known_tasks(tasks, include_path, metadata or {}), options)


def _evaluate(
    lm: "LM", tasks: Sequence["str | Task"], known: "TaskManager", options: Mapping[str, Any]
) -> dict[str, Any]:
    from lm_eval.evaluator import simple_evaluate

    # Its decorator hides its parameters.
    run = cast("Any", simple_evaluate)
    results = run(model=lm, tasks=list(tasks), task_manager=known, **options)
    if results is None:
        raise DataError("The harness gave no results: this is not its first process.")
    return cast("dict[str, Any]", results)


def _known_tasks(
    tasks: Sequence["str | Task"],
    include_path: str | os.PathLike[str] | None,
    metadata: Mapping[str, Any],
) -> "TaskManager":
    """Returns the harness's list of tasks that are known by name.

    Raises:
        UnknownNameError: it knows no task of a name that was given.
    """
    require_lm_eval()
    from lm_eval.tasks import TaskManager

    path = None if include_path is None else os.fspath(include_path)
    names = [task for task in tasks if isinstance(task, str) and not Path(task).is_file()]
    # Its own thousands of task files take a while to go through, so they come last.
    for has_own in (False, True):
        found = TaskManager(include_path=path, include_defaults=has_own, metadata=dict(metadata))
        known = cast("Sequence[str]", found.all_tasks)
        if all(name in known for name in names):
            return found
    unknown = next(name for name in names if name not in known)
    hint = suggestion(unknown, known) or " `lm-eval ls tasks` lists them."
    raise UnknownNameError(f"The lm-evaluation-harness knows no task '{unknown}'.{hint}")
