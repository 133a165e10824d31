"""`armt babilong`: makes the benchmark, asks anyone, scores, reports."""

import filecmp
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from armt.cli.console import notices, results, silence_transformers
from armt.core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from armt.evaluation.record import Record
    from armt.tasks.babilong.sample import BabilongTask

MANIFEST_NAME = "manifest.json"
LENGTHS = "0k,1k,2k,4k,8k,16k,32k,64k"

TasksOption = Annotated[
    str, typer.Option("--tasks", help="Tasks, such as qa1,qa4-qa6; or all for the twenty.")
]
LengthsOption = Annotated[str, typer.Option("--lengths", help="Lengths, such as 0k,4k,1M.")]
SamplesOption = Annotated[int, typer.Option("--num-samples", help="Samples of a task and length.")]
BackgroundOption = Annotated[
    list[str] | None,
    typer.Option(
        "--background",
        help="Folder of .txt files, file, data set, or a store; by default prose of Python's own.",
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Setting, such as samples.seed=1."),
]

babilong = typer.Typer(
    help="Make BABILong, ask any model, score and report.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@babilong.command()
def generate(
    out: Annotated[Path, typer.Option("--out", help="Folder of the samples.")],
    tasks: TasksOption = "qa1",
    lengths: LengthsOption = LENGTHS,
    num_samples: SamplesOption = 100,
    background: BackgroundOption = None,
    changes: SetOption = None,
    is_check: Annotated[
        bool, typer.Option("--check", help="Make the samples anew and compare.")
    ] = False,
) -> None:
    """Write samples as the published generator does, TASK/LENGTH.json, with a manifest."""
    from armt.cli.babilong_samples import load_encoder, make_tasks, store_folder
    from armt.cli.babilong_settings import changed_settings, parse_lengths, parse_tasks

    settings, names = changed_settings(changes or []), parse_tasks(tasks)
    named = settings.tokenizer or str(store_folder(background or []) or "")
    made = make_tasks(settings, names, background or [], load_encoder(named), out)
    for task in made:
        if is_check:
            _check(task, out / task.task)
        else:
            _generate(task, out / task.task, parse_lengths(lengths), num_samples)


@babilong.command()
def evaluate(
    subject: Annotated[
        str,
        typer.Argument(
            help="boxed, a model's folder or name, NAME@URL, oracle, majority; bm25+ or facts+ "
            "before one of them."
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", help="Folder of the results; resumed if it exists.")
    ],
    tasks: TasksOption = "qa1",
    lengths: LengthsOption = LENGTHS,
    num_samples: SamplesOption = 100,
    background: BackgroundOption = None,
    changes: SetOption = None,
    process: Annotated[
        str, typer.Option("--process", help="Which of several processes this is, from 0.")
    ] = "0/1",
) -> None:
    """Ask anyone; writes records, tables and a page, and goes on where it was stopped."""
    from armt.cli.babilong_results import ask
    from armt.cli.babilong_samples import make_tasks
    from armt.cli.babilong_settings import (
        changed_settings,
        parse_lengths,
        parse_process,
        parse_tasks,
    )
    from armt.cli.babilong_subjects import open_subject
    from armt.evaluation.harness import EvaluationConfig

    silence_transformers()
    settings, names = changed_settings(changes or []), parse_tasks(tasks)
    sizes, shard = parse_lengths(lengths), parse_process(process)
    options = EvaluationConfig(lengths=sizes, num_samples=num_samples, retry_failures=True)
    opened = open_subject(subject, settings, names, background or [])
    made = make_tasks(settings, names, background or [], opened.encoder, out)
    asked = (ask(opened.subject, task, options, out, shard) for task in made)
    _tell([record for records in asked for record in records], out)


@babilong.command()
def score(
    results_folder: Annotated[
        Path, typer.Argument(help="Folder of the reference's result files, or of records.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for the tables as files.")
    ] = None,
) -> None:
    """Score predictions by both metrics and collate them as the reference does."""
    from armt.cli.babilong_results import (
        find_records,
        load_results,
        score_tree,
        show_collation,
        write_tables,
    )
    from armt.evaluation.reports.text_tables import to_markdown

    if not find_records(results_folder):
        show_collation(score_tree(results_folder), out)
        return
    records = load_results([results_folder])
    results().print(to_markdown(records), end="")
    if out is not None:
        _ = write_tables(records, out)


@babilong.command()
def report(
    places: Annotated[
        list[Path], typer.Argument(help="Folders or files of records, or of the reference.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the report.")],
    title: Annotated[str, typer.Option("--title", help="Title.")] = "BABILong evaluation",
) -> None:
    """Write a page, tables, heat maps, the leaderboard, and files that the reference reads."""
    from armt.cli.babilong_results import REPORT_NAME, load_results, write_everything

    records = load_results(places)
    write_everything(records, out, title)
    results().print(f"{len(records):,} answers. Open '{out / REPORT_NAME}'.")


@babilong.command()
def store(
    out: Annotated[Path, typer.Option("--out", help="Folder of the store; verified if it exists.")],
    background: BackgroundOption = None,
    changes: SetOption = None,
) -> None:
    """Split and tokenise texts once, for all samples to come; or verify what was made."""
    from armt.cli.babilong_samples import save_store, store_folder
    from armt.cli.babilong_settings import changed_settings
    from armt.tasks.babilong.store import BackgroundStore

    is_there = store_folder([str(out)]) is not None
    if is_there and (background or changes):
        raise DataError(
            f"'{out}' holds a store already. Verify it without other options, or name a new folder."
        )
    settings = changed_settings(changes or [])
    made = BackgroundStore.load(out) if is_there else save_store(settings, background or [], out)
    results().print(
        f"{made.num_tokens:,} tokens, {len(made.sentence_offsets) - 1:,} sentences, "
        f"{len(made.book_names):,} books, splitter {made.splitter}, digest {made.digest[:16]}. "
        f"{'Every byte is sound.' if is_there else f'In {str(out)!r}.'}",
    )


@babilong.command("lm-eval")
def lm_eval(
    model: Annotated[str, typer.Argument(help="boxed, or the folder of a recurrent model.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the results.")],
    tasks: Annotated[
        str, typer.Option("--tasks", help="Tasks of BABILong such as qa1, or of the harness.")
    ] = "qa1",
    lengths: LengthsOption = "0k,1k,4k",
    num_samples: SamplesOption = 100,
    background: BackgroundOption = None,
    changes: SetOption = None,
) -> None:
    """Run the lm-evaluation-harness on a recurrent model; contexts go through its memory."""
    from armt.cli.babilong_harness import run_harness
    from armt.cli.babilong_settings import changed_settings, parse_lengths

    silence_transformers()
    wanted = [part.strip() for part in tasks.split(",") if part.strip()]
    settings = changed_settings(changes or [])
    sizes = (parse_lengths(lengths), num_samples)
    scores = run_harness(model, settings, wanted, background or [], sizes, out)
    results().print(scores, end="")


def _generate(
    task: "BabilongTask", folder: Path, lengths: "Sequence[int]", num_samples: int
) -> None:
    """Writes the samples of a task, and their manifest last."""
    from armt.cli.babilong_samples import count_bar
    from armt.tasks.babilong.lengths import length_name
    from armt.tasks.babilong.manifest import make_manifest, write_manifest
    from armt.tasks.babilong.text_files import write_text_file

    with count_bar() as show:
        for number, length in enumerate(lengths):
            show(f"{task.task}, {length_name(length)}", number, len(lengths))
            indices = task.indices(length, num_samples)
            samples = (task.sample(length, index) for index in indices)
            _ = write_text_file(folder / f"{length_name(length)}.json", samples)
    manifest = make_manifest(task, lengths, num_samples)
    write_manifest(folder / MANIFEST_NAME, manifest)
    results().print(f"{task.task}: {len(manifest.samples):,} samples in '{folder}'.")


def _check(task: "BabilongTask", folder: Path) -> None:
    """Makes every sample of a folder anew; compares tokens with the manifest, texts with the files.

    Raises:
        DataError: something differs; the first difference is named.
    """
    from armt.tasks.babilong.lengths import length_name
    from armt.tasks.babilong.manifest import check_manifest, read_manifest
    from armt.tasks.babilong.text_files import write_text_file

    manifest = read_manifest(folder / MANIFEST_NAME)
    check_manifest(manifest, task)
    for length in dict.fromkeys(entry.length for entry in manifest.samples):
        indices = [entry.index for entry in manifest.samples if entry.length == length]
        path = folder / f"{length_name(length)}.json"
        anew = path.with_suffix(".anew")
        _ = write_text_file(anew, (task.sample(length, index) for index in indices))
        is_same = path.is_file() and filecmp.cmp(path, anew, shallow=False)
        anew.unlink()
        if not is_same:
            raise DataError(f"'{path}' is not what the samples are as text. Generate it anew.")
    results().print(f"{task.task}: {len(manifest.samples):,} samples are the same.")


def _tell(records: "Sequence[Record]", out: Path) -> None:
    from armt.cli.babilong_results import (
        REPORT_NAME,
        load_results,
        tell_failures,
        write_tables,
    )
    from armt.evaluation.reports.html_page import write_report
    from armt.evaluation.reports.text_tables import to_markdown

    results().print(to_markdown(records), end="")
    every = load_results([out])
    _ = write_tables(every, out)
    write_report(every, out / REPORT_NAME)
    told = f"Accuracy in per cent, with 95 % intervals.{tell_failures(records)}"
    notices().print(f"{told} More in '{out / REPORT_NAME}'.")
