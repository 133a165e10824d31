"""Samples are equal everywhere: their digests, made from nothing but our own code.

A change of the digests of the tasks is a change of `GENERATOR_VERSION`, one of the stream's digest
a change of `STREAM_VERSION`.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.babilong.made_digests import digest_of, made_store, stream_digest

TESTS = Path(__file__).parents[2]
DIGESTS = {
    "qa1": "4e82b01191c75a8e",
    "qa2": "e69e895aa7aee249",
    "qa3": "a306327d2fd73100",
    "qa4": "be9d40c82ad783d6",
    "qa5": "371a5809730802b3",
    "qa6": "19332c01045411ba",
    "qa7": "f5dee1fb6b7f2899",
    "qa8": "70316c8b9eda3485",
    "qa9": "6513ab34ffcaee97",
    "qa10": "8df9f4fdeeb7ddcd",
    "qa11": "e2a68e7075d2a53b",
    "qa12": "8250fd9334563cf6",
    "qa13": "a27f8f590eac3962",
    "qa14": "54be307dee20aa01",
    "qa15": "93f861e3eaa27738",
    "qa16": "73a12901c8a05efe",
    "qa17": "263c7496d97406f9",
    "qa18": "3f2c0cef0cf8c791",
    "qa19": "98af0254fd6f6352",
    "qa20": "91a8439f2647eeb0",
}


@pytest.fixture(scope="module")
def made():
    return made_store()


@pytest.mark.parametrize("task", DIGESTS)
def test_the_samples_of_a_task_are_the_same_on_every_machine(made, task):
    assert digest_of(task, made) == DIGESTS[task]


def test_training_batches_are_the_same_on_every_machine(made):
    assert stream_digest(made) == "7a3ea41f7de222dd"


def test_the_number_of_workers_does_not_matter(made):
    assert made_store(num_workers=3).digest == made.digest


def test_neither_the_order_nor_the_process_matters():
    tasks = ["qa19", "qa3", "qa1"]
    done = subprocess.run(
        [sys.executable, "-m", "tasks.babilong.made_digests", *tasks],
        env={**os.environ, "PYTHONHASHSEED": "77", "PYTHONPATH": os.pathsep.join(search_path())},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [word for task in tasks for word in (task, DIGESTS[task])]


def search_path():
    return [str(TESTS), *(each for each in sys.path if each)]
