"""Runs commands on the cards of a machine, some side by side on each; restarts what stands still.

    python benchmarks/side_by_side.py runs/commands.txt --cards 0 1 --on-each 2 --folder runs/told

Each line of the file is a command of the shell; empty lines and those that begin with # are not. A
command sees one card, the first that has a place for it, and what it tells goes to a file of the
folder. If that has not grown for `--patience` seconds the command is killed and begun anew, as long
as it has tries left: a process that compiles for it may hang. Trainings go on from their
checkpoint, and what is recorded is not measured again.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import final

_TICK_S = 0.2


@final
class Running:
    """A command that runs on a card."""

    def __init__(self, line: str, card: str, output: Path) -> None:
        """Starts it; it goes on behind what the file holds."""
        self.line, self.card, self._output = line, card, output
        seen = os.environ | {"CUDA_VISIBLE_DEVICES": card, "PYTHONUNBUFFERED": "1"}
        with output.open("ab") as file:
            self._process = subprocess.Popen(
                ["sh", "-c", line], stdout=file, stderr=file, env=seen, start_new_session=True
            )
        os.utime(output)  # its patience begins now

    @property
    def return_code(self) -> int | None:
        """What it ended with; none as long as it runs."""
        return self._process.poll()

    @property
    def quiet_s(self) -> float:
        """Seconds since it told something."""
        return time.time() - self._output.stat().st_mtime

    def end(self, sign: signal.Signals) -> None:
        """Sends a signal to it and to what it began, and waits."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, sign)
        _ = self._process.wait()


@final
class SideBySide:
    """Commands that wait for a place, and those that run."""

    def __init__(
        self, lines: Iterable[str], folder: Path, *, patience_s: float, num_tries: int
    ) -> None:
        """Takes the commands; what number N tells goes to `N.txt` of the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        self._outputs = {line: folder / f"{number}.txt" for number, line in enumerate(lines)}
        self._tries = dict.fromkeys(self._outputs, num_tries)
        self._waiting = deque(self._outputs)
        self._running: list[Running] = []
        self._patience_s, self.failed = patience_s, list[str]()

    def run(self, places: Sequence[str]) -> None:
        """Runs all of them, one in each place at a time; `failed` then names those that failed.

        Args:
            places: the number of a card for each command that may run on it at a time.
        """
        try:
            while self._waiting or self._running:
                self._fill(places)
                time.sleep(_TICK_S)
                for each in list(self._running):
                    self._look_at(each)
        finally:
            for each in self._running:  # trainings write a checkpoint
                each.end(signal.SIGTERM)

    def _fill(self, places: Sequence[str]) -> None:
        free = list(places)
        for each in self._running:
            free.remove(each.card)
        for card in free[: len(self._waiting)]:
            line = self._waiting.popleft()
            print(f"card {card}: {line}", flush=True)
            self._tries[line] -= 1
            self._running.append(Running(line, card, self._outputs[line]))

    def _look_at(self, each: Running) -> None:
        code = each.return_code
        if code is None and each.quiet_s < self._patience_s:
            return
        if code is None:
            each.end(signal.SIGKILL)
        self._running.remove(each)
        told = "stood still" if code is None else f"ended with {code}"
        print(f"{told}: {each.line}", flush=True)
        if code is None and self._tries[each.line]:
            self._waiting.appendleft(each.line)
        elif code != 0:
            self.failed.append(each.line)


def main() -> None:
    """Runs the commands of a file."""
    options = _options()
    lines = (line.strip() for line in options.commands.read_text("utf-8").splitlines())
    commands = dict.fromkeys(line for line in lines if line and not line.startswith("#"))
    queue = SideBySide(
        commands, options.folder, patience_s=options.patience, num_tries=options.tries
    )
    _ = signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    queue.run([card for _ in range(options.on_each) for card in options.cards])
    sys.exit(1 if queue.failed else 0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    _ = parser.add_argument("commands", type=Path)
    _ = parser.add_argument("--cards", nargs="+", default=["0"])
    _ = parser.add_argument("--on-each", type=int, default=1)
    _ = parser.add_argument("--folder", type=Path, required=True)
    _ = parser.add_argument("--patience", type=float, default=300.0)
    _ = parser.add_argument("--tries", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
