"""The lm-evaluation-harness on a recurrent model, with tasks of ours and of its own."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from armt.cli.babilong_samples import make_tasks
from armt.cli.babilong_settings import BabilongSettings, parse_tasks
from armt.cli.babilong_subjects import on_best_device
from armt.core.files import write_text
from armt.evaluation.lm_eval.adapter import PromptForm, recurrent_lm
from armt.evaluation.lm_eval.run import run_lm_eval
from armt.evaluation.lm_eval.tasks import lm_eval_task
from armt.serving.boxed_model import BoxedModel, load_boxed
from armt.serving.folders import boxed_folder

if TYPE_CHECKING:
    from lm_eval.api.task import Task

RESULTS_NAME = "lm_eval.json"

_OWN = re.compile(r"qa\d+(-qa\d+)?|all")
_KEPT = ("results", "n-samples", "versions", "n-shot", "higher_is_better", "config")


def run_harness(
    model: str,
    settings: BabilongSettings,
    tasks: Sequence[str],
    background: Sequence[str],
    sizes: tuple[tuple[int, ...], int],
    out: Path,
) -> str:
    """Returns a Markdown table of all tasks and metrics; the harness's results go to `out`.

    Args:
        model: `boxed`, or the folder of a recurrent model.
        settings: how samples are made and how many are read side by side.
        tasks: `qa1` and the like are ours, the others the harness's own.
        background: for our tasks.
        sizes: lengths and number of samples; the number limits the harness's own tasks too.
        out: folder of the results.

    Raises:
        MissingExtraError: the lm-evaluation-harness is not installed.
        ArmtError: model, tasks or background cannot be used.
    """
    boxed = on_best_device(load_boxed(boxed_folder() if model == "boxed" else model))
    form = PromptForm(
        encode_text=boxed.encode_text,
        encode_question=boxed.encode_question if boxed.form.has_answer_token else None,
        batch_size=settings.recurrent.batch_size,
        max_answer_len=boxed.form.max_answer_len,
    )
    lm = recurrent_lm(boxed.model, boxed.encoder, form)
    own = ",".join(task for task in tasks if _OWN.fullmatch(task))
    asked: list[str | Task] = [task for task in tasks if not _OWN.fullmatch(task)]
    if own:
        asked += _own_tasks(boxed, settings, parse_tasks(own), background, sizes, out)
    found = run_lm_eval(lm, asked, limit=sizes[1])
    kept = {name: found[name] for name in _KEPT if name in found}
    write_text(out / RESULTS_NAME, json.dumps(kept, indent=1, default=str) + "\n")
    return _table(found["results"])


def _own_tasks(
    boxed: BoxedModel,
    settings: BabilongSettings,
    tasks: Sequence[str],
    background: Sequence[str],
    sizes: tuple[tuple[int, ...], int],
    out: Path,
) -> "list[Task]":
    lengths, num_samples = sizes
    made = make_tasks(settings, tasks, background, boxed.encoder, out)
    max_len = boxed.form.max_answer_len
    return [
        lm_eval_task(task, length, num_samples, max_answer_len=max_len)
        for task in made
        for length in lengths
    ]


def _table(results: Mapping[str, Mapping[str, Any]]) -> str:
    lines = ["| task | metric | value | standard error |", "| --- | --- | ---: | ---: |"]
    for task, scores in results.items():
        for name, value in scores.items():
            metric, _, rest = name.partition(",")
            if isinstance(value, float) and not metric.endswith("_stderr"):
                error = scores.get(f"{metric}_stderr,{rest}", "")
                told = f"{error:.4f}" if isinstance(error, float) else ""
                lines.append(f"| {task} | {metric} | {value:.4f} | {told} |")
    return "\n".join(lines) + "\n"
