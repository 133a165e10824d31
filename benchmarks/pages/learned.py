"""Tables of what trained models can do, of how long they trained, and of how fast they read."""

from collections.abc import Iterable, Mapping
from statistics import mean

from armt.benchmarking.tables import spell_spread, to_markdown
from armt.evaluation.metrics import Score
from armt.tasks.babilong.lengths import length_name, parse_length
from pages.runs import (
    BITS,
    EXACT_MATCH,
    FULL_COMPARISON_RUN,
    LANGUAGE_RUNS,
    QA1_RUNS,
    QA1_SEEDS,
    READ,
    READING_RUN,
    RETRIEVAL_ARM_RUNS,
    RETRIEVAL_RUNS,
    TASK_RUNS,
    TRAINED,
    WRITTEN,
    Cell,
    accuracies,
    answers,
    figures,
    files_of,
    link,
    load_measured,
    spell_score,
)

QA1_TO_QA5 = ("qa1", "qa2", "qa3", "qa4", "qa5")
FIVE_TASKS = "armt_babilong_qa1_to_qa5"
"""The recipe of one model for all five."""

PUBLISHED_FORMS = {
    "": "plain delta rule, writes in order",
    "memory.normalizer=sum memory.write_order=parallel": "sum of keys, parallel writes",
}
"""Options that a run changed, and how the table says it."""

ARMS = ("on", "off")

SHOWN_SEGMENTS = (*range(1, 9), 16, 32, 64)
"""Segments whose bits a byte stand in the table; the picture has all."""


def qa1_table(runs: Mapping[str, str]) -> str:
    """Returns accuracy in per cent with its 95 % interval: a column for each length.

    Files of one label are one row.
    """
    found = {
        (runs[each.run], each.cell.arm, each.cell.num_tokens): each.score for each in answers(runs)
    }
    lengths = sorted({length for _, _, length in found})
    heads = [f"{length_name(length)} tokens" for length in lengths]
    rows = [
        [label, arm, *(spell_score(found.get((label, arm, length))) for length in lengths)]
        for label in dict.fromkeys(runs.values())
        for arm in ARMS
    ]
    return to_markdown(["run", "memory", *heads], rows)


def writes_table() -> str:
    """Returns how many segments without a fact a model writes into, and what it keeps by length."""
    rows: list[list[str]] = []
    for each in figures(QA1_RUNS, WRITTEN):
        label, score = QA1_RUNS[each.run], each.score
        found = [(one.cell, one.score) for one in answers(files_of(label))]
        on = sorted((cell.num_tokens, share) for cell, share in found if cell.arm == "on")
        ends = [
            f"{length_name(length)}: {100 * share.accuracy:.1f}"
            for length, share in (on[0], on[-1])
        ]
        rows.append([label, f"{score.num_correct} of {score.num_samples:,}", *ends])
    return to_markdown(["run", "segments written", "shortest texts", "longest texts"], rows)


def tasks_table() -> str:
    """Returns the mean over seeds for each task, and over the tasks, by recipe and length."""
    found = accuracies([*QA1_SEEDS, *TASK_RUNS])
    lengths = sorted({cell.num_tokens for cell in found})
    kinds = dict.fromkeys((cell.model, cell.task, cell.arm) for cell in found)
    rows = [
        [
            f"`{model}`",
            task,
            arm,
            *(_over_seeds(found.get(Cell(model, task, arm, length), {})) for length in lengths),
        ]
        for model, task, arm in kinds
    ]
    heads = [f"{length_name(length)} tokens" for length in lengths]
    return to_markdown(["recipe", "task", "memory", *heads], rows)


def retrieval_table() -> str:
    """Returns exact match of associative retrieval by the number of pairs tested."""
    rows = [
        [
            each.params["task"],
            RETRIEVAL_RUNS[each.run],
            PUBLISHED_FORMS[" ".join(each.params["changes"])],
            str(each.params["trained"]),
            str(each.params["tested"]),
            spell_score(each.score),
        ]
        for each in figures(RETRIEVAL_RUNS, EXACT_MATCH)
    ]
    return to_markdown(
        ["task", "run", "memory", "pairs trained", "pairs tested", "exact match"], rows
    )


def training_table() -> str:
    """Returns how long each run trained."""
    rows: list[list[str]] = []
    for run in (*QA1_RUNS, *TASK_RUNS, *RETRIEVAL_RUNS, *RETRIEVAL_ARM_RUNS):
        measured = load_measured(run)
        tokens = [f"{each.value:,}" for each in measured if each.name == "train.tokens"]
        for each in measured:
            if each.name == TRAINED:
                changes = " ".join(each.params.get("changes", []))
                recipe = f"`{each.params['recipe']}` {changes}".strip()
                rows.append([link(run), recipe, f"{each.value:.0f}", *(tokens or ["not kept"])])
    return to_markdown(["records", "recipe", "seconds", "tokens"], rows)


