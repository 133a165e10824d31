"""Published scores, to stand beside one's own: what was measured elsewhere, and by whom.

Source of the table: the leaderboard picture of booydar/babilong (November 2024), average of qa1 to
qa5, each task with its best prompt configuration; of the later rows: predictions published by the
same authors, or the place named in `Standing.note`. Claimed contexts are those of the makers'
model cards. Nothing here was measured with this library.
"""

import math
from functools import cache
from typing import NamedTuple

from armt.tasks.babilong.lengths import parse_length

PICTURE = "babilong leaderboard picture, Nov 2024"
MEASURED_HERE = "measured here"
LATER = "predictions published later by the authors of babilong"

UNLIMITED = None
"""Claimed context of a model that reads texts of any length."""


class Standing(NamedTuple):
    """What one model reached at each length: a column of a leaderboard."""

    name: str
    claimed_len: int | None
    """Longest context in tokens that the makers claim; None if there is no end."""
    accuracies: dict[int, float]
    """Per cent by length in tokens; of published models the mean over qa1 to qa5."""
    source: str
    """Who measured; `MEASURED_HERE` for one's own."""
    note: str = ""
    """What a reader must know to compare."""

    @property
    def average(self) -> float:
        """Mean over the lengths that there are; NaN without one."""
        shares = self.accuracies.values()
        return sum(shares) / len(shares) if shares else math.nan

    @property
    def is_published(self) -> bool:
        """Whether others measured it."""
        return self.source != MEASURED_HERE


class SegmentRow(NamedTuple):
    """Accuracy of the RMT of the paper on one task, by number of segments of 512 tokens."""

    task: str
    question_at: str
    """`end`, or `both`: told before the text too."""
    accuracies: dict[int, float]


_PICTURE_LENGTHS = "0k 1k 2k 4k 8k 16k 32k 64k 128k 512k 1M 10M"
_PICTURE = """
ARMT (137M) fine-tuned | - | 99 96 98 98 98 98 98 98 97 95 93 77
Mamba (130M) fine-tuned | - | 98 99 99 99 99 99 98 97 93
RMT (137M) fine-tuned | - | 99 97 95 92 90 86 78 70 59 46 43 34
Qwen2.5-72B-Instruct | 128k | 83 78 76 75 73 71 68 66 58
Gemini 1.5 Pro 002 | 2M | 92 88 82 78 75 72 68 64 59 51 42
Llama-3.1-70B-Instruct | 128k | 85 81 78 74 70 65 59 53 45
GPT-4 0125-preview | 128k | 87 81 77 74 71 64 53 43 36
Qwen2.5-7B-Instruct | 128k | 68 68 68 66 65 63 60 55 45
gpt-4o-mini | 128k | 74 72 71 65 62 60 54 45 43
Llama-3.1-8B-Instruct | 128k | 67 68 66 66 62 60 56 49 39
Phi-3.5-MoE | 128k | 67 68 66 66 62 60 56 49 39
Mixtral-8x22B-Instruct | 64k | 75 73 70 65 58 51 43 35
Phi-3-medium-128k | 128k | 72 70 67 62 60 57 53 45 30
command-r-v01 | 128k | 64 64 63 61 59 52 51 46 38
gemma-2-9b-it | 8k | 72 71 69 64 0
Llama-3-8B-Instruct | 8k | 64 60 58 50 44
Mixtral-8x7B-Instruct | 32k | 65 63 60 55 50 46 40
Yi-34B-200k | 200k | 65 59 56 54 52 50 48 48
Phi-3.5-mini | 128k | 70 70 62 59 58 53 43 38 10
Mistral-7B-Instruct-v0.2 | 32k | 60 56 52 49 45 42 37
Jamba-v0.1 | 256k | 65 53 50 48 46 45 41 40 34
Phi-3-mini-128k | 128k | 64 57 55 51 50 46 42 37 7
Llama3-ChatQA-1.5-8B + RAG | - | 48 48 47 46 45 45 44 42 45 42 39 37
Yi-9B-200k | 200k | 52 55 48 46 45 36 37 29 24
activation-beacon-mistral-7b | 128k | 59 56 51 48 43 37 36 27 14
chatglm3-6b-128k | 128k | 56 55 51 48 46 41 36 21 13
"""
_LATER = """
Gemini-3-flash-preview | 1M | 96.5 95.4 93.7 89.0 82.3 74.5 63.6 59.4 48.4 51.6 50.6
xLSTM-7b | - | 51 43 35 30 26 15 6 4
gemma-3-27b-it | 128k | 79 76 72 66 58 51 46 38 0
gemma-3-12b-it | 128k | 77 74 70 63 58 51 46 38 34
gemma-3-4b-it | 128k | 67 66 62 56 50 43 37 32 30
Phi-4-mini | 128k | 66 64 59 53 57 53 49 45 32
SmolLM2-360M | 8k | 42.7 36.3 32.4 28.7 22.8
"""
_NOTES = {
    "ARMT (137M) fine-tuned": "trained on the tasks; question after the text",
    "Mamba (130M) fine-tuned": "trained on the tasks; question after the text",
    "RMT (137M) fine-tuned": "trained on the tasks up to 16k tokens; question after the text",
    "Llama-3.1-8B-Instruct": "same numbers as Phi-3.5-MoE in the picture, probably a slip",
    "Phi-3.5-MoE": "same numbers as Llama-3.1-8B-Instruct in the picture, probably a slip",
    "Llama3-ChatQA-1.5-8B + RAG": "reads the five best sentences only",
    "Gemini-3-flash-preview": "minimal thinking",
}

