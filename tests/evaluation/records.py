"""Records made up for tests."""

from armt.evaluation.record import Record


def record(index: int = 0, **changes) -> Record:
    """Returns a right answer at 1k with the memory on, but for `changes`."""
    fields = {
        "task": "qa1",
        "length": 1000,
        "index": index,
        "arm": "on",
        "question": "Where is Mary? ",
        "answer": "garden",
        "truth": "garden",
        "is_correct": True,
        "model": "ab12",
        "seed": 0,
        "seconds": 0.5,
    }
    return Record(**(fields | changes))


def cell(num_correct: int, num_samples: int, **changes) -> list[Record]:
    """Returns the records of one cell, the right ones first."""
    return [
        record(index, is_correct=index < num_correct, **changes) for index in range(num_samples)
    ]
