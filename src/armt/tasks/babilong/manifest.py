"""Manifests: a digest for each sample, so that anyone can make the same set and prove it."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from armt.core.config import Config
from armt.core.errors import ConfigError, DataError
from armt.core.files import write_text
from armt.tasks.babilong.lengths import length_name, parse_length
from armt.tasks.babilong.sample import BabilongTask
from armt.tasks.babilong.task_config import GENERATOR_VERSION, BabilongTaskConfig
from armt.tasks.contract import Sample

FORMAT = "armt-babilong-manifest-1"
"""Name of the file's form."""

_DIGEST_SIZE = 16


@dataclass(frozen=True, kw_only=True)
class ManifestEntry(Config):
    """One sample of a manifest."""

    length: int
    """The length asked for."""

    index: int
    """Its number."""

    context_len: int
    """Tokens of its context."""

    digest: str
    """See `sample_digest`."""


@dataclass(frozen=True, kw_only=True)
class Manifest(Config):
    """All samples of one task, by their digests."""

    format: str = FORMAT
    """Name of the file's form."""

    version: int = GENERATOR_VERSION
    """Version of the generator."""

    config: BabilongTaskConfig
    """Options of the task."""

    fingerprint: str
    """`BabilongTask.fingerprint`: config, texts, tokenizer and questions."""

    store: str
    """Digest of the background."""

    tokenizer: str
    """Digest of the tokenizer that counts."""

    samples: tuple[ManifestEntry, ...]
    """The samples, length after length."""

    def __post_init__(self) -> None:
        """Checks the form."""
        if self.format != FORMAT:
            raise ConfigError(f"The form must be '{FORMAT}'. Got '{self.format}'.")


def sample_digest(sample: Sample) -> str:
    """Returns a hash (BLAKE2b, 32 digits) of a sample's context, question and answer.

    The context counts as its token ids, four bytes each, the lowest first.
    """
    digest = hashlib.blake2b(digest_size=_DIGEST_SIZE)
    for piece in sample.context():
        digest.update(piece.astype("<u4").tobytes())
    for text in (sample.question, sample.answer):
        digest.update(b"\0" + text.encode())
    return digest.hexdigest()


def make_manifest(
    task: BabilongTask,
    lengths: Sequence[str | int],
    num_samples: int,
    *,
    on_sample: Callable[[int, int], None] | None = None,
) -> Manifest:
    """Makes the first `num_samples` samples at each length, those that exist, and hashes them.

    Args:
        task: makes the samples.
        lengths: lengths as names or numbers.
        num_samples: how many at each length; see `BabilongTask.indices`.
        on_sample: told the length and index of each sample made.

    Raises:
        ConfigError: a length cannot be read.
        DataError: a sample cannot be made.
    """
    return Manifest(
        config=task.config,
        fingerprint=task.fingerprint,
        store=task.store.digest,
        tokenizer=task.encoder.digest,
        samples=tuple(_entries(task, lengths, num_samples, on_sample)),
    )


def write_manifest(path: str | os.PathLike[str], manifest: Manifest) -> None:
    """Writes a manifest as JSON, whole or not at all.

    Raises:
        StorageError: the disk is full or refuses the file.
    """
    write_text(path, json.dumps(manifest.to_dict(), indent=1) + "\n")


def read_manifest(path: str | os.PathLike[str]) -> Manifest:
    """Reads a manifest.

    Raises:
        DataError: the file is missing, damaged or no manifest.
    """
    try:
        return Manifest.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))
    except (OSError, ValueError, AttributeError, TypeError, ConfigError) as error:
        raise DataError(
            f"'{path}' is no readable manifest ({error}). Give one that `write_manifest` wrote."
        ) from error


def check_manifest(
    manifest: Manifest,
    task: BabilongTask,
    *,
    on_sample: Callable[[int, int], None] | None = None,
) -> None:
    """Makes every sample of `manifest` anew and compares; returns if all are the same.

    Raises:
        DataError: the task is another one, or a sample differs; the first one is named.
    """
    _check_origin(manifest, task)
    for entry in manifest.samples:
        found = sample_digest(task.sample(entry.length, entry.index))
        if found != entry.digest:
            raise DataError(
                f"Sample {entry.index} of {task.task} at {length_name(entry.length)} is not the "
                f"recorded one: {found} instead of {entry.digest}. The generator or a library "
                "has changed; make the set and its manifest anew."
            )
        if on_sample is not None:
            on_sample(entry.length, entry.index)


def _entries(
    task: BabilongTask,
    lengths: Sequence[str | int],
    num_samples: int,
    on_sample: Callable[[int, int], None] | None,
) -> Iterator[ManifestEntry]:
    for length in lengths:
        for index in task.indices(length, num_samples):
            sample = task.sample(length, index)
            yield ManifestEntry(
                length=parse_length(length),
                index=index,
                context_len=sample.context_len,
                digest=sample_digest(sample),
            )
            if on_sample is not None:
                on_sample(sample.length, index)


def _check_origin(manifest: Manifest, task: BabilongTask) -> None:
    pairs = {
        "version of the generator": (manifest.version, GENERATOR_VERSION),
        "tokenizer": (manifest.tokenizer, task.encoder.digest),
        "background": (manifest.store, task.store.digest),
        "config": (manifest.config, task.config),
        "books or questions": (manifest.fingerprint, task.fingerprint),
    }
    for name, (recorded, present) in pairs.items():
        if recorded != present:
            raise DataError(
                f"The manifest was made with another {name}: {recorded} instead of {present}. "
                "Give what it was made with."
            )
