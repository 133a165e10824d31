"""`armt read`: reads a text of any length into a state file."""

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from armt.cli.console import ReadingProgress, notices, results, silence_transformers, spell_nbytes

if TYPE_CHECKING:
    from armt.recurrence.state import RecurrentState
    from armt.serving.boxed_model import BoxedModel
    from armt.serving.reader import TextReader

ModelOption = Annotated[
    Path | None, typer.Option("--model", help="Folder of a model; by default the boxed one.")
]

SourcesArgument = Annotated[
    list[str], typer.Argument(help="Files, folders (their files by name), or - for standard input.")
]


def read(
    sources: SourcesArgument,
    out: Annotated[Path, typer.Option("--out", help="State file to write.")],
    model: ModelOption = None,
    start: Annotated[Path | None, typer.Option("--from", help="State file to go on from.")] = None,
) -> None:
    """Read a text of any length into a state file."""
    from armt.core.errors import StateError
    from armt.recurrence.state_file import Source, load_state, read_header, save_state
    from armt.serving.boxed_model import load_boxed
    from armt.serving.folders import boxed_folder
    from armt.serving.reader import TextReader, find_sources

    silence_transformers()
    reader = TextReader(find_sources(sources, sys.stdin.buffer))
    boxed = load_boxed(model or boxed_folder())
    tokenizer = boxed.encoder.tokenizer
    earlier: tuple[Source, ...] = ()
    state = boxed.model.init_state(1)
    if start is not None:
        state = load_state(start, boxed.model, tokenizer=tokenizer)
        earlier = read_header(start).sources
    _check_place(out, state.nbytes)

    def save(path: Path, state: "RecurrentState") -> None:
        read_now = [Source(name, nbytes) for name, nbytes in reader.nbytes.items()]
        sources_all = [*earlier, *read_now]
        save_state(path, state, boxed.model, tokenizer=tokenizer, sources=sources_all)

    try:
        reading = read_pieces(boxed, reader, state)
    except StateError as error:
        if error.state is not None:
            kept = out.with_name(f"{out.name}.last-good")
            save(kept, error.state)
            _tell_kept(kept, int(error.state.num_tokens[0]))
        raise
    save(out, reading.state)
    _report(reader, reading.num_tokens, out)


class Reading(NamedTuple):
    """What a reading gave."""

    state: "RecurrentState"
    num_tokens: int
    growth_nbytes: int
    """How much the resident memory grew between the first segment and the last."""


def read_pieces(
    boxed: "BoxedModel",
    reader: "TextReader",
    state: "RecurrentState",
    *,
    num_tokens: int | None = None,
) -> Reading:
    """Reads all texts of `reader` from `state` on and shows how it goes, out of `num_tokens`."""
    console = notices()
    num_before = int(state.num_tokens[0])
    with ReadingProgress(console, num_tokens=num_tokens) as progress:
        ids = (found for piece in reader.pieces() if (found := boxed.encode_text(piece)))
        state = boxed.read(
            ids,
            state,
            on_progress=lambda now: progress.show(now.num_tokens, now.nbytes),
        )
        num_read = int(state.num_tokens[0]) - num_before
        reading = Reading(state, num_read, progress.growth_nbytes)
        line = progress.describe(num_read, state.nbytes)
    console.print(line)
    return reading


def _check_place(out: Path, nbytes: int) -> None:
    """Refuses where no state can be written, before hours of reading are lost to it.

    Raises:
        StorageError: `out` is a folder, its folder cannot be written, or the disk is full.
    """
    from armt.core.errors import StorageError
    from armt.recurrence.tensor_file import check_free_space

    if out.is_dir():
        raise StorageError(f"'{out}' is a folder. Name a file in it, such as '{out / 'a.state'}'.")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out.parent):
            pass
    except OSError as error:
        raise StorageError(
            f"Cannot write '{out}': {error.strerror or error}. Nothing was read yet. Check the "
            "path and its permissions."
        ) from error
    check_free_space(out, nbytes)


def _tell_kept(path: Path, num_tokens: int) -> None:
    notices().print(f"Notice: the last good memory, of {num_tokens:,} tokens, is '{path}'.")


def _report(reader: "TextReader", num_tokens: int, out: Path) -> None:
    console = notices()
    if reader.num_replaced:
        console.print(f"Notice: {reader.num_replaced:,} bytes were not UTF-8 and were replaced.")
    if not num_tokens:
        console.print("Notice: the text is empty. The memory is as it was.")
    size = spell_nbytes(out.stat().st_size)
    results().print(f"Read {num_tokens:,} tokens into '{out}' ({size}).")
