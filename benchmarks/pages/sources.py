"""Tables that are made of the cards of memories and of the sources themselves."""

import ast
import inspect
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from armt.benchmarking.tables import to_markdown
from armt.core.config import MemoryConfig
from armt.core.registry import MEMORIES
from pages.runs import ROOT

SOURCES = ROOT / "src" / "armt"


def memories_table() -> str:
    """Returns the registered memories, from their cards."""
    rows = [
        [f"`{card.name}`", card.summary, paper_link(card.paper), _door(card.entry)]
        for card in MEMORIES
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


def paper_link(paper: str) -> str:
    """Returns a link to a paper of arXiv; what is none as it is."""
    number = paper.removeprefix("arXiv:")
    return paper if number == paper else f"[{paper}](https://arxiv.org/abs/{number})"


def _door(memory: type[Any]) -> str:
    return {"residual": "residual stream", "tokens": "tokens", "key_value": "keys and values"}[
        memory.door
    ]
