"""Draws the tables and the heat map of README and docs from the records and the cards.

    python benchmarks/tables.py

A table stands between `<!-- table: NAME -->` and `<!-- end -->`; what stands there is replaced.
"""

import ast
import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from armt.benchmarking.experiments import frozen_table, recall_table
from armt.benchmarking.factual_recall import capacity_table, order_table, transformer_table
from armt.benchmarking.records import Measurement, load_records
from armt.benchmarking.shapes import MODEL_SHAPES
from armt.benchmarking.tables import (
    ceiling_table,
    drift_table,
    floor_table,
    kernel_table,
    latency_table,
    long_table,
    speed_table,
    to_markdown,
)
from armt.comparison.summary import comparison_table, cost_table
from armt.core.config import MemoryConfig
from armt.core.registry import MEMORIES
from armt.evaluation.metrics import Score
from armt.evaluation.record import Record
from armt.evaluation.reports.panels import draw_panels, record_panels
from armt.recipes.frozen_recall import frozen_arms
from armt.tasks.babilong.lengths import length_name, parse_length

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "src" / "armt"
RESULTS = ROOT / "benchmarks" / "results"
HEATMAP = ROOT / "docs" / "images" / "qa1.png"
CELLS_KEY = "Cells"
"""Name of the text within the heat map's file that says what was drawn."""

BOXED_RUN = "h100-2026-11-27-qa1-seed-0"
QA1_SEEDS = {
    BOXED_RUN: "the recipe now, seed 0 (the boxed model)",
    "h100-2026-11-27-qa1-seed-1": "the recipe now, seed 1",
    "h100-2026-11-27-qa1-seed-2": "the recipe now, seed 2",
}
"""File of each run of the QA1 recipe as it is now; one made the boxed model."""

QA1_RUNS = {
    **QA1_SEEDS,
    "h100-2026-11-26-qa1-confusers-cut-seed-0": "the same with a shorter start, seed 0",
    "h100-2026-11-26-qa1-quarter-cut-seed-0": "facts alone cut, a quarter, seed 0",
    "h100-2026-11-26-qa1-quarter-cut-seed-1": "facts alone cut, a quarter, seed 1",
    "h100-2026-11-26-qa1-seed-1": "facts alone cut, a tenth, seed 1",
    "h100-2026-11-26-qa1-seed-2": "facts alone cut, a tenth, seed 2",
    "h100-2026-11-26-qa1-penalty-0.3-seed-1": "a tenth, write penalty 0.3, seed 1",
    "h200-2026-11-25-qa1-seed-0": "cut by chance only, seed 0",
    "h200-2026-11-25-qa1-seed-1": "cut by chance only, seed 1",
    "h200-2026-11-25-qa1-seed-2": "cut by chance only, seed 2",
    "h200-2026-11-23-qa1": "hard gate, first run",
    "h200-2026-11-23-qa1-sigmoid": "sigmoid gate, shorter third stage",
    "h200-2026-11-23-qa1-penalty-0.03": "hard gate, write penalty 0.03, other stages",
}
"""File of each run of the QA1 recipe, and what was special in it."""

READING_RUN = "h200-2026-11-25-qa1-seed-0"
"""The run whose readings were timed; what a model has learned does not change its work."""

STATISTICS_RUN = "cpu-2026-11-23-babi-statistics"
GENERATE_RUN = "cpu-2026-11-25-babilong-generate"
RECALL_RUN = "cpu-2026-11-25-factual-recall"
KERNELS_RUN = "h100-2026-11-27-wave-kernels"
COMPARISON_RUN = "cpu-2026-11-26-compare"
FROZEN_RUN = "h100-2026-11-26-frozen-recall"
SEGMENT_FACTS_RUN = "h100-2026-11-26-segment-facts"

RETRIEVAL_RUNS = {
    "h200-2026-11-25-retrieval": "the recipes now",
    "h200-2026-11-23-retrieval": "fewer steps, sigmoid gates",
}
"""File of each run of the retrieval recipes, and what was special in it."""

PUBLISHED_FORMS = {
    "": "plain delta rule, writes in order",
    "memory.normalizer=sum memory.write_order=parallel": "sum of keys, parallel writes",
}
"""Options that a run changed, and how the table says it."""

