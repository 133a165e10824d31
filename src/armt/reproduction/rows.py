"""The rows, asked for by their names."""

from armt.reproduction.row import ROWS, Row
from armt.reproduction.work import Compare, MeasureSpeed, TrainAndRead, TrainAndRecall

_ACCURACY, _EXACT_MATCH = "babilong.accuracy", "retrieval.exact_match"
_TRAINING = "train.seconds"
_LENGTHS = ("128k:128", "1M:64", "10M:64")


@ROWS.register("babilong-qa1", paper="arXiv:2407.04841")
def babilong_qa1() -> Row:
    """QA1 from 64k to 10M tokens, memory on and off, by the recipe as it is now."""
    return _babilong(
        "qa1",
        ("64k:256", "128k:256", "1M:64", "10M:64"),
        "h100-2026-11-27-qa1-halves-seed-{seed}",  # trained
        "h100-2026-11-28-qa1-overlap-seed-{seed}",  # read with an overlap, as recipes do now
    )


@ROWS.register("babilong-qa2", paper="arXiv:2407.04841")
def babilong_qa2() -> Row:
    """QA2 from 128k to 10M tokens, memory on and off, by the recipe as it is now."""
    records = (f"h200-2026-11-28-qa2-{run}-seed-{{seed}}" for run in ("border", "border-10m"))
    return _babilong("qa2", _LENGTHS, *records)


@ROWS.register("babilong-qa3", paper="arXiv:2407.04841")
def babilong_qa3() -> Row:
    """QA3 from 128k to 10M tokens, memory on and off; recorded with fewer steps."""
    records = (f"h200-2026-11-{day}-qa3-border-seed-{{seed}}" for day in (28, 29))
    return _babilong("qa3", _LENGTHS, *records)


@ROWS.register("babilong-qa4", paper="arXiv:2407.04841")
def babilong_qa4() -> Row:
    """QA4 from 128k to 10M tokens, memory on and off; recorded with fewer steps."""
    return _babilong("qa4", _LENGTHS, "h200-2026-11-29-qa4-latest-map-seed-{seed}")


@ROWS.register("babilong-qa5", paper="arXiv:2407.04841")
def babilong_qa5() -> Row:
    """QA5 from 128k to 10M tokens, memory on and off, by the recipe as it is now."""
    return _babilong("qa5", _LENGTHS, "h200-2026-11-28-qa5-hold-12k-seed-{seed}")


@ROWS.register("retrieval-remember", paper="arXiv:2407.04841")
def retrieval_remember() -> Row:
    """Exact match after 20, 50 and 100 different keys, trained on 50."""
    return _retrieval("armt_retrieval", "remember", (20, 50, 100))


@ROWS.register("retrieval-rewrite", paper="arXiv:2407.04841")
def retrieval_rewrite() -> Row:
    """Exact match after 50, 500 and 5,000 updates of sixteen keys, trained on 50."""
    return _retrieval("armt_retrieval_rewrite", "rewrite", (50, 500, 5000))


@ROWS.register("bench-read")
def bench_read() -> Row:
    """Tokens a second that one text is read at, by model and schedule."""
    changes = ("num_repeats=3", "sample_s=1.5")
    return Row(
        work=MeasureSpeed(("read",), ("gpt2-small", "small"), changes),
        tiny=MeasureSpeed(("read",), ("tiny",), ("num_tokens=1000", "num_repeats=1")),
        records=("h100-2026-11-27-bench",),
        figures=("read.tokens_per_s", "read.tflops"),
        keys=("shape", "segment_len", "batch", "schedule"),
    )


@ROWS.register("compare-smoke")
def compare_smoke() -> Row:
    """All memories side by side in small: recall, QA1 and language, on and off."""
    return Row(
        work=Compare("smoke"),
        tiny=Compare("smoke", ("memories=armt,none",)),
        records=("cpu-2026-11-28-compare",),
        figures=(_EXACT_MATCH, _ACCURACY, "lm.bits_per_byte"),
        keys=("mechanism", "tested", "tokens", "segments", "segment", "memory"),
        times=("compare.seconds",),
    )


def _babilong(task: str, lengths: tuple[str, ...], *records: str) -> Row:
    recipe = f"armt_babilong_{task}"
    return Row(
        work=TrainAndRead(recipe, lengths),
        tiny=TrainAndRead(f"{recipe}_tiny", ("1k:8", "4k:8")),
        records=records,
        figures=(_ACCURACY, "memory.written_share", _TRAINING),
        keys=("task", "tokens", "memory"),
        times=(_TRAINING, "read.seconds"),
        note="The recorded run had 73 English novels besides; name a folder with --background.",
    )


def _retrieval(recipe: str, task: str, nums_pairs: tuple[int, ...]) -> Row:
    return Row(
        work=TrainAndRecall(recipe, nums_pairs),
        tiny=TrainAndRecall(f"{recipe}_tiny", (3, 6), 128),
        records=("h200-2026-11-25-retrieval",),
        figures=(_EXACT_MATCH, _TRAINING),
        keys=("task", "tested", "memory"),
        times=(_TRAINING,),
        only={"recipe": recipe, "task": task},
    )
