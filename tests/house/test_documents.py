"""README and docs say what the code does and what the records hold."""

import contextlib
import importlib.util
import io
import json
import re

import pytest
from PIL import Image

from armt.core.registry import MEMORIES
from house.sources import ROOT, short_name, source_files

_SPEC = importlib.util.spec_from_file_location("tables", ROOT / "benchmarks" / "tables.py")
tables = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(tables)

REMEDY = "Run: python benchmarks/tables.py"
RECORD_FIELDS = {
    "name", "value", "unit", "params", "seed", "hardware", "versions", "commit", "command", "date",
}  # fmt: skip
PYTHON = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
DOCUMENTS = tables.documents()
BLOCKS = {
    f"{path.relative_to(ROOT)}-{number}": block
    for path in DOCUMENTS
    for number, block in enumerate(PYTHON.findall(path.read_text(encoding="utf-8")))
}


def marked(name):
    """The tables of a name, in all documents."""
    texts = [path.read_text(encoding="utf-8") for path in DOCUMENTS]
    found = [match for text in texts for match in tables.MARKED.finditer(text) if match[2] == name]
    return [match[0].removeprefix(match[1]).removesuffix(match[3]) for match in found]


def record_rows():
    paths = sorted(tables.RESULTS.glob("*.jsonl"))
    rows = [path for path in paths if not path.stem.endswith("-log")]
    return [json.loads(line) for path in rows for line in path.read_text().splitlines()]


def recorded(name, **params):
    """The one value of this name and these parameters among the runs that are shown."""
    runs = (tables.BOXED_RUN, *tables.RETRIEVAL_RUNS)
    found = [
        each.value
        for run in runs
        for each in tables.load_measured(run)
        if each.name == name and params.items() <= each.params.items()
    ]
    assert len(found) == 1, f"{name} {params}: {found}"
    return found[0]


@pytest.mark.parametrize("name", sorted(set(tables.TABLES) - {"modules"}))
def test_tables_are_what_the_script_makes(name):
    assert marked(name), f"No document holds the table '{name}'."
    for text in marked(name):
        assert text == tables.TABLES[name](), REMEDY


def test_the_map_of_the_tree_lists_every_module():
    (text,) = marked("modules")
    listed = re.findall(r"^- `([^`]+)`: \S", text, re.MULTILINE)
    assert sorted(listed) == sorted(short_name(path) for path in source_files()), REMEDY


def test_the_table_of_memories_is_the_registry():
    (text,) = marked("memories")
    assert re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE) == [card.name for card in MEMORIES]


def test_the_heat_map_shows_the_records():
    with Image.open(tables.HEATMAP) as image:
        assert image.text[tables.CELLS_KEY] == tables.heatmap_cells(), REMEDY
        assert image.width > image.height > 100


def test_a_heat_map_says_what_it_shows(tmp_path):
    tables.draw(tmp_path / "map.png")
    with Image.open(tmp_path / "map.png") as image:
        assert image.text == {tables.CELLS_KEY: tables.heatmap_cells()}


def test_filling_replaces_what_stands_between_the_marks():
    text = "a\n<!-- table: memories -->\nold\n<!-- end -->\nb\n"
    expected = f"a\n<!-- table: memories -->\n{tables.TABLES['memories']()}<!-- end -->\nb\n"
    assert tables.filled(text) == expected
    assert tables.filled(expected) == expected


def test_records_are_whole():
    rows = record_rows()
    assert rows
    for row in rows:
        assert set(row) == RECORD_FIELDS, row


def test_shares_are_of_whole_questions():
    shares = [row for row in record_rows() if row["unit"] == "share"]
    assert shares
    for row in shares:
        num_correct = row["value"] * row["params"]["num_samples"]
        assert 0 <= row["value"] <= 1, row
        assert num_correct == round(num_correct), row


def test_figures_in_the_prose_of_the_readme_are_recorded():
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    seconds = recorded("train.seconds", recipe="armt_babilong_qa1")
    longest = max(
        each.params["tested"]
        for each in tables.load_measured("h200-2026-11-25-retrieval")
        if each.name == "retrieval.exact_match"
    )
    speed = {name: read_speed("gpt2-small", name) for name in ("waves", "sequential eager")}
    whole = {name: seconds_of_context("llama-1b", name) for name in ("waves", "full attention")}
    said = [
        f"on one H100 in {seconds:.0f} seconds",
        f"retrieval to {longest:,} updates",
        f"one text at {speed['waves'] / 1e6:.2f} million tokens a second",
        f"{speed['waves'] / speed['sequential eager']:.0f} times the plain loop",
        f"131,072 tokens {whole['full attention'] / whole['waves']:.1f} times faster than full",
    ]
    assert [each for each in said if each not in text] == []


def read_speed(shape, schedule):
    """Tokens a second that one text was read at on a GPU."""
    params = {"shape": shape, "schedule": schedule, "batch": 1}
    return bench_figure("read.tokens_per_s", params)


def seconds_of_context(shape, schedule):
    """Seconds that the longest text took that full attention was compared on."""
    return bench_figure(
        "read.seconds", {"shape": shape, "schedule": schedule, "tokens": 131072, "batch": 1}
    )


def bench_figure(name, params):
    found = [
        each.value
        for each in tables.bench_records()
        if each.name == name and params.items() <= each.params.items()
    ]
    assert len(found) == 1, (name, params)
    return found[0]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    targets = LINK.findall(path.read_text(encoding="utf-8"))
    local = [target for target in targets if "://" not in target]
    assert [each for each in local if not (path.parent / each).exists()] == []


@pytest.mark.parametrize("name", BLOCKS)
def test_code_runs_and_prints_what_it_says(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(BLOCKS[name], name, "exec"), {"__name__": "__main__"})
    lines = BLOCKS[name].splitlines()
    expected = [line.split("  # ", 1)[1] for line in lines if line.lstrip().startswith("print(")]
    assert printed.getvalue().splitlines() == expected


def test_the_readme_has_code():
    assert sum(name.startswith("README") for name in BLOCKS) >= 1
