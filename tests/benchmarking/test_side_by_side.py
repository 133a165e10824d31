"""Commands side by side: each runs on a card with a place, and what stands still begins anew."""

import signal
import time

import pytest
import side_by_side
from side_by_side import Running, SideBySide


def ran(folder, lines, places, patience_s=30.0, num_tries=2):
    queue = SideBySide(lines, folder, patience_s=patience_s, num_tries=num_tries)
    queue.run(places)
    told = [(folder / f"{number}.txt").read_text() for number, _ in enumerate(lines)]
    return queue.failed, told


def test_every_command_sees_one_card_and_tells_a_file_of_its_own(tmp_path):
    lines = [f"echo {number} on $CUDA_VISIBLE_DEVICES >&2; sleep 0.5" for number in range(4)]
    failed, told = ran(tmp_path / "new", lines, ["3", "5"])
    assert failed == []
    assert [text.split()[0] for text in told] == ["0", "1", "2", "3"]
    assert sorted(text.split()[2] for text in told) == ["3", "3", "5", "5"]


@pytest.mark.parametrize("num_places", [1, 3])
def test_as_many_run_at_a_time_as_there_are_places(tmp_path, num_places):
    lines = [
        f"cd {tmp_path}; touch up.{number}; ls | grep -c up; sleep 1; rm up.{number}"
        for number in range(3)
    ]
    _, told = ran(tmp_path / "told", lines, ["0"] * num_places)
    assert max(int(text) for text in told) == num_places


def test_what_fails_is_named_and_the_others_go_on(tmp_path):
    failed, told = ran(tmp_path, ["exit 3", "echo done"], ["0"])
    assert (failed, told) == (["exit 3"], ["", "done\n"])


def test_what_stands_still_is_begun_anew_with_all_that_it_began(tmp_path):
    flag = tmp_path / "flag"
    hangs_once = f"echo try; if [ -e {flag} ]; then exit 0; fi; touch {flag}; sleep 60 & wait"
    started = time.monotonic()
    failed, told = ran(tmp_path, [hangs_once], ["0"], patience_s=1.0)
    assert (failed, told) == ([], ["try\ntry\n"])
    assert time.monotonic() - started < 20


def test_what_always_stands_still_fails_after_its_tries(tmp_path):
    failed, told = ran(tmp_path, ["echo try; sleep 60"], ["0"], patience_s=0.5)
    assert (failed, told) == (["echo try; sleep 60"], ["try\ntry\n"])


def test_a_stop_reaches_what_runs(tmp_path, monkeypatch):
    line = f"trap 'echo saved; exit 4' TERM; touch {tmp_path}/up; while :; do sleep 0.1; done"
    queue = SideBySide([line], tmp_path, patience_s=30.0, num_tries=1)
    sleep = time.sleep

    def stopped(seconds):
        sleep(seconds)
        if (tmp_path / "up").exists():
            raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", stopped)
    with pytest.raises(KeyboardInterrupt):
        queue.run(["0"])
    assert "saved" in (tmp_path / "0.txt").read_text()


def test_a_file_tells_the_commands(tmp_path, monkeypatch, capsys):
    commands = tmp_path / "commands.txt"
    _ = commands.write_text("# two\n\necho one\n  exit 1\n")
    monkeypatch.setattr("sys.argv", ["side_by_side.py", str(commands), "--folder", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        side_by_side.main()
    assert ended.value.code == 1
    assert capsys.readouterr().out.splitlines() == [
        "card 0: echo one", "ended with 0: echo one", "card 0: exit 1", "ended with 1: exit 1",
    ]  # fmt: skip


def test_a_running_command_ends_when_it_is_told(tmp_path):
    running = Running("sleep 60", "0", tmp_path / "0.txt")
    assert running.return_code is None
    running.end(signal.SIGTERM)
    assert running.return_code == -signal.SIGTERM
