"""`armt list`: memories, recipes and tasks."""

from collections.abc import Sequence
from typing import Any

from armt.cli.console import results


def list_all() -> None:
    """List the memories, recipes and tasks."""
    from armt.core.registry import MEMORIES
    from armt.recipes.registry import RECIPES
    from armt.tasks.associative_retrieval import AssociativeRetrieval
    from armt.tasks.babi.catalogue import BABI_TASKS
    from armt.tasks.copy_reverse import CopyReverse
    from armt.tasks.factual_recall import FactualRecall
    from armt.tasks.language_modeling import LanguageModeling
    from armt.tasks.quadratic import Quadratic
    from armt.tasks.segment_facts import SegmentFacts
    from armt.tasks.tracking import Tracking

    _show("memories", [(card.name, card.summary, card.paper) for card in MEMORIES])
    _show("recipes", [(card.name, card.summary, card.paper) for card in RECIPES])
    stories = [
        (task.name, f"BABILong: {task.title.replace('-', ' ')}", "arXiv:2406.10149")
        for task in BABI_TASKS.values()
    ]
    others = [
        ("associative_retrieval", _summary(AssociativeRetrieval), "arXiv:2407.04841"),
        ("copy_reverse", _summary(CopyReverse), "arXiv:2207.06881"),
        ("factual_recall", _summary(FactualRecall), "arXiv:2412.06538"),
        ("language_modeling", _summary(LanguageModeling), "none"),
        ("quadratic", _summary(Quadratic), "arXiv:2207.06881"),
        ("segment_facts", _summary(SegmentFacts), "arXiv:2402.04624"),
        ("tracking", _summary(Tracking), "arXiv:2502.06049"),
    ]
    _show("tasks", [*others, *stories])


def _summary(thing: Any) -> str:
    return (thing.__doc__ or "").split("\n", maxsplit=1)[0]


def _show(title: str, rows: Sequence[tuple[str, str, str]]) -> None:
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in ("name", "what it is", "source"):
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*row)
    results().print(table)
    results().print()