def reading_table() -> str:
    """Returns how long reading took: texts side by side, sampling and answers included."""
    rows = [
        [
            str(each.params["tokens"]),
            str(each.params["batch"]),
            f"{each.value:.1f}",
            f"{parse_length(each.params['tokens']) * each.params['batch'] / each.value / 1e6:.2f}",
        ]
        for each in figures([READING_RUN], READ)
    ]
    return to_markdown(["tokens of a text", "texts", "seconds", "million tokens a second"], rows)


def language_table() -> str:
    """Returns bits a byte of held-out text by segment, the mean over seeds."""
    found = bits_by_segment()
    measured = {segment for cells in found.values() for segment in cells}
    segments = [segment for segment in SHOWN_SEGMENTS if segment in measured]
    rows = [
        [LANGUAGE_RUNS[run], f"`{model}`", arm, *(_mean(cells.get(at), 3) for at in segments)]
        for (run, model, arm), cells in found.items()
    ]
    return to_markdown(["run", "memory", "arm", *(f"segment {at}" for at in segments)], rows)


Bits = dict[int, dict[int, float]]
"""Bits a byte by segment and seed."""


def bits_by_segment() -> dict[tuple[str, str, str], Bits]:
    """Returns bits a byte by run, memory and arm."""
    found: dict[tuple[str, str, str], Bits] = {}
    for each in figures(LANGUAGE_RUNS, BITS):
        told = each.params
        cells = found.setdefault((each.run, told["mechanism"], told["memory"]), {})
        cells.setdefault(told["segment"], {})[each.seed] = each.value
    return found


def gains_by_segment() -> dict[tuple[str, str], Bits]:
    """Returns by run and memory the bits a byte gained on the model without a memory.

    Models of one seed are compared, which were trained and tested on the same texts.
    """
    bits = bits_by_segment()
    return {
        (run, memory): {
            at: {seed: none[seed] - value for seed, value in seeds.items() if seed in none}
            for at, seeds in cells.items()
            for none in [bits[run, "none", "on"].get(at, {})]
        }
        for (run, memory, arm), cells in bits.items()
        if arm == "on" and memory != "none"
    }


def recall_arms_table() -> str:
    """Returns exact match of all memories by pairs tested, the mean over seeds."""
    found: dict[str, dict[int, dict[int, float]]] = {}
    for each in figures([FULL_COMPARISON_RUN], EXACT_MATCH):
        if each.params["memory"] == "on":
            cells = found.setdefault(each.params["mechanism"], {})
            cells.setdefault(each.params["tested"], {})[each.seed] = 100 * each.value
    tested = sorted({at for cells in found.values() for at in cells})
    rows = [
        [f"`{memory}`", _seeds(len(cells[tested[0]])), *(_mean(cells.get(at), 1) for at in tested)]
        for memory, cells in found.items()
    ]
    return to_markdown(["memory", "seeds", *(f"{at} pairs" for at in tested)], rows)


def seed_shares(scores: Mapping[int, Score]) -> list[float]:
    """Returns accuracies in per cent, one for each seed."""
    return [100 * score.accuracy for score in scores.values()]


def mean_share(scores: Mapping[int, Score]) -> float:
    """Returns the mean over seeds in per cent, each counting once."""
    return mean(seed_shares(scores))


def task_cells(
    task: str, arm: str = "on", recipe: str = "", runs: Iterable[str] = (*QA1_SEEDS, *TASK_RUNS)
) -> dict[int, dict[int, Score]]:
    """Returns by length and seed what a recipe reached on a task; by default that of the task."""
    model = recipe or f"armt_babilong_{task}"
    return {
        cell.num_tokens: scores
        for cell, scores in accuracies(runs).items()
        if (cell.model, cell.task, cell.arm) == (model, task, arm)
    }


def mean_of_tasks(num_tokens: int, recipe: str = "") -> float | None:
    """Returns the mean over QA1 to QA5 in per cent; nothing unless all are measured there."""
    found = [task_cells(task, "on", recipe).get(num_tokens, {}) for task in QA1_TO_QA5]
    return mean(map(mean_share, found)) if all(found) else None


def _over_seeds(scores: Mapping[int, Score]) -> str:
    if not scores:
        return "not measured"
    return f"{spell_spread(seed_shares(scores), 1)}, {_seeds(len(scores))}"


def _seeds(number: int) -> str:
    return f"{number} seed{'s' if number > 1 else ''}"


def _mean(values: Mapping[int, float] | None, digits: int) -> str:
    return spell_spread(list(values.values()), digits) if values else "not measured"
