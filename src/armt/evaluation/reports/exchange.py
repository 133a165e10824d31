"""Between records and the reference's result files: both ways."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from armt.core.errors import DataError
from armt.evaluation.judging import judge
from armt.evaluation.record import Record
from armt.evaluation.reports.reference_files import (
    FLAG_NAMES,
    Prediction,
    ReferenceFile,
    as_reference_reads,
    file_stem,
    parse_flags,
    read_predictions,
    spell_flags,
    write_predictions,
    write_settings,
)
from armt.evaluation.reports.series import (
    HASH_LEN,
    ByLength,
    Series,
    into_series,
    subject_names,
    task_names,
)

IMPORTED = "imported"
"""Category of records that come from a file: how the answers were made is not known."""

_OWN_ORGANISATION = "armt"
_PROMPT_FLAGS: tuple[str, ...] = FLAG_NAMES[:3]
_MARKS = {"both": "question-both"}
_GENERATION = {"do_sample": False, "num_beams": 1}


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
            prompt_flags=file.flags,
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

    A subject becomes `org/model`; what it did without its memory, when told the question first, in
    a control, or on samples of another making, becomes a model of its own, so that nothing is mixed
    up. A json file beside each csv tells the prompt, but for imported rows.

    Args:
        records: of any number of subjects, tasks and lengths.
        folder: where to; files of the same names are replaced.
        flags: which parts of the prompt were there; by default what the records tell. Of older ones
            that have a prompt and do not tell, the three parts of a BABILong prompt.

    Raises:
        StorageError: the disk is full or refuses a file.
    """
    found = into_series(records)
    places = _places(found, None if flags is None else spell_flags(flags), Path(folder))
    for (series, length), (stem, spelled) in places.items():
        cell = sorted(found[series][length], key=_index_of)
        write_predictions(_with_ending(stem, "csv"), [_row(record) for record in cell])
        if cell[0].category != IMPORTED:  # of others it is not known how they were made
            hashes = {"hash": series.prompt_hash, "subject": series.subject_fingerprint}
            prompt = dict.fromkeys(FLAG_NAMES, False) | parse_flags(spelled) | hashes
            write_settings(_with_ending(stem, "json"), prompt, _GENERATION)
    return [_with_ending(stem, "csv") for stem, _ in places.values()]


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


def _places(
    found: Mapping[Series, ByLength], flags: str | None, folder: Path
) -> dict[tuple[Series, int], tuple[Path, str]]:
    """Returns the path of each cell, without its ending, and the flags in it.

    Raises:
        DataError: a path comes twice.
    """
    told = {
        series: _flags_of(by_length) if flags is None else flags
        for series, by_length in found.items()
    }
    names, tasks = subject_names(found, told), task_names(found)
    places: dict[tuple[Series, int], tuple[Path, str]] = {}
    taken: dict[Path, str] = {}
    for series, by_length in found.items():
        name, task = names[series.asked], series.task.split("@")[0]
        making = _making_of(series, found) if tasks[series] != series.task else ""
        inside = folder / _folder_of(name, series, making)
        for length in by_length:
            stem = inside / file_stem(task, length, told[series])
            if stem in taken:
                raise DataError(
                    f"'{taken[stem]}' and '{name}' would both be written to '{stem}.csv'. Report "
                    "them apart, or evaluate one of them under another name."
                )
            taken[stem] = name
            places[series, length] = stem, told[series]
    return places


def _flags_of(by_length: ByLength) -> str:
    """Returns what a row tells of its prompt, spelled as in a file's name."""
    records = [record for cell in by_length.values() for record in cell]
    told = next((record.prompt_flags for record in records if record.prompt_flags), "")
    if told or records[0].category == IMPORTED:
        return told
    # Older records tell no more than whether there was a prompt.
    return spell_flags(dict.fromkeys(_PROMPT_FLAGS, bool(records[0].prompt_hash)))


def _making_of(series: Series, found: Mapping[Series, ByLength]) -> str:
    """Returns what tells the samples of a row from those of its twins: the seed, if that does."""
    seeds = {
        other.task_fingerprint: next(iter(by_length.values()))[0].seed
        for other, by_length in found.items()
        if (other.asked, other.task) == (series.asked, series.task)
    }
    if 1 < len(seeds) == len(set(seeds.values())):
        return f"seed-{seeds[series.task_fingerprint]}"
    return f"samples-{series.task_fingerprint[:HASH_LEN]}"


def _folder_of(name: str, series: Series, making: str) -> Path:
    """Returns the folder of a row; `making` tells it from others that differ in the samples."""
    parts = [_clean(part) for part in name.split("/") if part.strip(". ")]
    if len(parts) != 2:
        parts = [_OWN_ORGANISATION, "-".join(parts) or "unnamed"]
    marks = ["memory-off"] if series.arm == "off" else []
    marks += [_MARKS.get(mark, mark) for mark in series.task.split("@")[1:]]
    marks += [_clean(making)] if making else []
    return Path(parts[0]) / "-".join([parts[1], *marks])


def _with_ending(stem: Path, ending: str) -> Path:
    return stem.with_name(f"{stem.name}.{ending}")


def _clean(part: str) -> str:
    """Returns a name that any file system takes."""
    kept: Sequence[str] = [sign if sign.isalnum() or sign in "-_.+" else "-" for sign in part]
    return "".join(kept).strip("-. ") or "unnamed"
