"""Digests of a few samples of each task, made from nothing that differs between machines.

The text comes from dice, the tokens are bytes, the splitter is our own: neither Python's version
nor that of any library has a part in them. As a script it prints the tasks that it is given:

    PYTHONPATH=src:tests python -m tasks.babilong.made_digests qa1 qa20
"""

import hashlib
import sys
from itertools import islice

from armt.tasks.babi.dice import Dice
from armt.tasks.babilong import (
    BabilongTaskConfig,
    Book,
    LengthStage,
    MixtureStreamConfig,
    TaskShare,
    build_store,
)
from armt.tasks.babilong.manifest import make_manifest

LENGTHS = ("0k", "4k", "16k")
WORDS = (
    "a", "and", "before", "blue", "came", "evening", "her", "house", "in", "it", "letter", "long",
    "must", "never", "of", "old", "river", "said", "seven", "she", "slowly", "that", "the", "they",
    "to", "under", "was", "went", "winter", "would",
)  # fmt: skip


class ByteEncoder:
    """Bytes are the tokens."""

    vocab_size = 258
    digest = "bytes"
    end_id = 256
    gen_id = 257

    def encode(self, text):
        return list(text.encode())

    def encode_batch(self, texts):
        return [self.encode(text) for text in texts]

    def decode(self, ids):
        return bytes(token for token in ids if token < self.end_id).decode(errors="replace")


def made_store(num_workers=1):
    """A library of eight short books."""
    books = [Book(f"book-{number}", _text(Dice("digests", number))) for number in range(8)]
    return build_store(books, ByteEncoder(), num_workers=num_workers)


def digest_of(task, store, num_samples=2):
    """Returns the digests of a task's first samples at each length, as one."""
    config = BabilongTaskConfig(task=task, seed=11)
    manifest = make_manifest(config.build(store, ByteEncoder()), LENGTHS, num_samples)
    assert len(manifest.samples) == len(LENGTHS) * num_samples
    return _short(b"".join(bytes.fromhex(entry.digest) for entry in manifest.samples))


def stream_digest(store):
    """Returns the digest of a few training batches that mix all forms of text."""
    config = MixtureStreamConfig(
        tasks=tuple(TaskShare(task=f"qa{number}") for number in range(1, 21)),
        stages=(LengthStage(lengths=(3000, 5000)),),
        batch_size=20,
    )
    batches = islice(config.build(store, ByteEncoder(), seed=11).batches(), 2)
    tensors = [tensor for batch in batches for tensor in (batch.input_ids, batch.labels)]
    return _short(b"".join(tensor.numpy().astype("<i8").tobytes() for tensor in tensors))


def _text(dice):
    sentences = []
    for _ in range(300):
        words = [dice.pick(WORDS) for _ in range(4 + dice.below(20))]
        sentences.append(" ".join(words).capitalize() + dice.pick((". ", "! ", "? ", ".\n\n")))
    return "".join(sentences)


def _short(data):
    return hashlib.sha256(data).hexdigest()[:16]


if __name__ == "__main__":
    made = made_store()
    for name in sys.argv[1:]:
        print(name, digest_of(name, made))  # noqa: T201 - a script
