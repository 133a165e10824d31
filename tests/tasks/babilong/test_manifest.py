import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from armt.core.errors import DataError
from armt.tasks.babilong import BabilongTaskConfig
from armt.tasks.babilong.manifest import (
    Manifest,
    check_manifest,
    make_manifest,
    read_manifest,
    sample_digest,
    write_manifest,
)

CONFIG = BabilongTaskConfig(seed=7)
IN_A_PROCESS = """
import sys
from tokenizers import Tokenizer
from armt.tasks.babilong.manifest import sample_digest
from armt.tasks.babilong.store import BackgroundStore
from armt.tasks.babilong.task_config import BabilongTaskConfig
from armt.tasks.encoder import TokenizerEncoder
folder, length, *indices = sys.argv[1:]
encoder = TokenizerEncoder(Tokenizer.from_file(folder + "/tokenizer.json"))
task = BabilongTaskConfig(seed=7).build(BackgroundStore.load(folder + "/store"), encoder)
print(*(sample_digest(task.sample(length, int(index))) for index in indices))
"""


@pytest.fixture(scope="module")
def task(store, encoder):
    return CONFIG.build(store, encoder)


@pytest.fixture(scope="module")
def manifest(task):
    return make_manifest(task, ["0k", "1k", 4000], 4)


def test_a_digest_is_over_ids_question_and_answer(task):
    sample = task.sample("1k", 0)
    ids = np.concatenate(list(sample.context())).astype("<u4").tobytes()
    data = ids + b"\0" + sample.question.encode() + b"\0" + sample.answer.encode()
    assert sample_digest(sample) == hashlib.blake2b(data, digest_size=16).hexdigest()


def test_a_manifest_names_every_sample(manifest, task):
    cells = [(entry.length, entry.index) for entry in manifest.samples]
    assert cells == [(length, index) for length in (0, 1000, 4000) for index in range(4)]
    assert len({entry.digest for entry in manifest.samples}) == 12
    assert all(
        entry.context_len == task.sample(entry.length, entry.index).context_len
        for entry in manifest.samples
    )


def test_a_manifest_is_written_read_and_holds(manifest, task, tmp_path):
    path = tmp_path / "qa1.json"
    write_manifest(path, manifest)
    assert read_manifest(path) == manifest
    seen = []
    check_manifest(read_manifest(path), task, on_sample=lambda *cell: seen.append(cell))
    assert len(seen) == 12


def test_the_order_does_not_matter(manifest, task):
    entries = list(manifest.samples)
    np.random.default_rng(0).shuffle(entries)
    for entry in entries:
        assert sample_digest(task.sample(entry.length, entry.index)) == entry.digest


def test_another_process_makes_the_same_samples(manifest, store, encoder, tmp_path):
    store.save(tmp_path / "store")
    encoder.tokenizer.save(str(tmp_path / "tokenizer.json"))
    done = subprocess.run(
        [sys.executable, "-c", IN_A_PROCESS, str(tmp_path), "4k", "3", "1"],
        env={**os.environ, "PYTHONHASHSEED": "77"},
        capture_output=True,
        text=True,
        check=True,
    )
    digests = {entry.index: entry.digest for entry in manifest.samples if entry.length == 4000}
    assert done.stdout.split() == [digests[3], digests[1]]


def test_the_first_other_sample_is_named(manifest, task):
    samples = list(manifest.samples)
    samples[6] = replace(samples[6], digest="0" * 32)
    samples[9] = replace(samples[9], digest="0" * 32)
    with pytest.raises(DataError, match="Sample 2 of qa1 at 1k is not the recorded one"):
        check_manifest(replace(manifest, samples=tuple(samples)), task)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 0}, "another version of the generator: 0 instead of"),
        ({"tokenizer": "x"}, "another tokenizer"),
        ({"store": "x"}, "another background"),
        ({"config": replace(CONFIG, seed=8)}, "another config"),
        ({"fingerprint": "x"}, "another books or questions"),
    ],
)
def test_another_origin_is_told(manifest, task, changes, message):
    with pytest.raises(DataError, match=message):
        check_manifest(replace(manifest, **changes), task)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "other"}', "\0", '"a"'])
def test_what_is_no_manifest_is_refused(tmp_path, text):
    path = tmp_path / "manifest.json"
    _ = path.write_text(text)
    with pytest.raises(DataError, match="no readable manifest"):
        _ = read_manifest(path)
    with pytest.raises(DataError, match="no readable manifest"):
        _ = read_manifest(tmp_path / "missing.json")


def test_a_damaged_manifest_is_refused(manifest, tmp_path):
    path = tmp_path / "manifest.json"
    write_manifest(path, manifest)
    options = json.loads(path.read_text())
    options["samples"][0]["length"] = "long"
    _ = path.write_text(json.dumps(options))
    with pytest.raises(DataError, match=r"ManifestEntry\.length"):
        _ = read_manifest(path)
    assert isinstance(manifest, Manifest)
