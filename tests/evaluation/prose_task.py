"""A small store of prose in the tokens of any encoder."""

from armt.tasks.babilong.building import build_store
from armt.tasks.babilong.corpus import Book
from armt.tasks.babilong.store import BackgroundStore
from armt.tasks.contract import TextEncoder
from tiny_boxed import PROSE


def prose_store(encoder: TextEncoder) -> BackgroundStore:
    """Returns a store of one little book, which longer samples repeat."""
    return build_store([Book("prose", PROSE * 3)], encoder)
