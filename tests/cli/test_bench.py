import json

from armt.benchmarking import sweep

SMALL = [
    part
    for change in (
        "num_tokens=64", "num_repeats=1", "context_lens=64,128", "memory.d_mem=4",
        "schedules=sequential,sequential eager",
    )
    for part in ("--set", change)
]  # fmt: skip


def test_figures_are_shown_written_and_drawn(run, tmp_path):
    out = tmp_path / "bench"
    result = run("bench", "read", "latency", "--out", out, "--shapes", "tiny", *SMALL)
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in (out / "records.jsonl").read_text().splitlines()]
    assert {row["params"]["shape"] for row in rows if row["name"] == "read.seconds"} == {"tiny"}
    assert "tiny, segment 64, batch 1" in result.stdout
    for name in ("read.tokens_per_s", "read.seconds", "memory.state_bytes", "full attention"):
        assert name in result.stdout
    assert "latency, tiny, segment 64, batch 1" in result.stderr
    for name in ("latency.png", "memory.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")
    again = run("bench", "ceiling", "--out", out)
    assert again.exit_code == 0
    assert len((out / "records.jsonl").read_text().splitlines()) == len(rows) + 2


def test_what_the_budget_leaves_out_is_told(run, tmp_path):
    result = run("bench", "read", "--out", tmp_path, "--budget", "0")
    assert result.exit_code == 0
    assert "No time was left for: read, tiny" in result.stderr
    assert not (tmp_path / "records.jsonl").exists()


def test_a_measurement_that_breaks_ends_with_code_1(run, tmp_path, monkeypatch):
    def broken(bench, case):
        raise RuntimeError("no such kernel")

    monkeypatch.setitem(sweep.MEASURES, "read", broken)
    result = run("bench", "read", "--out", tmp_path)
    assert result.exit_code == 1
    assert "Failed: read, tiny, segment 64, batch 1: no such kernel" in result.stderr


def test_mistakes_are_told(refused, tmp_path):
    out = ("--out", tmp_path)
    assert "Got 'reed'" in refused("bench", "reed", *out)
    assert "Did you mean 'small'" in refused("bench", "--shapes", "smal", *out)
    assert "--set takes PATH=VALUE" in refused("bench", *out, "--set", "num_repeats")
    assert "must be one of 'waves'" in refused("bench", *out, "--set", "schedules=wave")
