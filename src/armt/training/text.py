"""The texts of a run: a tokenizer and a store of tokenised background."""

from collections.abc import Iterator
from pathlib import Path

from tokenizers import Tokenizer

from armt.core.errors import DataError
from armt.core.files import write_text
from armt.tasks.babilong.background import BackgroundStore, Split, cached_store
from armt.tasks.babilong.corpus import (
    Book,
    dataset_books,
    embedded_books,
    folder_books,
    is_test_book,
)
from armt.tasks.contract import TokenizerEncoder
from armt.tasks.tokenizer import train_tokenizer
from armt.training.config import TextConfig

PROSE = "prose"
"""Name of the background that comes with Python."""


def background_books(names: tuple[str, ...]) -> Iterator[Book]:
    """Yields the books of every background named, in order; one named twice counts twice.

    Raises:
        DataError: no background is named, or one holds no text.
    """
    if not names:
        raise DataError(
            "No background is named. Give folders of .txt files, data sets, or 'prose'."
        )
    for name in names:
        if name == PROSE:
            books = embedded_books()
        elif Path(name).is_dir():
            books = folder_books(name)
        else:
            books = dataset_books(name)
        yield from books


def load_encoder(folder: Path, config: TextConfig) -> TokenizerEncoder:
    """Returns the tokenizer of a run's folder; trains and keeps it if there is none yet.

    It is trained on the books kept for training only.
    """
    path = folder / "tokenizer.json"
    if not path.exists():
        books = background_books(tuple(dict.fromkeys(config.background)))
        texts = (book.text for book in books if not is_test_book(book.name))
        write_text(path, train_tokenizer(texts, config.vocab_size).to_str())
    return TokenizerEncoder(Tokenizer.from_file(str(path)))


def load_store(
    folder: Path, config: TextConfig, encoder: TokenizerEncoder, split: Split
) -> BackgroundStore:
    """Returns the tokenised background of a run; it is made once and kept in the run's folder."""
    made = folder / "background"
    if (made / "store.json").exists():
        return BackgroundStore.load(made).only(split)
    store = cached_store(background_books(config.background), encoder, folder / "stores")
    return store.only(split)
