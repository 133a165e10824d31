import re
from html.parser import HTMLParser

import pytest

from armt.core.errors import ConfigError
from armt.evaluation.reports.html_page import report_page, write_report
from armt.evaluation.reports.published import Standing
from evaluation.records import cell, judged, record

VOID = {"meta", "br"}


class Outline(HTMLParser):
    """Checks that every element is closed and collects what a reader sees."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open, self.tags, self.words = [], [], []
        self.attributes = []
        self.feed(page)
        assert self.open == [], f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture
def records():
    facts = {"placement": "depth:0.5", "question_at": "end", "tokenizer": "tok123", "seed": 3}
    return [
        *cell(3, 4, length=0, metadata=facts),
        *cell(2, 4, metadata=facts | {"repetition": 2.5}),
        *cell(1, 4, arm="off", metadata=facts),
        *cell(1, 4, subject="a/causal", category="causal", knows_facts=False, arm="none",
              prompt_hash="beef01", answer="the office", num_dropped=7),
        record(9, subject="a/causal", category="causal", knows_facts=False, arm="none",
               prompt_hash="beef01", answer="", failure="HTTP 500", scores=judged(False)),
    ]  # fmt: skip


def test_the_page_is_whole_and_needs_nothing_else(records):
    page = report_page(records)
    outline = Outline(page)
    assert page.startswith("<!DOCTYPE html>")
    names = {name for name, _ in outline.attributes}
    assert not names & {"src", "srcset", "onclick"}
    assert {"script", "link", "iframe", "img"}.isdisjoint(outline.tags)
    assert "@import" not in page
    assert "url(" not in page
    links = [value for name, value in outline.attributes if name == "href"]
    anchors = {value for name, value in outline.attributes if name == "id"}
    assert links
    assert {link.removeprefix("#") for link in links} == anchors


def test_it_fits_dark_rooms_and_phones(records):
    page = report_page(records)
    assert 'name="viewport" content="width=device-width' in page
    assert "prefers-color-scheme: dark" in page
    assert page.count("<table") == page.count('<div class="scroll"><table')


def test_it_tells_what_was_measured(records):
    text = Outline(report_page(records, title="My title")).text
    for part in (
        "My title",
        "17 answers, 2 subjects, 1 task, 2 lengths.",
        "model with a recurrent memory",
        "knew the sentences of the tasks yes",
        "knew the sentences of the tasks no",
        "placement of the facts depth:0.5",
        "question told end",
        "tokenizer tok123",
        "up to 2.5 times",
        "prompt beef01",
        "shown a part of the context only 4",
    ):
        assert part in text, part


def test_both_metrics_and_arms_have_their_cells(records):
    page = report_page(records)
    text = Outline(page).text
    assert "Metric: reference" in text
    assert "Metric: strict" in text
    assert text.count("memory off 25.0 5–70") == 2
    assert text.count("memory on 75.0 30–95 50.0 15–85") == 2
    assert 'style="--a:75"' in page


def test_failures_and_wrong_answers_are_shown(records):
    text = Outline(report_page(records)).text
    assert "1 questions have no output" in text
    assert "HTTP 500" in text
    assert "Some of the 6 answers that are wrong" in text  # not those with the memory off
    page = report_page(records, num_wrong=2)
    assert page.count('class="wrong"') == 2  # one of each subject
    assert report_page(records).count('class="wrong"') == 6
    assert "answers that are wrong" not in Outline(report_page(records, num_wrong=0)).text


def test_constant_answers_are_shown_as_wrong_only_if_there_is_nothing_else(records):
    constant = [record(category="constant", subject="same", arm="none", scores=judged(False))]
    assert report_page([*records, *constant]).count('class="wrong"') == 6
    assert report_page(constant).count('class="wrong"') == 1


def test_published_rows_are_labelled_and_replaceable(records):
    text = Outline(report_page(records)).text
    assert "published, claimed context 128k" in text
    assert "Published rows were not measured here" in text
    other = [Standing("another model", 8000, {0: 50.0}, "a paper")]
    text = Outline(report_page(records, published=other)).text
    assert "another model" in text
    assert "GPT-4" not in text
    assert "Published rows" not in Outline(report_page(records, published=[])).text


def test_nothing_from_records_becomes_markup():
    evil = "<script>alert('x')</script><b>&amp;\"'"
    records = [
        record(
            subject=evil,
            category=evil,
            question=evil,
            answer=evil,
            truth=evil,
            subject_fingerprint=evil,
            task_fingerprint=evil,
            prompt_hash=evil,
            scores=judged(False),
            metadata={"placement": evil},
        ),
        record(1, subject=evil, failure=evil, scores=judged(False)),
    ]
    outline = Outline(report_page(records, title=evil))
    assert "script" not in outline.tags
    assert "b" not in outline.tags
    assert outline.text.count("<script>alert('x')</script>") > 6
    assert not [value for name, value in outline.attributes if name.startswith("on")]


def test_long_answers_are_shortened():
    page = report_page([record(answer="x" * 10_000, scores=judged(False))])
    assert "10,000 characters" in page
    assert "x" * 1000 not in page


def test_other_tasks_are_told_by_their_own_metric():
    records = [record(task="copy", scores={"exact": is_right}) for is_right in (True, False)]
    text = Outline(report_page(records, published=[])).text
    assert "Metric: exact" in text
    assert "reference" not in text


def test_searches_tell_what_they_found():
    records = [record(category="retrieval", details={"support_recall": 0.5}, arm="none")]
    text = Outline(report_page(records)).text
    assert "boxed: qa1 50" in text


def test_it_is_written_and_says_if_there_is_nothing(records, tmp_path):
    write_report(records, tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text() == report_page(records)
    with pytest.raises(ConfigError, match="no record to report"):
        write_report([], tmp_path / "none.html")


def test_curves_have_intervals_and_a_legend(records):
    page = report_page(records)
    assert page.count('<svg class="chart"') == 3
    assert "boxed, memory on: 75.0 % of 4" in page
    heights = [float(y) for y in re.findall(r'cy="([\d.]+)"', page)]
    assert all(0 < y < 270 for y in heights)
