"""BABILong: bAbI facts scattered over natural text of any length."""

from armt.tasks.babilong.background import (
    BackgroundStore,
    BackgroundWalk,
    build_store,
    cached_store,
)
from armt.tasks.babilong.corpus import Book, dataset_books, embedded_books, folder_books
from armt.tasks.babilong.lengths import LENGTH_NAMES, length_name, parse_length
from armt.tasks.babilong.sample import BabilongTask
from armt.tasks.babilong.stream import DenseFactStream, FactStream, FactStreamConfig

__all__ = [
    "LENGTH_NAMES",
    "BabilongTask",
    "BackgroundStore",
    "BackgroundWalk",
    "Book",
    "DenseFactStream",
    "FactStream",
    "FactStreamConfig",
    "build_store",
    "cached_store",
    "dataset_books",
    "embedded_books",
    "folder_books",
    "length_name",
    "parse_length",
]