_SEGMENTS: tuple[int, ...] = (1, 4, 16, 32, 64, 256, 1024, 2048, 19532)
_RMT = """
qa1 end 100 100 99.8 99.7 98.9 93.9 87.3 84.1 65.6
qa2 end 99.7 99.1 97.2 94.1 81.5 38.8 24.7 22.0 18.8
qa3 end 97.3 87.6 73.3 65.5 55.3 36.4 24.5 21.8 20.9
qa4 end 100 87.2 80.2 74.8 63.9 37.9 26.1 23.5 19.8
qa5 end 99.8 99.4 99.0 94.0 89.8 85.6 69.2 62.8 43.8
qa1 both 99.9 100 99.9 99.9 99.3 94.2 91.5 89.5 72.9
qa2 both 100 99.8 99.8 99.8 99.3 96.4 93.9 91.7 74.1
qa3 both 100 94.2 85.3 80.5 71.2 38.4 27.1 24.1 20.5
qa4 both 100 95.0 81.6 75.8 67.3 47.8 34.3 29.8 20.7
qa5 both 99.6 99.5 99.0 98.5 97.2 89.9 80.3 74.3 52.2
"""
_MAJORITY = (
    18.7, 18.7, 21.5, 17.7, 18.9, 50.3, 48.8, 33.6, 63.8, 43.7,
    18.7, 18.9, 18.3, 17.7, 34.1, 25.7, 52.0, 53.1, 9.3, 18.0,
)  # fmt: skip

ARMT_QA1_50M = 79.9
"""Per cent of the ARMT of arXiv:2407.04841 on qa1 with 50 million tokens."""


@cache
def leaderboard_rows() -> tuple[Standing, ...]:
    """Returns the rows of the picture, best average first."""
    return _rows(_PICTURE, PICTURE)


@cache
def later_rows() -> tuple[Standing, ...]:
    """Returns rows that the same authors published after the picture."""
    return _rows(_LATER, LATER)


@cache
def rmt_rows() -> tuple[SegmentRow, ...]:
    """Returns the RMT of the paper by task; GPT-2 with 16 memory tokens, one model for each task.

    Trained up to 32 segments of 512 tokens; means of two or three runs; exact match. Source: the
    results in the repository booydar/babilong.
    """
    rows: list[SegmentRow] = []
    for line in _RMT.split("\n")[1:-1]:
        task, question_at, *values = line.split()
        shares = dict(zip(_SEGMENTS, map(float, values), strict=True))
        rows.append(SegmentRow(task, question_at, shares))
    return tuple(rows)


@cache
def majority_floors() -> dict[str, float]:
    """Returns the per cent that the most frequent answer gets on the real test questions."""
    return {f"qa{number}": value for number, value in enumerate(_MAJORITY, start=1)}


def _rows(table: str, source: str) -> tuple[Standing, ...]:
    lengths = [parse_length(name) for name in _PICTURE_LENGTHS.split()]
    rows: list[Standing] = []
    for line in table.strip().split("\n"):
        name, claimed, values = (part.strip() for part in line.split("|"))
        shares = dict(zip(lengths, map(float, values.split()), strict=False))
        claimed_len = UNLIMITED if claimed == "-" else parse_length(claimed)
        rows.append(Standing(name, claimed_len, shares, source, _NOTES.get(name, "")))
    return tuple(rows)