SHOWN_SHAPES = ("gpt2-small", "small", "llama-1b", "boxed")
"""Models whose work is shown."""

MARKED = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


class Measured(NamedTuple):
    """A record of `benchmarks/results` and the file it stands in."""

    run: str
    name: str
    value: float
    params: Mapping[str, Any]

    @property
    def score(self) -> Score:
        """Right answers, of a record that is a share of `num_samples`."""
        num_samples = int(self.params["num_samples"])
        return Score(round(self.value * num_samples), num_samples)


def load_measured(run: str) -> list[Measured]:
    """Returns the records of one file."""
    lines = (RESULTS / f"{run}.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return [Measured(run, row["name"], row["value"], row["params"]) for row in rows]


def qa1_table(runs: Mapping[str, str]) -> str:
    """Returns accuracy in per cent with its 95 % interval: a column for each length."""
    found = {
        (run, each.params["memory"], parse_length(each.params["tokens"])): each.score
        for run in runs
        for each in load_measured(run)
        if each.name == "babilong.accuracy"
    }
    lengths = sorted({length for _, _, length in found})
    heads = [f"{length_name(length)} tokens" for length in lengths]
    rows = [
        [label, arm, *(_spell(found.get((run, arm, length))) for length in lengths)]
        for run, label in runs.items()
        for arm in ("on", "off")
    ]
    return to_markdown(["run", "memory", *heads], rows)


def retrieval_table() -> str:
    """Returns exact match of associative retrieval by the number of pairs tested."""
    rows = [
        [
            each.params["task"],
            label,
            PUBLISHED_FORMS[" ".join(each.params["changes"])],
            str(each.params["trained"]),
            str(each.params["tested"]),
            _spell(each.score),
        ]
        for run, label in RETRIEVAL_RUNS.items()
        for each in load_measured(run)
        if each.name == "retrieval.exact_match"
    ]
    return to_markdown(
        ["task", "run", "memory", "pairs trained", "pairs tested", "exact match"], rows
    )


def training_table() -> str:
    """Returns how long each run trained."""
    rows: list[list[str]] = []
    for run in (*QA1_RUNS, *RETRIEVAL_RUNS):
        measured = load_measured(run)
        tokens = [f"{each.value:,}" for each in measured if each.name == "train.tokens"]
        for each in measured:
            if each.name == "train.seconds":
                changes = " ".join(each.params.get("changes", []))
                recipe = f"`{each.params['recipe']}` {changes}".strip()
                rows.append([_link(run), recipe, f"{each.value:.0f}", *(tokens or ["not kept"])])
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
        for each in load_measured(READING_RUN)
        if each.name == "read.seconds"
    ]
    return to_markdown(["tokens of a text", "texts", "seconds", "million tokens a second"], rows)


def stories_table() -> str:
    """Returns how the generated stories compare with the official training files, by task."""
    measured = load_measured(STATISTICS_RUN)
    rows: list[list[str]] = []
    for task in dict.fromkeys(each.params["task"] for each in measured):
        own = [each for each in measured if each.params["task"] == task]
        (accuracy,) = [each for each in own if each.name == "babi.oracle_accuracy"]
        compared = [each for each in own if each.name == "babi.chi_square"]
        num_passed = sum(bool(each.params["is_passed"]) for each in compared)
        num_answered = f"{accuracy.params['num_samples']:,}"
        right = f"{100 * accuracy.value:.2f}"
        rows.append([str(task), num_answered, right, f"{num_passed} of {len(compared)}"])
    return to_markdown(
        ["task", "questions", "right, per cent", "histograms within the bound"], rows
    )


def generating_table() -> str:
    """Returns how long a sample takes to make, and the memory that grows meanwhile."""
    found = {
        (each.name, each.params["tokens"], each.params.get("form", "")): each.value
        for each in load_measured(GENERATE_RUN)
        if each.name.startswith("babilong.generate")
    }
    rows = [
        [
            tokens,
            f"{seconds:.3f}",
            f"{text:.2f}" if (text := found.get((name, tokens, "text"))) else "not measured",
            f"{found['babilong.generate_growth_bytes', tokens, ''] / 1e6:.0f}",
        ]
        for (name, tokens, form), seconds in found.items()
        if form == "ids"
    ]
    return to_markdown(["tokens", "as tokens, s", "as text, s", "memory grown by, MB"], rows)


