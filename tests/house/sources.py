"""The source files of armt and what can be measured on them without running them."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SRC = ROOT / "src" / "armt"

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
NESTING = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.Match)
SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


def source_files() -> list[Path]:
    """All Python files of the package, sorted."""
    return sorted(SRC.rglob("*.py"))


def short_name(path: Path) -> str:
    """The path as a person would say it, such as `core/state.py`."""
    return path.relative_to(SRC).as_posix()


@cache
def tree_of(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def functions_in(tree: ast.AST) -> Iterator[FunctionNode]:
    """Every function and method, nested ones too."""
    for node in ast.walk(tree):
        if isinstance(node, FunctionNode):
            yield node


def num_lines(function: FunctionNode) -> int:
    """Lines from `def` to the end, docstring included, decorators not."""
    assert function.end_lineno is not None
    return function.end_lineno - function.lineno + 1


def num_parameters(function: FunctionNode) -> int:
    """Parameters a caller may give; `self` and `cls` are not."""
    args = function.args
    named = [*args.posonlyargs, *args.args, *args.kwonlyargs]
    stars = [star for star in (args.vararg, args.kwarg) if star is not None]
    return len([arg for arg in named if arg.arg not in ("self", "cls")]) + len(stars)


def nesting_depth(node: ast.AST) -> int:
    """How many `if`, `for`, `while`, `with`, `try` and `match` stand inside one another.

    An `elif` stands beside its `if`; a function inside counts for itself.
    """
    deepest = 0
    for child in ast.iter_child_nodes(node):
        if isinstance(child, SCOPES):
            continue
        is_step = isinstance(child, NESTING) and not _is_elif(child, node)
        deepest = max(deepest, nesting_depth(child) + is_step)
    return deepest


def _is_elif(child: ast.AST, parent: ast.AST) -> bool:
    return isinstance(parent, ast.If) and isinstance(child, ast.If) and parent.orelse == [child]


def imports_in(tree: ast.AST) -> set[str]:
    """Top-level names of the packages that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found
