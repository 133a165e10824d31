"""`armt evaluate`: accuracy by length, with the memory and without."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from armt.cli.console import notices, results, silence_transformers
from armt.cli.read import ModelOption

if TYPE_CHECKING:
    from collections.abc import Sequence

    from armt.evaluation.harness import EvaluationConfig

HEATMAP_NAME = "heatmap.png"


def evaluate(
    out: Annotated[
        Path, typer.Option("--out", help="Folder of the results; resumed if it exists.")
    ],
    model: ModelOption = None,
    task: Annotated[str, typer.Option("--task", help="Task of BABILong.")] = "qa1",
    lengths: Annotated[
        str, typer.Option("--lengths", help="Tokens of context, such as 0k,4k,1M.")
    ] = "0k,1k,2k,4k,8k,16k,32k,64k",
    num_samples: Annotated[int, typer.Option("--num-samples", help="Questions a length.")] = 100,
    batch_size: Annotated[int, typer.Option("--batch-size", help="Texts side by side.")] = 16,
    background: Annotated[
        list[str] | None,
        typer.Option(
            "--background",
            help="Folder of .txt files or data set; by default the prose that comes with Python.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Decides the samples.")] = 0,
) -> None:
    """Ask a model questions about texts of any length; writes records, tables and a heat map."""
    from armt.cli.babilong_settings import parse_lengths
    from armt.evaluation.harness import EvaluationConfig
    from armt.serving.folders import boxed_folder

    silence_transformers()
    options = EvaluationConfig(
        lengths=parse_lengths(lengths), num_samples=num_samples, retry_failures=True
    )
    folder = model or boxed_folder()
    measure(folder, task, options, out, background or [], batch_size=batch_size, seed=seed)


def measure(
    folder: Path,
    task: str,
    options: "EvaluationConfig",
    out: Path,
    background: "Sequence[str]" = (),
    *,
    batch_size: int,
    seed: int = 0,
) -> None:
    """Evaluates the recurrent model in `folder` on one task; prints the table, keeps all in `out`.

    Raises:
        ArmtError: model, task or background cannot be used.
    """
    from armt.cli.babilong_results import ask, tell_failures, write_tables
    from armt.cli.babilong_samples import make_tasks, store_folder
    from armt.cli.babilong_settings import BabilongSettings, RecurrentSettings
    from armt.cli.babilong_subjects import open_recurrent
    from armt.evaluation.reports.panels import draw_panels, record_panels
    from armt.tasks.babilong.task_config import BabilongTaskConfig

    settings = BabilongSettings(
        splitter="" if store_folder(background) else "plain",
        samples=BabilongTaskConfig(seed=seed),
        recurrent=RecurrentSettings(batch_size=batch_size),
    )
    opened = open_recurrent(folder, settings, name=folder.resolve().name)
    [made] = make_tasks(settings, [task], background, opened.encoder, out)
    records = ask(opened.subject, made, options, out)
    results().print(write_tables(records, out, "exact"), end="")
    draw_panels(record_panels(records, "exact"), out / HEATMAP_NAME)
    notices().print(
        f"Accuracy in per cent, with 95 % intervals.{tell_failures(records)} More in '{out}'.",
    )
