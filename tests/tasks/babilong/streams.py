"""Batches of the training stream, and what a reader of one of their rows has read."""

from itertools import islice

from armt.tasks.babilong import FactStreamConfig


def batches(store, encoder, options, count, seed=0, start=0):
    stream = FactStreamConfig(**options).build(store, encoder, seed)
    return list(islice(stream.batches(start), count))


def row_ids(run, row):
    """Yields for each batch the tokens of the row that were carried to it, and its own."""
    carried = []
    for batch in run:
        if batch.resets is None or batch.resets[row]:
            carried = []
        ids = batch.input_ids[row].tolist()
        yield list(carried), ids
        carried += ids[: batch.carry_len]
