"""Imports go down only, and each foreign library has one place to enter."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from house.sources import ROOT, SRC, imports_in, short_name, source_files, tree_of

ABOVE_MEMORIES = (
    "recurrence", "evaluation", "serving", "training", "benchmarking", "comparison", "recipes",
    "cli", "web",
)  # fmt: skip
# Import name -> the folders of src/armt that may import it.
DOORS = {
    "transformers": ("backbones", *ABOVE_MEMORIES),
    "triton": ("ops",),
    "faiss": ("ops",),
    "fastapi": ("serving", "web"),
    "uvicorn": ("serving", "web"),
    "typer": ("cli",),
    "matplotlib": ("evaluation", "training", "benchmarking", "comparison", "cli"),
    "peft": ("training", "recipes", "backbones"),
    "datasets": ("tasks", "training", "recipes"),
}


def test_imports_go_down_only():
    command = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run(
        [command, "--no-cache"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "0 broken" in result.stdout


@pytest.mark.parametrize("library", DOORS)
def test_a_foreign_library_enters_by_its_door(library):
    strangers = [
        short_name(path)
        for path in source_files()
        if library in imports_in(tree_of(path))
        and path.relative_to(SRC).parts[0].removesuffix(".py") not in DOORS[library]
    ]
    assert not strangers, f"{library} may be imported in {DOORS[library]} only: {strangers}"


def test_every_folder_is_a_package_or_holds_no_code():
    folders = {path.parent for path in source_files()}
    missing = [str(f.relative_to(SRC)) for f in folders if not (f / "__init__.py").is_file()]
    assert not missing, f"These folders lack an __init__.py: {missing}"
