"""The texts of a run: a tokenizer and a store of tokenised background."""

from pathlib import Path

from tokenizers import Tokenizer

from armt.core.files import write_text
from armt.tasks.babilong.building import cached_store
from armt.tasks.babilong.corpus import Corpus, is_test_book
from armt.tasks.babilong.store import BackgroundStore, Split
from armt.tasks.encoder import TokenizerEncoder
from armt.tasks.tokenizer import train_tokenizer
from armt.training.config import TextConfig


def background_books(names: tuple[str, ...]) -> Corpus:
    """Returns the books of every background named, in order; one named twice counts twice.

    Raises:
        DataError: no background is named.
    """
    return Corpus(names)


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
