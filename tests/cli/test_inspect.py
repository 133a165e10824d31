import json


def test_findings_are_shown_written_and_drawn(run, model, book, tmp_path):
    out = tmp_path / "out"
    result = run("inspect", book, "--model", model, "--out", out)
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in (out / "findings.jsonl").read_text().splitlines()]
    names = ("memory_share", "token_cosine", "state_norm", "write_gate")
    assert {row["figure"] for row in rows} == set(names)
    assert result.stdout.split()[:5] == ["layer", *names]
    assert len(result.stdout.splitlines()) == 1 + len({row["layer"] for row in rows})
    assert (out / "findings.png").read_bytes().startswith(b"\x89PNG")


def test_mistakes_are_told(refused, model, book, tmp_path):
    short = tmp_path / "short.txt"
    _ = short.write_text("Mary went to the garden.")
    out = ("--out", tmp_path / "out")
    assert "16 tokens each" in refused("inspect", short, "--model", model, *out)
    assert "nowhere" in refused("inspect", tmp_path / "nowhere", *out)
    assert "nowhere" in refused("inspect", book, "--model", tmp_path / "nowhere", *out)
    assert not (tmp_path / "out").exists()