def batches_table() -> str:
    """Returns how long a training batch takes to make."""
    rows = [
        [str(each.params["task"]), f"{1000 * each.value:.0f}"]
        for each in load_measured(GENERATE_RUN)
        if each.name == "babilong.batch_s"
    ]
    return to_markdown(["task", "64 rows of 16k tokens, ms"], rows)


def memories_table() -> str:
    """Returns the registered memories, from their cards."""
    rows = [
        [f"`{card.name}`", card.summary, _paper(card.paper), _door(card.entry)] for card in MEMORIES
    ]
    return to_markdown(["memory", "what it is", "paper", "door"], rows)


def options_table(config: type[MemoryConfig]) -> str:
    """Returns the options of a memory with their defaults, from the docstrings under the fields."""
    path = inspect.getfile(config)
    tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    body = next(
        node.body
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name == config.__name__
    )
    rows: list[list[str]] = []
    for field, text in pairwise(body):
        if not (isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr)):
            continue
        told = " ".join(str(ast.literal_eval(text.value)).split())
        assert field.value is not None, "an option of a memory has a default"
        rows.append([f"`{ast.unparse(field.target)}`", f"`{ast.unparse(field.value)}`", told])
    return to_markdown(["option", "default", "meaning"], rows)


def modules_list() -> str:
    """Returns every module with the first line of its docstring."""
    return "".join(f"- `{name}`: {summary}\n" for name, summary in module_summaries())


def module_summaries() -> Iterator[tuple[str, str]]:
    """Yields path and first line of the docstring of every module, packages before their parts."""
    names = [path.relative_to(SOURCES) for path in SOURCES.rglob("*.py")]
    for name in sorted(names, key=lambda each: (each.parent, each.stem != "__init__", each.stem)):
        text = ast.get_docstring(ast.parse((SOURCES / name).read_text(encoding="utf-8"))) or ""
        yield name.as_posix(), text.split("\n", maxsplit=1)[0]


def bench_records() -> list[Measurement]:
    """Returns what `armt bench` measured on GPUs, file after file."""
    files = sorted(RESULTS.glob("*-bench.jsonl"))
    records = [each for path in files for each in load_records(path)]
    return [each for each in records if not each.hardware.startswith("CPU")]


def recall_records() -> list[Measurement]:
    """Returns what was measured of factual recall."""
    return load_records(RESULTS / f"{RECALL_RUN}.jsonl")


def comparison_records() -> list[Measurement]:
    """Returns what the comparison of all memories measured."""
    return load_records(RESULTS / f"{COMPARISON_RUN}.jsonl")


def boxed_reading_table() -> str:
    """Returns how fast `armt read` is on a CPU beside the plain loop."""
    files = sorted(RESULTS.glob("*-boxed-reading.jsonl"))
    records = [each for path in files for each in load_records(path)]
    found = {(each.hardware, each.name, each.params.get("schedule")): each for each in records}
    rows: list[list[str]] = []
    for device in dict.fromkeys(each.hardware for each in records if each.unit == "tokens/s"):
        speeds = [
            found[device, "read.tokens_per_s", name] for name in ("sequential eager", "armt read")
        ]
        ratio = found[device, "read.speedup", None]
        spread = f"{ratio.params['low']:.2f} to {ratio.params['high']:.2f}"
        numbers = [f"{each.value:,.0f}" for each in speeds]
        rows.append([device, *numbers, f"{ratio.value:.2f}", spread])
    heads = ["plain loop, tokens/s", "`armt read`, tokens/s", "ratio", "least to greatest"]
    return to_markdown(["processor", *heads], rows)


