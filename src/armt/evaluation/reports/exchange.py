"""Between records and the reference's result files: both ways."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from armt.evaluation.judging import judge
from armt.evaluation.record import Record
from armt.evaluation.reports.reference_files import (
    FLAG_NAMES,
    Prediction,
    ReferenceFile,
    as_reference_reads,
    file_stem,
    read_predictions,
    spell_flags,
    write_predictions,
    write_settings,
)
from armt.evaluation.reports.series import Series, into_series, subject_names

IMPORTED = "imported"
"""Category of records that come from a file: how the answers were made is not known."""

_OWN_ORGANISATION = "armt"
_PROMPT_FLAGS: tuple[str, ...] = FLAG_NAMES[:3]


def records_of(file: ReferenceFile) -> list[Record]:
    """Returns the rows of a result file as records; the configuration stands for the prompt.

    Raises:
        DataError: the file is damaged.
    """
    return [
        Record(
            subject=file.model,
            category=IMPORTED,
            knows_facts=False,
            subject_fingerprint="",
            prompt_hash=file.flags,
            task=file.task,
            task_fingerprint="",
            seed=0,
            length=file.length,
            index=index,
            arm="none",
            question=row.question,
            answer=row.output,
            truth=row.target,
            scores=_scores(file.task, row),
        )
        for index, row in enumerate(read_predictions(file.path))
    ]


def export_records(
    records: Iterable[Record],
    folder: str | os.PathLike[str],
    *,
    flags: Mapping[str, bool] | None = None,
) -> list[Path]:
    """Writes records as result files that the reference can collate; returns the csv paths.

    A subject becomes `org/model`; what it did without its memory, or when told the question first,
    becomes a model of its own, so that nothing is mixed up.

    Args:
        records: of any number of subjects, tasks and lengths.
        folder: where to; files of the same names are replaced.
        flags: which parts of the prompt were there; by default the three parts of a BABILong prompt
            if a subject had a prompt, and none if not.

    Raises:
        StorageError: the disk is full or refuses a file.
    """
    found = into_series(records)
    names = subject_names(found)
    paths: list[Path] = []
    for series, by_length in found.items():
        has_prompt = bool(series.prompt_hash)
        used = dict.fromkeys(_PROMPT_FLAGS, has_prompt) if flags is None else flags
        task, place = series.task.split("@")[0], _folder_of(names[series.asked], series)
        for length, cell in by_length.items():
            stem = Path(folder) / place / file_stem(task, length, spell_flags(used))
            ordered = sorted(cell, key=_index_of)
            path = stem.with_name(f"{stem.name}.csv")
            write_predictions(path, [_row(record) for record in ordered])
            prompt = {name: used.get(name, False) for name in FLAG_NAMES}
            hashes = {"hash": series.prompt_hash, "subject": series.subject_fingerprint}
            settings = path.with_suffix(".json")
            write_settings(settings, prompt | hashes, {"do_sample": False, "num_beams": 1})
            paths.append(path)
    return paths


def _scores(task: str, row: Prediction) -> dict[str, bool]:
    scores = judge(task, row.target, row.output, row.question)
    as_read = as_reference_reads(row.output)
    if as_read == row.output or "reference" not in scores:
        return scores
    known = judge(task, row.target, as_read, row.question)
    return scores | {"reference": known["reference"]}


def _row(record: Record) -> Prediction:
    return Prediction(record.truth, record.answer, record.question)


def _index_of(record: Record) -> int:
    return record.index


def _folder_of(name: str, series: Series) -> Path:
    parts = [_clean(part) for part in name.split("/") if part.strip(". ")]
    if len(parts) != 2:
        parts = [_OWN_ORGANISATION, "-".join(parts) or "unnamed"]
    marks = ["memory-off"] if series.arm == "off" else []
    marks += [f"question-{place}" for place in series.task.split("@")[1:]]
    return Path(parts[0]) / "-".join([parts[1], *marks])


def _clean(part: str) -> str:
    """Returns a name that any file system takes."""
    kept: Sequence[str] = [sign if sign.isalnum() or sign in "-_.+" else "-" for sign in part]
    return "".join(kept).strip("-. ") or "unnamed"
