"""Records made up for tests."""

from armt.evaluation.record import METRICS, Record


def record(index: int = 0, **changes) -> Record:
    """Returns a right answer at 1k with the memory on, but for `changes`."""
    fields = {
        "subject": "boxed",
        "category": "recurrent",
        "knows_facts": True,
        "subject_fingerprint": "ab12",
        "prompt_hash": "",
        "task": "qa1",
        "task_fingerprint": "cd34",
        "seed": 0,
        "length": 1000,
        "index": index,
        "arm": "on",
        "question": "Where is Mary? ",
        "answer": "garden",
        "truth": "garden",
        "scores": judged(True),
        "context_len": 1000,
        "num_facts": 4,
        "supporting_starts": (700,),
        "seconds": 0.5,
    }
    return Record(**(fields | changes))


def judged(is_right: bool) -> dict[str, bool]:
    """Returns the same judgement by all metrics."""
    return dict.fromkeys(METRICS, is_right)


def cell(num_correct: int, num_samples: int, **changes) -> list[Record]:
    """Returns the records of one cell, the right ones first."""
    return [
        record(index, scores=judged(index < num_correct), **changes) for index in range(num_samples)
    ]