TABLES: dict[str, Callable[[], str]] = {
    "floor": lambda: floor_table(MODEL_SHAPES[name] for name in SHOWN_SHAPES),
    "ceiling": lambda: ceiling_table(bench_records()),
    "kernels": lambda: kernel_table(load_records(RESULTS / f"{KERNELS_RUN}.jsonl")),
    "read-speed": lambda: speed_table(bench_records(), "read"),
    "train-speed": lambda: speed_table(bench_records(), "train"),
    "decode-speed": lambda: speed_table(bench_records(), "decode"),
    "latency": lambda: latency_table(bench_records()),
    "long-texts": lambda: long_table(bench_records()),
    "drift": lambda: drift_table(bench_records()),
    "boxed-reading": boxed_reading_table,
    "comparison": lambda: comparison_table(comparison_records()),
    "comparison-cost": lambda: cost_table(comparison_records()),
    "recall-capacity": lambda: capacity_table(recall_records()),
    "recall-order": lambda: order_table(recall_records()),
    "recall-transformer": lambda: transformer_table(recall_records()),
    "segment-facts": lambda: recall_table(load_records(RESULTS / f"{SEGMENT_FACTS_RUN}.jsonl")),
    "frozen-recall": lambda: frozen_table(
        load_records(RESULTS / f"{FROZEN_RUN}.jsonl"), list(frozen_arms())
    ),
    "qa1": lambda: qa1_table(QA1_SEEDS),
    "qa1-runs": lambda: qa1_table(QA1_RUNS),
    "retrieval": retrieval_table,
    "training": training_table,
    "reading": reading_table,
    "stories": stories_table,
    "generating": generating_table,
    "batches": batches_table,
    "memories": memories_table,
    "modules": modules_list,
} | {
    f"options-{card.name}": partial(options_table, type(card.tiny))
    for card in MEMORIES
    if card.tiny is not None and fields(card.tiny)
}
"""What fills each marked place; every memory that has options has a page that holds them."""


def documents() -> list[Path]:
    """README and the pages that may hold tables."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def filled(text: str) -> str:
    """Returns `text` with every marked table as the records and cards make it now."""
    return MARKED.sub(lambda found: found[1] + TABLES[found[2]]() + found[3], text)


def heatmap_records() -> list[Record]:
    """Returns the boxed model's shares as single questions, which is what a heat map counts."""
    return [
        Record(
            subject=str(each.params["model"]),
            category="recurrent",
            knows_facts=True,
            subject_fingerprint=str(each.params["model"]),
            prompt_hash="",
            task=str(each.params["task"]),
            task_fingerprint="",
            seed=0,
            length=parse_length(each.params["tokens"]),
            index=index,
            arm=str(each.params["memory"]),
            question="",
            answer="",
            truth="",
            scores={"exact": index < each.score.num_correct},
        )
        for each in load_measured(BOXED_RUN)
        if each.name == "babilong.accuracy"
        for index in range(each.score.num_samples)
    ]


def heatmap_cells() -> str:
    """Returns the shares of the heat map as one line; it stands in the picture's file."""
    found = [each for each in load_measured(BOXED_RUN) if each.name == "babilong.accuracy"]
    return "; ".join(
        f"{each.params['memory']} {each.params['tokens']} {each.value}" for each in found
    )


def draw(path: Path) -> None:
    """Draws the heat map and writes into the file what it shows."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    path.parent.mkdir(parents=True, exist_ok=True)
    draw_panels(record_panels(heatmap_records(), "exact"), path)
    said = PngInfo()
    said.add_text(CELLS_KEY, heatmap_cells())
    with Image.open(path) as image:
        image.load()
        image.save(path, pnginfo=said)


def main() -> None:
    """Writes all tables and the heat map."""
    for path in documents():
        text = path.read_text(encoding="utf-8")
        if (new := filled(text)) != text:
            _ = path.write_text(new, encoding="utf-8")
            print(f"{path.relative_to(ROOT)} is new")
    draw(HEATMAP)


def _spell(score: Score | None) -> str:
    if score is None:
        return "not measured"
    low, high = score.interval
    return f"{100 * score.accuracy:.1f} [{100 * low:.1f}, {100 * high:.1f}] of {score.num_samples}"


def _link(run: str) -> str:
    return f"[{run}](../benchmarks/results/{run}.jsonl)"


def _paper(paper: str) -> str:
    number = paper.removeprefix("arXiv:")
    return paper if number == paper else f"[{paper}](https://arxiv.org/abs/{number})"


def _door(memory: type[Any]) -> str:
    return {"residual": "residual stream", "tokens": "tokens", "key_value": "keys and values"}[
        memory.door
    ]


if __name__ == "__main__":
    main()
