"""`armt inspect`: what a memory does while a text is read."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from armt.cli.console import notices, results, silence_transformers
from armt.cli.read import ModelOption, SourcesArgument

if TYPE_CHECKING:
    from collections.abc import Sequence

    from armt.evaluation.inspection import Finding

FINDINGS_NAME, PICTURE_NAME = "findings.jsonl", "findings.png"


def inspect(
    sources: SourcesArgument,
    out: Annotated[Path, typer.Option("--out", help="Folder of findings and pictures.")],
    model: ModelOption = None,
) -> None:
    """Show what a memory does with a text: its share of the output, gates, states, by layer."""
    import torch

    from armt.evaluation.inspection import inspect_text
    from armt.serving.boxed_model import load_boxed
    from armt.serving.folders import boxed_folder
    from armt.serving.reader import TextReader, find_sources

    silence_transformers()
    reader = TextReader(find_sources(sources, sys.stdin.buffer))
    boxed = load_boxed(model or boxed_folder())
    ids = [token for piece in reader.pieces() for token in boxed.encode_text(piece)]
    found = inspect_text(boxed.model, torch.tensor([ids], dtype=torch.long))
    _write(found.findings, out)
    _show(found.findings)
    notices().print(f"Means over segments. In '{out}': {FINDINGS_NAME}, {PICTURE_NAME}.")


def _write(findings: "Sequence[Finding]", out: Path) -> None:
    from armt.core.files import write_text
    from armt.evaluation.reports.inspection import draw_inspection

    lines = "".join(f"{json.dumps(each._asdict())}\n" for each in findings)
    write_text(out / FINDINGS_NAME, lines)
    draw_inspection(findings, out / PICTURE_NAME)


def _show(findings: "Sequence[Finding]") -> None:
    from rich.table import Table

    from armt.evaluation.reports.inspection import figure_names, layer_rows

    table = Table(box=None, pad_edge=False)
    for name in ("layer", *figure_names(findings)):
        table.add_column(name, justify="right", no_wrap=True)
    for row in layer_rows(findings):
        table.add_row(*row)
    results().print(table)
