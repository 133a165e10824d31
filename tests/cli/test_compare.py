import pytest

from armt.comparison.config import SETTINGS
from comparison.small import small_comparison


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A setting of this name, small enough for a test."""
    card = SETTINGS["smoke"]
    config = small_comparison(tmp_path / "books")
    monkeypatch.setitem(SETTINGS._cards, "small", type(card)(name="small", entry=lambda: config))


def test_a_comparison_is_shown_written_and_drawn(run, small, tmp_path):
    out = tmp_path / "out"
    result = run("compare", "small", "--out", out)
    assert result.exit_code == 0, result.output
    assert "1 of 6: armt, retrieval, seed 0" in result.stderr
    assert result.stdout == (out / "table.md").read_text(encoding="utf-8")
    for name in ("`armt`", "`none`", "QA1 at 2 segments", "bits a byte, segment 4"):
        assert name in result.stdout
    assert (out / "table.csv").read_text(encoding="utf-8").startswith("mechanism,figure,at,arm")
    for name in ("heatmap.png", "pareto.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")
    again = run("compare", "small", "--out", out)
    assert (again.exit_code, again.stdout) == (0, result.stdout)
    assert "of 6" not in again.stderr


def test_a_memory_that_fails_ends_with_code_1(run, small, tmp_path):
    changes = ("memories=hmt", "memory_options=hmt.num_sensory=15")
    told = [part for change in changes for part in ("--set", change)]
    result = run("compare", "small", "--out", tmp_path / "out", *told)
    assert result.exit_code == 1
    assert "Failed: hmt, retrieval, seed 0: ConfigError: This memory needs" in result.stderr
    assert "| retrieval, seed 0: ConfigError" in result.stdout


def test_mistakes_are_told(refused, tmp_path):
    out = ("--out", tmp_path)
    assert "Did you mean 'smoke'" in refused("compare", "smok", *out)
    assert "Did you mean 'rmt'" in refused("compare", "smoke", *out, "--set", "memories=rnt")
    assert "no option 'memory'" in refused("compare", "smoke", *out, "--set", "memory=armt")
    assert list(tmp_path.iterdir()) == []
