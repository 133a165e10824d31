"""Tasks 1 to 5 of BABILong over millions of tokens, one model each or one for all, from scratch.

Each recipe has a small sister, NAME_tiny, for a laptop: it goes through the same stages and shows
that they run, not that they teach.
"""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, NamedTuple

from armt.backbones.tiny import TinyBackboneConfig
from armt.memories.armt import ARMTConfig
from armt.recipes.armt_babilong_qa1 import armt_babilong_qa1
from armt.recipes.registry import RECIPES
from armt.recurrence.config import RecurrenceConfig
from armt.tasks.babilong.stream_config import FactStreamConfig
from armt.tasks.babilong.task_worlds import TASKS
from armt.training.config import RunConfig, StageConfig, TextConfig

_PAPER = "arXiv:2407.04841"

_DENSE_TOKENS = 256 * 128
"""Tokens of a batch of dense rows, as in the QA1 recipe."""

_TINY_SEGMENT_LEN, _TINY_DENSE_TOKENS = 256, 16 * 256


class _HoldOn(NamedTuple):
    """The stage over dozens of segments, and what writing costs in it and in the next."""

    num_steps: int = 600
    write_penalties: tuple[float, float] = (0.1, 0.3)


class _Plan(NamedTuple):
    """What differs from task to task."""

    tasks: tuple[str, ...]

    look_up_len: int
    """Tokens of a dense row: long enough for the facts that a question needs."""

    look_up_steps: int
    hold_steps: int
    long_steps: int

    num_questions: int
    """Asked at once after the long texts, at most."""

    asks_a_fact_once: bool
    """Whether they all follow from different facts. A link tells two answers, a gift five."""

    easier_weight: float
    """Less where many easier questions stand against few of the task's own."""

    hold_changes: Mapping[str, Any] = MappingProxyType({})
    """Other options of the stream over a few segments."""

    hold_on: _HoldOn = _HoldOn()

    stone_steps: int = 0
    """Of another stage over a few segments, before, which tells `directions` in place of `qa4`."""


_GIFTS = MappingProxyType({"gap_len": (8, 128), "text_weight": 0.001})
"""Three objects can be given, and few facts are gifts: they come sooner here, and what few answers
they give weighs more beside the text."""

_FREE = _HoldOn(1500, (0.0, 0.0))
"""The penalties of QA1 closed all gates in task 3: what is remembered over few segments is not yet
over dozens, where writing then costs more than it gains. Open gates did no harm to tasks 2 and 5
over 10M tokens."""

_PLANS = {
    "qa1": _Plan(("qa1",), 128, 1600, 1200, 4000, 6, False, 0.0),
    "qa2": _Plan(("qa2",), 256, 2000, 9000, 3000, 6, False, 0.3),
    "qa3": _Plan(("qa3",), 448, 2500, 9000, 6000, 6, True, 0.1, hold_on=_FREE),
    "qa4": _Plan(("qa4",), 128, 3500, 10_000, 3500, 4, True, 0.0, stone_steps=2000),
    "qa5": _Plan(("qa5",), 320, 2500, 12_000, 3000, 3, True, 0.0, _GIFTS),
    "qa1_to_qa5": _Plan(
        TASKS, 448, 8000, 20_000, 4000, 4, True, 0.1, hold_on=_FREE, stone_steps=6000
    ),
}

_NEAR_TAIL_LEN, _FAR_TAIL_LEN = (0, 320), (0, 384)
"""From 0: a model that never saw a question at the beginning of a segment misses some there. They
end earlier than in QA1, so that text and up to six questions of a tail stay in one segment."""


@RECIPES.register("armt_babilong_qa2", paper=_PAPER)
def armt_babilong_qa2() -> RunConfig:
    """ARMT on BABILong QA2: where an object is that someone carries about."""
    return _run("qa2")


@RECIPES.register("armt_babilong_qa3", paper=_PAPER)
def armt_babilong_qa3() -> RunConfig:
    """ARMT on BABILong QA3: where an object was before it came to a place."""
    return _run("qa3")


@RECIPES.register("armt_babilong_qa4", paper=_PAPER)
def armt_babilong_qa4() -> RunConfig:
    """ARMT on BABILong QA4: which place lies beside another."""
    return _run("qa4")


@RECIPES.register("armt_babilong_qa5", paper=_PAPER)
def armt_babilong_qa5() -> RunConfig:
    """ARMT on BABILong QA5: who gave what to whom."""
    return _run("qa5")


@RECIPES.register("armt_babilong_qa1_to_qa5", paper=_PAPER)
def armt_babilong_qa1_to_qa5() -> RunConfig:
    """ARMT on BABILong QA1 to QA5, one model for all."""
    return _run("qa1_to_qa5")


@RECIPES.register("armt_babilong_qa1_tiny", paper=_PAPER)
def armt_babilong_qa1_tiny() -> RunConfig:
    """The QA1 recipe for a laptop."""
    return _tiny_run("qa1")


