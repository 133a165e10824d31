"""README and docs say what the code does and what the records hold."""

import contextlib
import io
import json
import re

import pytest
import tables
from pages import charts, goals, pictures, runs, speed_targets, targets
from pages.speed import bench_records
from PIL import Image

from armt.core.registry import MEMORIES
from house.sources import ROOT, short_name, source_files

REMEDY = "Run: python benchmarks/tables.py"
RECORD_FIELDS = {
    "name", "value", "unit", "params", "seed", "hardware", "versions", "commit", "command", "date",
}  # fmt: skip
PYTHON = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
RECORD_LINK = re.compile(r"\]\(benchmarks/results/([\w.-]+)\.jsonl\)")
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
    paths = sorted(runs.RESULTS.glob("*.jsonl"))
    rows = [path for path in paths if not path.stem.endswith("-log")]
    return [json.loads(line) for path in rows for line in path.read_text().splitlines()]


def recorded(name, **params):
    """The one value of this name and these parameters among the runs that are shown."""
    shown = (runs.BOXED_RUN, *runs.RETRIEVAL_RUNS)
    found = [
        each.value for each in runs.figures(shown, name) if params.items() <= each.params.items()
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
    assert charts.said_in(pictures.HEATMAP) == pictures.heatmap_cells(), REMEDY
    with Image.open(pictures.HEATMAP) as image:
        assert image.width > image.height > 100


def test_a_heat_map_says_what_it_shows(tmp_path):
    pictures.draw_heatmap(tmp_path / "map.png")
    assert charts.said_in(tmp_path / "map.png") == pictures.heatmap_cells()


@pytest.mark.parametrize("name", pictures.PICTURES)
def test_the_pictures_of_the_report_show_the_records(name):
    drawn, path = pictures.PICTURES[name].charts(), pictures.IMAGES / f"{name}.png"
    digest = charts.charts_digest(drawn) if drawn else None
    assert charts.said_in(path) == digest, REMEDY


def test_a_picture_is_drawn_from_the_records_alone(tmp_path):
    drawn = pictures.qa1_charts()
    charts.draw_charts(drawn, tmp_path / "qa1.png")
    assert charts.said_in(tmp_path / "qa1.png") == charts.charts_digest(drawn)
    lines = [line for chart in drawn for line in chart.lines]
    shares = runs.figures(runs.QA1_RUNS, runs.ACCURACY)
    whole = [each for each in shares if each.params.get("asked", "everyone") == "everyone"]
    on = {100 * each.value for each in whole if each.params["memory"] == "on"}
    assert {height for line in lines if not line.is_off for height in line.heights} == on
    worse = [drawn[0]._replace(lines=drawn[0].lines[1:]), *drawn[1:]]
    assert charts.charts_digest(worse) != charts.charts_digest(drawn)


def test_every_miss_has_a_word_of_why_and_of_what_was_tried():
    assert goals.unexplained([*targets.TARGETS, *speed_targets.SPEED_TARGETS]) == []


def test_a_target_says_by_how_much_it_is_missed():
    def row(goal, value, **more):
        found = None if value is None else goals.Found(value, "told")
        target = goals.Target("t", goal, lambda: found, why="why", tried="tried", **more)
        return goals.goal_row(target)

    assert row(95.0, 90.0) == ["t", "at least 95 %", "90.0 %, told", "5.0", "why", "tried"]
    assert row(95.0, 95.0) == ["t", "at least 95 %", "95.0 %, told", "met", "", ""]
    assert row(3.0, 4.5, is_upper=True)[3] == "1.5"
    assert row(95.0, None) == ["t", "at least 95 %", goals.UNKNOWN, "", "why", "tried"]


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
    seconds = recorded("train.seconds", recipe="armt_babilong_qa1")
    now = next(iter(runs.RETRIEVAL_RUNS))
    longest = max(each.params["tested"] for each in runs.figures([now], runs.EXACT_MATCH))
    speed = {name: read_speed("gpt2-small", name) for name in ("waves", "sequential eager")}
    whole = {name: seconds_of_context("llama-1b", name) for name in ("waves", "full attention")}
    benches = "h100-2026-11-27-bench"
    said = {
        f"on one H100 in {seconds:.0f} seconds": runs.BOXED_RUN,
        f"retrieval to {longest:,} updates": now,
        f"a text at {speed['waves'] / 1e6:.2f} million tokens a second": benches,
        f"{speed['waves'] / speed['sequential eager']:.0f} times the plain loop": benches,
        f"131,072 tokens {whole['full attention'] / whole['waves']:.1f} times faster": benches,
    }
    for claim, run in said.items():
        (paragraph,) = [each for each in readme_paragraphs() if claim in each]
        after = paragraph.split(claim)[1]
        assert RECORD_LINK.findall(after)[:1] == [run], claim


def test_every_claim_of_the_readme_with_a_number_links_to_its_record():
    results = (ROOT / "README.md").read_text(encoding="utf-8").split("## Heat map and results")[1]
    prose = readme_paragraphs(results.split("\n## ")[0])
    with_numbers = [each for each in prose if re.search(r"\d", LINK.sub("]()", each))]
    assert with_numbers
    assert [each for each in with_numbers if not RECORD_LINK.search(each)] == []


def readme_paragraphs(text=None):
    """The paragraphs of the README, or of a part of it, without tables, pictures and code."""
    if text is None:
        text = (ROOT / "README.md").read_text(encoding="utf-8")
    text = re.sub(
        r"^```.*?^```|<!-- table.*?<!-- end -->", "", text, flags=re.DOTALL | re.MULTILINE
    )
    paragraphs = [" ".join(each.split()) for each in text.split("\n\n")]
    return [each for each in paragraphs if each and not each.startswith("![")]


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
        for each in bench_records()
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
