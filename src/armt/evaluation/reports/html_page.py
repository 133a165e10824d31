"""A page about an evaluation: one HTML file that needs nothing else, for a desk and for a phone."""

import os
from collections.abc import Sequence
from importlib.resources import files

from armt.core.errors import ConfigError
from armt.core.files import write_text
from armt.evaluation.record import Record
from armt.evaluation.reports import html_results, html_subjects
from armt.evaluation.reports.html_parts import said
from armt.evaluation.reports.published import Standing, leaderboard_rows
from armt.evaluation.reports.series import into_series, subject_names

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<header class="top">
<h1>{title}</h1>
<p>{summary}</p>
<nav>{links}</nav>
</header>
<main>
{sections}</main>
</body>
</html>
"""


def write_report(
    records: Sequence[Record],
    path: str | os.PathLike[str],
    *,
    title: str = "BABILong evaluation",
    published: Sequence[Standing] | None = None,
    num_wrong: int = 40,
) -> None:
    """Writes the page.

    Args:
        records: everything that was measured, of any number of subjects.
        path: where to.
        title: stands above.
        published: what others measured, for the leaderboard; by default the published picture.
        num_wrong: wrong answers to show.

    Raises:
        ConfigError: there is no record.
        StorageError: the disk is full or refuses the file.
    """
    page = report_page(records, title=title, published=published, num_wrong=num_wrong)
    write_text(path, page)


def report_page(
    records: Sequence[Record],
    *,
    title: str = "BABILong evaluation",
    published: Sequence[Standing] | None = None,
    num_wrong: int = 40,
) -> str:
    """Returns the page as text; every text that comes from records is escaped.

    Raises:
        ConfigError: there is no record.
    """
    if not records:
        raise ConfigError("There is no record to report. Evaluate something first.")
    standings = leaderboard_rows() if published is None else published
    sections = {
        "accuracy": ("Accuracy", html_results.accuracy(records)),
        "lengths": ("By length", html_results.by_length(records)),
        "depth": ("By depth and distance", html_results.by_place(records)),
        "leaderboard": ("Leaderboard", html_results.leaderboard(records, standings)),
        "recall": ("Search", html_results.recall(records)),
        "failures": ("Failures", html_results.failures(records)),
        "wrong": ("Wrong answers", html_results.wrong_answers(records, num_wrong)),
        "measured": ("What was measured", html_subjects.measured(records)),
    }
    shown = {anchor: each for anchor, each in sections.items() if each[1]}
    links = [f'<a href="#{anchor}">{said(name)}</a>' for anchor, (name, _) in shown.items()]
    return _PAGE.format(
        title=said(title),
        style=files("armt.evaluation.reports").joinpath("report.css").read_text(encoding="utf-8"),
        summary=said(_summary(records)),
        links=" ".join(links),
        sections="".join(html for _, html in shown.values()),
    )


def _summary(records: Sequence[Record]) -> str:
    """What was asked, in one sentence."""
    subjects = len(set(subject_names(into_series(records)).values()))
    tasks = len({record.task for record in records})
    lengths = len({record.length for record in records})
    counts = [(len(records), "answer"), (subjects, "subject"), (tasks, "task"), (lengths, "length")]
    return ", ".join(f"{count:,} {name}{'' if count == 1 else 's'}" for count, name in counts) + "."
