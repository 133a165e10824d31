"""What others published of the same tasks, to stand beside what was measured here.

Questions, stories and books differ from ours, so two numbers side by side are no contest.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from armt.benchmarking.tables import to_markdown
from armt.evaluation.metrics import Score
from armt.evaluation.reports.published import Standing, leaderboard_rows
from armt.tasks.babilong.lengths import length_name, parse_length
from pages.learned import mean_of_tasks, mean_share, seed_shares, task_cells
from pages.sources import paper_link

LENGTHS = tuple(parse_length(name) for name in ("64k", "128k", "500k", "1M", "10M", "50M", "1B"))

ARMT_PAPER = "arXiv:2407.04841"
"""Rodkin et al. 2024, table 1: exact match in per cent; ARMT is the mean of three runs, Mamba of
two, with the spread that the paper gives; question after the text."""

_QA1 = """
GPT-4, few examples | 30 24
GPT-4 with retrieval | 50 56 50 56 16
RMT, 137M | 99.6 99.1 96.4 94.2 76.4 64.8 (best)
RMT-R | 99.7 99.5 97.5 97.4 86.0
Mamba, 130M | 100 99.5±0.2 92.3±1.1
ARMT, 145M | 100 99.9±0.2 99.3±0.9 98.5±1.0 89.4±8.1 49.6±40.4 (best 79.9)
"""
_ARMT = """
qa2 | 100 99.8±0.2 99.4±0.3 99.4±0.3 84.4±4.0
qa3 | 90.4±2.2 86.0±4.8 79.7±10.8 72.1±14.2 37.0±10.3
qa4 | 100 100 99.9±0.2 99.8±0.3 91.5±1.7
qa5 | 99.0±0.3 98.7±0.4 98.4±0.3 97.3±0.6 80.9±7.6
"""

_SHOWN = ("ARMT (137M) fine-tuned", "Mamba (130M) fine-tuned", "RMT (137M) fine-tuned")
_BEST_OTHERS = 2
"""So many rows of models that were not trained on the tasks."""


class Row(NamedTuple):
    """A system and what it reached, a cell for each length."""

    name: str
    source: str
    cells: list[str]


def published_qa1_table() -> str:
    """Returns QA1 of the ARMT paper's table and ours."""
    ours = _ours("qa1", "on")
    rows = [Row(name, ARMT_PAPER, cells) for name, cells in _parse(_QA1)]
    return _table([*rows, Row("ours, mean of the seeds [least, greatest]", "measured here", ours)])


def published_tasks_table() -> str:
    """Returns ARMT of its paper on QA2 to QA5 and ours."""
    rows: list[Row] = []
    for task, cells in _parse(_ARMT):
        rows.append(Row(f"{task}: ARMT, 145M", ARMT_PAPER, cells))
        rows.append(Row(f"{task}: ours", "measured here", _ours(task, "on")))
    return _table(rows)


def published_mean_table() -> str:
    """Returns means over QA1 to QA5: trained models, the best others, and ours."""
    rows = [each for each in leaderboard_rows() if each.name in _SHOWN]
    rows += [each for each in leaderboard_rows() if each.name not in _SHOWN][:_BEST_OTHERS]
    lengths = sorted({length for each in rows for length in each.accuracies})
    means = {length: mean_of_tasks(length) for length in lengths}
    ours = [f"{found:.1f}" if (found := means[length]) else "" for length in lengths]
    cells = [[each.name, each.source, *_spelled(each, lengths)] for each in rows]
    cells.append(["ours, one model for each task", "measured here", *ours])
    if not any(ours):
        cells[-1][0] += ": not measured yet"
    return to_markdown(["system", "source", *map(length_name, lengths)], cells)


def _spelled(standing: Standing, lengths: Sequence[int]) -> list[str]:
    found = [standing.accuracies.get(length) for length in lengths]
    return ["" if each is None else f"{each:.0f}" for each in found]


def _parse(table: str) -> list[tuple[str, list[str]]]:
    """Returns name and cells of each line; what stands in brackets belongs to the cell before."""
    found: list[tuple[str, list[str]]] = []
    for line in table.strip().split("\n"):
        name, values = (part.strip() for part in line.split("|"))
        body, _, note = values.partition(" (")
        cells = body.split()
        if note:
            cells[-1] += f" ({note}"
        found.append((name, [*cells, *[""] * (len(LENGTHS) - len(cells))]))
    return found


def _ours(task: str, arm: str) -> list[str]:
    found = task_cells(task, arm)
    return [_spell(found.get(length, {})) for length in LENGTHS]


def _spell(scores: Mapping[int, Score]) -> str:
    if not scores:
        return "not measured"
    shares = seed_shares(scores)
    return f"{mean_share(scores):.1f} [{min(shares):.1f}, {max(shares):.1f}]"


def _table(rows: Sequence[Row]) -> str:
    heads = ["system", "source", *(f"{length_name(length)} tokens" for length in LENGTHS)]
    return to_markdown(heads, [[each.name, paper_link(each.source), *each.cells] for each in rows])
