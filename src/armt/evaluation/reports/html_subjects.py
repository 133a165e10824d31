"""What a reader must know of an evaluation to compare it: subjects, prompts, samples."""

from collections.abc import Iterable, Mapping, Sequence

from armt.evaluation.record import Record
from armt.evaluation.reports.exchange import IMPORTED
from armt.evaluation.reports.html_parts import code, note, said, section
from armt.evaluation.reports.series import into_series, subject_names, task_number
from armt.tasks.babilong.lengths import length_name

_CONSTANT = "constant"
_KINDS = {
    "recurrent": "model with a recurrent memory",
    "causal": "causal language model",
    "endpoint": "model behind an endpoint",
    "retrieval": "retrieval before a reader",
    "rules": "rules",
    _CONSTANT: "constant answer",
    IMPORTED: "imported predictions: how the answers were made is not known",
}
_NAMES = {
    "split": "split of the stories",
    "seed": "seed",
    "placement": "placement of the facts",
    "question_at": "question told",
    "facts": "facts",
    "background": "walk through the books",
    "counting": "tokens counted by",
    "tokenizer": "tokenizer",
    "store": "sentence store",
}
"""What a sample tells about its making, in the words of the page."""


def measured(records: Sequence[Record]) -> str:
    """Returns the section: a card for each subject and one for each making of samples."""
    found = into_series(records)
    names = subject_names(found)
    by_subject: dict[str, list[Record]] = {}
    by_making: dict[str, list[Record]] = {}
    for series, by_length in found.items():
        every = [record for cell in by_length.values() for record in cell]
        by_subject.setdefault(names[series.asked], []).extend(every)
        if series.task_fingerprint:
            by_making.setdefault(series.task_fingerprint, []).extend(every)
    subjects = "".join(_subject_card(name, every) for name, every in by_subject.items())
    makings = "".join(_samples_card(made, every) for made, every in _alike(by_making))
    parts = [
        note(
            "Scores are comparable only where the prompt, the samples and what a subject knew "
            "beforehand are the same."
        ),
        f'<h3>Subjects</h3><div class="cards">{subjects}</div>\n',
    ]
    if makings:
        parts.append(f'<h3>Samples</h3><div class="cards">{makings}</div>\n')
    return section("measured", "What was measured", *parts)


def _subject_card(name: str, records: Sequence[Record]) -> str:
    first = records[0]
    is_imported = first.category == IMPORTED
    knew = "not known" if is_imported else ("yes" if first.knows_facts else "no")
    truncated = sum(record.num_dropped > 0 for record in records)
    facts = {
        "kind": said(_KINDS.get(first.category, first.category)),
        "knew the sentences of the tasks": said(knew),
        "fingerprint": code(first.subject_fingerprint),
        "prompt": _prompts(records),
        "tasks": said(_join(sorted({record.task for record in records}, key=task_number))),
        "lengths": said(_join(map(length_name, sorted({record.length for record in records})))),
        "answers": f"{len(records):,}",
        "shown a part of the context only": f"{truncated:,}" if truncated else "never",
        "time": "not recorded" if is_imported else said(_spell_seconds(records)),
    }
    return _card(name, facts)


def _prompts(records: Sequence[Record]) -> str:
    """The hashes of the prompts, or that of their set; a constant answer is no prompt."""
    asked = [record for record in records if record.category != _CONSTANT]
    found = dict.fromkeys(record.prompt_set or record.prompt_hash for record in asked)
    hashes = _join(filter(None, found))
    return code(hashes) if hashes else "none"


def _samples_card(made: Sequence[str], records: Sequence[Record]) -> str:
    told: dict[str, str] = {}
    for key, name in _NAMES.items():
        values = {str(record.metadata[key]) for record in records if key in record.metadata}
        if values:
            told[name] = code(_join(sorted(values)))
    repeated = max((_number(record.metadata.get("repetition")) for record in records), default=0.0)
    if repeated > 1:
        told["books read over"] = f"up to {repeated:.1f} times"
    tasks = sorted({record.task for record in records}, key=task_number)
    shown = _join(made[:4]) + (f" and {len(made) - 4} more" if len(made) > 4 else "")
    label = "fingerprint" if len(made) == 1 else "fingerprints"
    return _card(_join(tasks), {label: code(shown), **told})


def _alike(by_making: Mapping[str, Sequence[Record]]) -> Iterable[tuple[list[str], list[Record]]]:
    """Yields makings that differ in nothing but the task together, so that the page stays short."""
    groups: dict[tuple[str, ...], tuple[list[str], list[Record]]] = {}
    for made, records in by_making.items():
        told = tuple(f"{key}={records[0].metadata.get(key)}" for key in _NAMES)
        fingerprints, every = groups.setdefault(told, ([], []))
        fingerprints.append(made)
        every.extend(records)
    return groups.values()


def _card(title: str, facts: Mapping[str, str]) -> str:
    """`facts` are HTML, `title` is not."""
    lines = "".join(f"<dt>{said(name)}</dt><dd>{value}</dd>" for name, value in facts.items())
    return f'<div class="card"><h3>{said(title)}</h3><dl>{lines}</dl></div>\n'


def _spell_seconds(records: Sequence[Record]) -> str:
    seconds = sum(record.seconds for record in records)
    return f"{seconds:.1f} s, {seconds / len(records):.3f} s an answer"


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _join(words: Iterable[str]) -> str:
    return ", ".join(words)
