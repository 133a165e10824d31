"""`armt evaluate`: accuracy by length, with the memory and without."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from armt.cli.console import notices, results, silence_transformers
from armt.cli.read import ModelOption

if TYPE_CHECKING:
    from collections.abc import Sequence

    from armt.evaluation.harness import EvaluationConfig
    from armt.evaluation.record import Record
    from armt.evaluation.subject import Subject
    from armt.evaluation.subjects.recurrent import RecurrentSubject
    from armt.serving.boxed_model import BoxedModel
    from armt.tasks.babilong.sample import BabilongTask

RECORDS_NAME, TABLE_NAME, CSV_NAME, HEATMAP_NAME = (
    "records.jsonl", "table.md", "table.csv", "heatmap.png",
)  # fmt: skip
PROSE = ("prose",)


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
    from armt.evaluation.harness import EvaluationConfig
    from armt.serving.boxed_model import load_boxed
    from armt.serving.folders import boxed_folder
    from armt.tasks.babilong.lengths import parse_length

    silence_transformers()
    options = EvaluationConfig(
        lengths=tuple(parse_length(length) for length in lengths.split(",")),
        num_samples=num_samples,
    )
    boxed = on_best_device(load_boxed(model or boxed_folder()))
    made = make_task(boxed, tuple(background or PROSE), out, task, seed)
    subject = as_subject(boxed, model or boxed_folder(), batch_size)
    write_results(run_evaluation(subject, made, options, out), out)


def on_best_device(boxed: "BoxedModel") -> "BoxedModel":
    """Moves a model to the GPU, if there is one."""
    import torch

    if torch.cuda.is_available():
        _ = boxed.model.to("cuda")  # pyright: ignore[reportArgumentType]
    return boxed


def make_task(
    boxed: "BoxedModel", background: tuple[str, ...], out: Path, task: str, seed: int
) -> "BabilongTask":
    """Returns a task over books that no model of the library is trained on; keeps their tokens."""
    from armt.tasks.babilong.building import cached_store
    from armt.tasks.babilong.task_config import BabilongTaskConfig
    from armt.training.text import background_books

    store = cached_store(background_books(background), boxed.encoder, out / "background")
    return BabilongTaskConfig(task=task, seed=seed).build(store.only("test"), boxed.encoder)


def as_subject(boxed: "BoxedModel", folder: Path, batch_size: int) -> "RecurrentSubject":
    """Returns a model as an evaluation wants it, called by the name of its folder."""
    from armt.evaluation.subjects.recurrent import RecurrentSubject

    return RecurrentSubject(
        boxed.model,
        boxed.encoder,
        name=folder.resolve().name,
        batch_size=batch_size,
        max_answer_len=boxed.form.max_answer_len,
    )


def run_evaluation(
    subject: "Subject", task: "BabilongTask", options: "EvaluationConfig", out: Path
) -> "list[Record]":
    """Evaluates with a bar, keeping every record in `out`."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from armt.evaluation.harness import EvaluationProgress, evaluate
    from armt.tasks.babilong.lengths import length_name

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=notices()) as bar:
        shown = bar.add_task("questions", total=len(options.lengths) * options.num_samples)

        def show(progress: EvaluationProgress) -> None:
            text = f"questions, {length_name(progress.length)} tokens"
            bar.update(shown, description=text, completed=progress.num_done)

        return evaluate(subject, task, options, record_path=out / RECORDS_NAME, on_progress=show)


def write_results(records: "Sequence[Record]", out: Path) -> None:
    """Writes tables and heat map and prints the table."""
    from armt.core.files import write_text
    from armt.evaluation.heatmap import draw_heatmap
    from armt.evaluation.tables import to_csv, to_markdown

    table = to_markdown(records)
    write_text(out / TABLE_NAME, table)
    write_text(out / CSV_NAME, to_csv(records))
    draw_heatmap(records, out / HEATMAP_NAME, title="accuracy, per cent")
    results().print(table, markup=False, end="")
    names = f"{TABLE_NAME}, {CSV_NAME}, {HEATMAP_NAME}, {RECORDS_NAME}"
    notices().print(f"Accuracy in per cent, with 95 % intervals. In '{out}': {names}.")
