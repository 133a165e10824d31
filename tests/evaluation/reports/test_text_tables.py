import csv

from armt.evaluation.reports.text_tables import escape_latex, to_csv, to_latex, to_markdown
from evaluation.records import cell, judged, record


def test_markdown_has_a_row_for_each_metric():
    scores = judged(False) | {"strict": True}
    records = [*cell(3, 4, length=0), record(length=16000, scores=scores)]
    assert to_markdown(records).splitlines() == [
        "| subject | task | arm | metric | 0k | 16k |",
        "| --- | --- | --- | --- | ---: | ---: |",
        "| boxed | qa1 | memory on | reference | 75.0 [30.1, 95.4] | 0.0 [0.0, 79.3] |",
        "| boxed | qa1 | memory on | strict | 75.0 [30.1, 95.4] | 100.0 [20.7, 100.0] |",
    ]


def test_no_records_give_an_empty_table():
    head = ["| subject | task | arm | metric |", "| --- | --- | --- | --- |"]
    assert to_markdown([]).splitlines() == head
    assert len(to_csv([]).splitlines()) == 1


def test_tasks_without_labels_have_rows_of_their_own_metric_only():
    records = [record(task="copy", scores={"exact": True})]
    assert len(to_markdown(records).splitlines()) == 2
    assert "| copy | memory on | exact |" in to_markdown(records, ["reference", "exact"])


def test_signs_of_markdown_and_latex_are_escaped():
    records = [record(subject="a|b_c 5%\n#", arm="none")]
    assert "| a\\|b_c 5% # | qa1 |  | reference |" in to_markdown(records)
    assert r"b\_c 5\%" in to_latex(records)
    assert escape_latex("\\{~^&$#") == (
        r"\textbackslash{}\{\textasciitilde{}\textasciicircum{}\&\$\#"
    )


def test_latex_is_a_whole_table():
    lines = to_latex([*cell(3, 4), *cell(4, 4, length=0)]).splitlines()
    assert lines[0] == r"\begin{tabular}{llllrr}"
    assert lines[4] == (
        r"boxed & qa1 & memory on & reference & 100.0 {\scriptsize [51, 100]} & "
        r"75.0 {\scriptsize [30, 95]} \\"
    )
    assert lines[-1] == r"\end{tabular}"
    assert all(line.count("&") == 5 for line in lines if "&" in line)


def test_csv_tells_counts_failures_and_cuts():
    records = [
        *cell(3, 4),
        record(4, failure="it timed out", scores=judged(False)),
        record(5, num_dropped=10, scores=judged(False), truth="office"),
        record(6, details={"support_recall": 0.25}),
    ]
    rows = list(csv.DictReader(to_csv(records).splitlines()))
    assert [row["metric"] for row in rows] == ["reference", "strict", "exact"]
    first = rows[0]
    assert (first["num_correct"], first["num_samples"]) == ("4", "7")
    assert (first["num_failures"], first["num_truncated"]) == ("1", "1")
    assert (first["chance"], first["support_recall"]) == ("0.8571", "0.2500")
    assert len(to_csv(records, ["exact"]).splitlines()) == 2
    assert float(first["low"]) < float(first["accuracy"]) < float(first["high"])
