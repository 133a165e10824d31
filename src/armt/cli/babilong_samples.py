"""The samples of a command of `armt babilong`: tokenizer, background, tasks."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from armt.cli.babilong_settings import BabilongSettings
from armt.cli.console import RareLines, notices, spell_nbytes
from armt.core.errors import DataError
from armt.core.files import write_text
from armt.serving.boxed_model import TOKENIZER_NAME
from armt.serving.folders import boxed_folder
from armt.tasks.babi.archive import official_questions
from armt.tasks.babi.format import Question
from armt.tasks.babilong.array_folder import DESCRIPTION
from armt.tasks.babilong.building import build_store, cached_store
from armt.tasks.babilong.corpus import PROSE, Corpus
from armt.tasks.babilong.sample import BabilongTask
from armt.tasks.babilong.store import BackgroundStore
from armt.tasks.contract import TextEncoder
from armt.tasks.encoder import TokenizerEncoder

if TYPE_CHECKING:  # importing rich draws random numbers, which an import should not
    from rich.progress import Progress, ProgressColumn

CACHE_NAME = "background"
"""Folder within that of the results where tokenised background is kept."""

_SPLITTER = "punkt"
_GPT2_FILES = ("encoder.json", "vocab.bpe")
_GPT2_END = "<|endoftext|>"


def load_encoder(name: str) -> TokenizerEncoder:
    """Returns the tokenizer that tokens are counted by; see `BabilongSettings.tokenizer`.

    Raises:
        DataError: there is none of this name, or it cannot be read.
    """
    path = Path(name) if name else boxed_folder()
    file = path / TOKENIZER_NAME if path.is_dir() else path
    try:
        if all((path / part).is_file() for part in _GPT2_FILES):
            return _gpt2_encoder(path)
        if file.is_file():
            return TokenizerEncoder(Tokenizer.from_file(str(file)))
        from transformers import AutoTokenizer

        return TokenizerEncoder(AutoTokenizer.from_pretrained(name))
    except DataError:
        raise
    except Exception as error:
        raise DataError(
            f"No tokenizer can be read from '{name}' ({' '.join(str(error).split())[:200]}). Give "
            "a tokenizer.json or a folder with one."
        ) from error


def make_tasks(
    settings: BabilongSettings,
    tasks: Sequence[str],
    background: Sequence[str],
    encoder: TextEncoder,
    folder: Path,
) -> list[BabilongTask]:
    """Returns the tasks over one background, whose tokens are kept below `folder`.

    Raises:
        DataError: the background or the official files cannot be used.
    """
    store = load_store(settings, background, encoder, folder).only(settings.books)
    return [
        replace(settings.samples, task=task).build(
            store, encoder, questions=given_questions(settings, task)
        )
        for task in tasks
    ]


def given_questions(settings: BabilongSettings, task: str) -> list[Question] | None:
    """Returns the questions of the official file; None if stories are generated."""
    if not settings.babi:
        return None
    split = settings.samples.split
    return official_questions(settings.babi, task, split, variant=settings.variant or None)


def load_store(
    settings: BabilongSettings, background: Sequence[str], encoder: TextEncoder, folder: Path
) -> BackgroundStore:
    """Returns the background: a store that is named, or one made of the texts that are named.

    Raises:
        DataError: a text cannot be read, or the store counts by another tokenizer or
            was cut by another splitter.
    """
    made = store_folder(background)
    if made is None:
        with byte_bar("tokenising the background") as show:
            return cached_store(
                Corpus(list(background) or [PROSE]),
                encoder,
                folder / CACHE_NAME,
                splitter=settings.splitter or _SPLITTER,
                on_progress=show,
            )
    if load_encoder(str(made)).digest != encoder.digest:
        raise DataError(
            f"The store '{made}' was made with another tokenizer than the samples are counted by. "
            f"Say '--set tokenizer={made}', or make a store with the tokenizer meant."
        )
    store = BackgroundStore.load(made)
    found = store.splitter.partition(" ")[0]
    if settings.splitter not in ("", found):
        raise DataError(
            f"The sentences of the store '{made}' were found by '{found}', and "
            f"'{settings.splitter}' is asked for. Leave `splitter` out, or make a store with the "
            "one meant."
        )
    return store


def store_folder(background: Sequence[str]) -> Path | None:
    """Returns the folder of a ready store, if it is that which is named as the background."""
    if len(background) == 1 and (Path(background[0]) / DESCRIPTION).is_file():
        return Path(background[0])
    return None


def save_store(
    settings: BabilongSettings, background: Sequence[str], folder: Path
) -> BackgroundStore:
    """Makes a store of texts in `folder`, with the tokenizer beside it, and opens it again.

    Raises:
        DataError: a text cannot be read.
        StorageError: the disk is full, or the folder holds something else.
    """
    encoder = load_encoder(settings.tokenizer)
    with byte_bar("tokenising the background") as show:
        made = build_store(
            Corpus(list(background) or [PROSE]),
            encoder,
            splitter=settings.splitter or _SPLITTER,
            on_progress=show,
        )
    made.save(folder)
    write_text(folder / TOKENIZER_NAME, encoder.tokenizer.to_str())
    return BackgroundStore.load(folder)


@contextmanager
def byte_bar(text: str) -> Generator[Callable[[int, int], None]]:
    """Shows a bar; yields what is told the bytes done and those in all (0 if not known).

    Where there is no terminal, a line now and then tells the same.
    """
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn(text), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    lines = RareLines(notices())
    with _progress(*columns) as bar:
        shown = bar.add_task(text, total=None)

        def show(done: int, total: int) -> None:
            bar.update(shown, completed=done, total=total or None)
            of = f" of {spell_nbytes(total)}" if total else ""
            lines.show(f"{text}: {spell_nbytes(done)}{of}")

        yield show


@contextmanager
def count_bar() -> Generator[Callable[[str, int, int], None]]:
    """Shows a bar; yields what is told a text, how many are done and how many there are.

    Where there is no terminal, a line now and then tells the same.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn

    told = TextColumn("{task.description}", markup=False)  # may hold the name of a model
    columns = (told, BarColumn(), MofNCompleteColumn())
    lines = RareLines(notices())
    with _progress(*columns) as bar:
        shown = bar.add_task("", total=None)

        def show(text: str, done: int, total: int) -> None:
            bar.update(shown, description=text, completed=done, total=total)
            lines.show(f"{text}: {done:,} of {total:,}")

        yield show


def _progress(*columns: "ProgressColumn") -> "Progress":
    """A bar that leaves no trace, and is not there where it would fill a log."""
    from rich.progress import Progress

    console = notices()
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _gpt2_encoder(folder: Path) -> TokenizerEncoder:
    """GPT-2's tokenizer from the two files that it was published in."""
    vocabulary, merges = (str(folder / name) for name in _GPT2_FILES)
    tokenizer = Tokenizer(models.BPE.from_file(vocabulary, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return TokenizerEncoder(tokenizer, end_id=tokenizer.token_to_id(_GPT2_END))
