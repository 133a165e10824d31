from PIL import Image

from armt.benchmarking import plots
from armt.benchmarking.plots import draw_pictures
from armt.benchmarking.records import RecordBook

SIZES = {"shape": "tiny", "segment_len": 64, "batch": 1}


def test_latency_and_memory_are_drawn(tmp_path):
    book = RecordBook(tmp_path / "r.jsonl", 0, "abc")
    records = [
        book.add(name, value * tokens, "s", **SIZES, schedule=schedule, tokens=tokens)
        for name in ("read.seconds", "read.peak_bytes")
        for schedule, value in (("waves", 1.0), ("full attention", 2.0))
        for tokens in (64, 128)
    ]
    found = draw_pictures(records, tmp_path)
    assert [path.name for path in found] == ["latency.png", "memory.png"]
    for path in found:
        with Image.open(path) as image:
            assert image.width > 300
    assert draw_pictures(records[:4], tmp_path / "one") == [tmp_path / "one" / "latency.png"]
    assert draw_pictures([], tmp_path) == []


def test_the_last_figure_for_a_thing_is_drawn(tmp_path):
    book = RecordBook(tmp_path / "r.jsonl", 0, "abc")
    records = [
        book.add("read.seconds", value, "s", **SIZES, schedule="waves", tokens=tokens)
        for value, tokens in ((1.0, 128), (2.0, 64), (3.0, 128))
    ]
    panels = plots._panels(records, 1.0)
    assert panels == {"tiny, segment 64, batch 1": {"waves": {128: 3.0, 64: 2.0}}}
