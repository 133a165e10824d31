"""A small tokenizer and a small library of background text, made once."""

import pytest

from armt.tasks.babilong import BackgroundStore, build_store, embedded_books
from armt.tasks.babilong.corpus import Book
from armt.tasks.encoder import TokenizerEncoder
from armt.tasks.tokenizer import train_tokenizer


@pytest.fixture(scope="session")
def books() -> list[Book]:
    return list(embedded_books())


@pytest.fixture(scope="session")
def encoder(books: list[Book]) -> TokenizerEncoder:
    return TokenizerEncoder(train_tokenizer((book.text for book in books[::3]), 1024))


@pytest.fixture(scope="session")
def store(books: list[Book], encoder: TokenizerEncoder) -> BackgroundStore:
    return build_store(books, encoder)
