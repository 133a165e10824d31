import json
import re
from dataclasses import replace

import pytest

from armt.recipes.registry import RECIPES
from armt.reproduction.row import ROWS
from armt.reproduction.work import TrainAndRecall
from comparison.small import books

NAMES = [card.name for card in ROWS]
QA1_LINE = "babilong.accuracy (task qa1, tokens 1k, memory on): measured"


@pytest.fixture
def cut(monkeypatch):
    """Cuts a recipe down to a step for each stage and few rows."""

    def cut_down(name, **changes):
        card = RECIPES[name]
        run = card.entry()
        stages = tuple(replace(stage, num_steps=1, batch_size=4) for stage in run.stages)
        short = replace(run, stages=stages, log_every=1, **changes)
        monkeypatch.setitem(RECIPES._cards, name, replace(card, entry=lambda: short))

    return cut_down


def figures(folder):
    rows = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    return [(row["name"], row["params"].get("tested")) for row in rows]


def test_without_a_name_the_rows_are_listed(run):
    result = run("reproduce")
    assert result.exit_code == 0, result.output
    told = result.stdout
    assert [line.split(":")[0] for line in told.splitlines() if line[0] != " "] == NAMES
    qa1 = told[told.index("babilong-qa1") : told.index("babilong-qa2")]
    assert "runs: train armt_babilong_qa1, read 64k:256" in qa1
    assert re.search(r"recorded: NVIDIA H100 80GB HBM3, \d+\.\d minutes, 2026-11-27", qa1)
    assert "time not kept" in told
    assert run("reproduce", "--seed", 99).stdout.count("recorded: no record here") == len(NAMES)


def test_a_row_is_trained_measured_and_set_beside_its_record(run, cut, tmp_path):
    cut("armt_babilong_qa1_tiny")
    where = ("--out", tmp_path / "out", "--background", books(tmp_path / "books"))
    result = run("reproduce", "babilong-qa1", "--tiny", *where)
    assert result.exit_code == 0, result.output
    assert f"{QA1_LINE} " in result.stdout
    assert "no record here" in result.stdout
    assert "step 4/4" in result.stderr
    again = run("reproduce", "babilong-qa1", "--tiny", *where)
    assert (again.exit_code, again.stdout) == (0, result.stdout)
    assert "step 4/4" not in again.stderr
    refused = run("reproduce", "babilong-qa1", "--tiny", "--seed", 1, *where)
    assert refused.exit_code == 2
    assert "holds a run with other options (seed)" in refused.stderr


def test_what_is_recorded_stands_beside_and_what_is_missing_is_made_up_for(
    run, cut, monkeypatch, tmp_path
):
    card = ROWS["retrieval-rewrite"]
    work = TrainAndRecall("armt_retrieval_rewrite", (2, 50), num_samples=2)
    row = replace(card.entry(), work=work)
    monkeypatch.setitem(ROWS._cards, card.name, replace(card, entry=lambda: row))
    cut("armt_retrieval_rewrite", **small_parts())
    out = tmp_path / "out"
    result = run("reproduce", card.name, "--out", out)
    assert result.exit_code == 0, result.output
    (recorded,) = [each.value for each in row.recorded(0) if each.params.get("tested") == 50]
    lines = result.stdout.splitlines()
    ends = {
        number: next(each for each in lines if f"tested {number}," in each) for number in (2, 50)
    }
    assert ends[50].endswith(f"recorded {recorded:.4g}")
    assert ends[2].endswith("no record here")
    whole = figures(out)
    kept = (out / "records.jsonl").read_text().splitlines(keepends=True)[:-1]
    _ = (out / "records.jsonl").write_text("".join(kept))
    assert run("reproduce", card.name, "--out", out).exit_code == 0
    assert figures(out) == whole


def small_parts():
    tiny = RECIPES["armt_retrieval_rewrite_tiny"].entry()
    return {name: getattr(tiny, name) for name in ("backbone", "memory", "recurrence")}


def test_mistakes_are_told(refused, tmp_path):
    out = ("--out", tmp_path)
    assert "Did you mean 'bench-read'" in refused("reproduce", "bench-red", *out)
    assert "--out runs/bench-read" in refused("reproduce", "bench-read")
    texts = ("--background", "books")
    assert "reads no text" in refused("reproduce", "bench-read", *out, *texts)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", NAMES)
def test_every_row_runs_in_small(name, run, tmp_path):
    result = run("reproduce", name, "--tiny", "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert ": measured " in result.stdout
