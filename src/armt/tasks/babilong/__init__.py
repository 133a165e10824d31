"""BABILong: bAbI facts scattered over natural text of any length."""

from armt.tasks.babilong.building import build_store, cached_store
from armt.tasks.babilong.corpus import (
    Book,
    Corpus,
    dataset_books,
    embedded_books,
    file_books,
    folder_books,
)
from armt.tasks.babilong.lengths import LENGTH_NAMES, length_name, parse_length
from armt.tasks.babilong.mixture_config import (
    LengthStage,
    MixtureStreamConfig,
    TaskShare,
    segment_lengths,
)
from armt.tasks.babilong.mixture_stream import MixtureStream
from armt.tasks.babilong.placement import Placement, parse_placement
from armt.tasks.babilong.sample import BabilongTask
from armt.tasks.babilong.store import BackgroundStore
from armt.tasks.babilong.stream import DenseFactStream, FactStream
from armt.tasks.babilong.stream_config import FactStreamConfig
from armt.tasks.babilong.task_config import BabilongTaskConfig
from armt.tasks.babilong.walks import BackgroundWalk, ReferenceWalk

__all__ = [
    "LENGTH_NAMES",
    "BabilongTask",
    "BabilongTaskConfig",
    "BackgroundStore",
    "BackgroundWalk",
    "Book",
    "Corpus",
    "DenseFactStream",
    "FactStream",
    "FactStreamConfig",
    "LengthStage",
    "MixtureStream",
    "MixtureStreamConfig",
    "Placement",
    "ReferenceWalk",
    "TaskShare",
    "build_store",
    "cached_store",
    "dataset_books",
    "embedded_books",
    "file_books",
    "folder_books",
    "length_name",
    "parse_length",
    "parse_placement",
    "segment_lengths",
]