@RECIPES.register("armt_babilong_qa2_tiny", paper=_PAPER)
def armt_babilong_qa2_tiny() -> RunConfig:
    """The QA2 recipe for a laptop."""
    return _tiny_run("qa2")


@RECIPES.register("armt_babilong_qa3_tiny", paper=_PAPER)
def armt_babilong_qa3_tiny() -> RunConfig:
    """The QA3 recipe for a laptop."""
    return _tiny_run("qa3")


@RECIPES.register("armt_babilong_qa4_tiny", paper=_PAPER)
def armt_babilong_qa4_tiny() -> RunConfig:
    """The QA4 recipe for a laptop."""
    return _tiny_run("qa4")


@RECIPES.register("armt_babilong_qa5_tiny", paper=_PAPER)
def armt_babilong_qa5_tiny() -> RunConfig:
    """The QA5 recipe for a laptop."""
    return _tiny_run("qa5")


@RECIPES.register("armt_babilong_qa1_to_qa5_tiny", paper=_PAPER)
def armt_babilong_qa1_to_qa5_tiny() -> RunConfig:
    """The recipe of all five tasks for a laptop."""
    return _tiny_run("qa1_to_qa5")


def _run(name: str) -> RunConfig:
    """Returns the QA1 recipe's run with other stories, and more steps where they are harder."""
    plan = _PLANS[name]
    run = armt_babilong_qa1()
    look_up, hold, hold_on, hold_long = run.stages
    in_rows, on_stone = (
        tuple(stone if task == "qa4" else task for task in plan.tasks)
        for stone in ("one_map", "directions")
    )
    dense_rows = {
        "batch_size": _DENSE_TOKENS // plan.look_up_len,
        "sequence_len": plan.look_up_len,
        "gap_len": (4, 16),
        "easier_weight": plan.easier_weight,
    }
    asked = {
        "num_questions": plan.num_questions,
        "asks_a_fact_once": plan.asks_a_fact_once,
        "easier_weight": plan.easier_weight,
    }
    near = {**asked, "tail_len": _NEAR_TAIL_LEN, **plan.hold_changes}
    far = {**asked, "tail_len": _FAR_TAIL_LEN, "tasks": plan.tasks}
    hold_on_steps, (first_penalty, penalty) = plan.hold_on
    first_held = [_changed(hold, plan.stone_steps, {**near, "tasks": on_stone})]
    return replace(
        run,
        name=f"armt_babilong_{name}",
        # what happens to objects is another story if it is told twice
        reading_overlap_len=run.reading_overlap_len if plan.tasks == ("qa1",) else None,
        stages=(
            _changed(look_up, plan.look_up_steps, {**dense_rows, "tasks": in_rows}),
            *(first_held if plan.stone_steps else ()),
            _changed(hold, plan.hold_steps, {**near, "tasks": plan.tasks}),
            _changed(replace(hold_on, write_penalty=first_penalty), hold_on_steps, far),
            _changed(replace(hold_long, write_penalty=penalty), plan.long_steps, far),
        ),
    )


def _tiny_run(name: str) -> RunConfig:
    """Returns the run with a small model, short segments and few steps."""
    run, plan = _run(name), _PLANS[name]
    look_up, *holds, hold_on, hold_long = run.stages
    text = {"batch_size": 4, "segment_len": _TINY_SEGMENT_LEN, "carry_len": _TINY_SEGMENT_LEN}
    asked = {"tail_len": (40, 40), "num_questions": min(plan.num_questions, 3)}
    near = {**text, **asked, "gap_len": (8, 32)}
    far = {**near, "gap_len": (16, 256)}
    row_len = min(plan.look_up_len, _TINY_SEGMENT_LEN)
    dense_rows = {
        "batch_size": _TINY_DENSE_TOKENS // row_len,
        "sequence_len": row_len,
        "segment_len": _TINY_SEGMENT_LEN,
        "gap_len": (2, 8),
    }
    return replace(
        run,
        name=f"armt_babilong_{name}_tiny",
        backbone=TinyBackboneConfig(d_model=96, num_layers=3, num_heads=4, d_ffn=192, init_std=0.1),
        memory=replace(_armt(run), num_memory_tokens=4, d_mem=32),
        recurrence=RecurrenceConfig(segment_len=_TINY_SEGMENT_LEN),
        text=TextConfig(vocab_size=2048),
        stages=(
            _changed(look_up, 150, dense_rows),
            *(_changed(hold, 50, near) for hold in holds),
            _changed(hold_on, 20, {**far, "epoch_steps": 8}),
            _changed(hold_long, 20, {**far, "epoch_steps": 16}),
        ),
        precision="float32",
    )


def _changed(stage: StageConfig, num_steps: int, changes: Mapping[str, Any]) -> StageConfig:
    """Returns the stage with so many steps and another stream."""
    assert isinstance(stage.stream, FactStreamConfig), "a stage of facts in long texts"
    return replace(stage, num_steps=num_steps, stream=replace(stage.stream, **changes))


def _armt(run: RunConfig) -> ARMTConfig:
    assert isinstance(run.memory, ARMTConfig), "the memory of the QA1 recipe"
    return run.memory
