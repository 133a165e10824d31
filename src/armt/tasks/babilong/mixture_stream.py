"""The endless training stream over all tasks: any mixture of tasks and lengths, in any form.

Every row depends on the stream's seed and its number alone. Batch g of all batches holds the rows
from g * batch_size on; a shard takes every so-manieth batch. So the same rows come at any number of
ranks and workers, and a run goes on from a number without drawing what came before.
"""

from typing import final

import numpy as np
import torch

from armt.tasks.babi.dice import Dice
from armt.tasks.babilong.mixture_config import ChatTemplate, LengthStage, MixtureStreamConfig
from armt.tasks.babilong.mixture_rows import Row, RowMaker, write_row
from armt.tasks.babilong.store import BackgroundStore
from armt.tasks.contract import NO_LABEL, Batch, TextEncoder
from armt.tasks.numbered import NumberedStream

STREAM_VERSION = 2
"""Rises when the same config gives other rows, as it must when stories change."""


@final
class MixtureStream(NumberedStream[Batch]):
    """Batches of contexts with their questions and answers.

    Rows are padded on the right with the end token. Labels stand on the answer alone: on the token
    that asks for it, its own tokens and the end token; in a chat on the assistant's words and what
    the template puts after them. `Batch.facts` tells where the facts of each row stand.
    """

    def __init__(
        self,
        config: MixtureStreamConfig,
        store: BackgroundStore,
        encoder: TextEncoder,
        seed: int = 0,
        *,
        template: ChatTemplate | None = None,
    ) -> None:
        """Makes the stream of all batches.

        Raises:
            ConfigError: chats are asked for without a template, or it hides what it is given.
        """
        self.config = config
        self.seed = seed
        self._end_id = encoder.end_id
        self._rows = RowMaker(config, store, encoder, template)

    def batch(self, number: int) -> Batch:
        """Returns batch `number`; see `NumberedStream`."""
        size = self.config.batch_size
        rows = [self._row(number, number * size + row) for row in range(size)]
        shape = (size, max(row.num_tokens for row in rows))
        input_ids = np.empty(shape, dtype=np.int64)
        labels = np.full(shape, NO_LABEL, dtype=np.int64)
        starts: list[int] = []
        for row, ids, marks in zip(rows, input_ids, labels, strict=True):
            starts.append(write_row(row, ids, marks))
            ids[row.num_tokens :] = self._end_id
        return Batch(
            input_ids=torch.from_numpy(input_ids),
            labels=torch.from_numpy(labels),
            label_start=min(starts),
            facts=tuple(row.facts for row in rows),
        )

    def _row(self, batch: int, number: int) -> Row:
        config = self.config
        dice = Dice(STREAM_VERSION, "mixture", self.seed, "row", number)
        task = dice.weigh(config.tasks, [share.weight for share in config.tasks]).task
        for_length = dice
        if config.is_length_shared:
            for_length = Dice(STREAM_VERSION, "mixture", self.seed, "batch", batch)
        lengths = _stage_at(config.stages, batch).lengths
        is_longest = for_length.chance(config.mixed_length_ratio)
        size = max(lengths) if is_longest else for_length.pick(lengths)
        return self._rows.row(dice, task, size)


def _stage_at(stages: tuple[LengthStage, ...], batch: int) -> LengthStage:
    for stage in stages[:-1]:
        if batch < stage.num_batches:
            return stage
        batch -= stage.num_batches
    return stages[-1]
