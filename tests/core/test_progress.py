"""What people see of a run, told by a clock of the test's own."""

from __future__ import annotations

import io

import pytest

from langmill.progress import QUIET_SECONDS, Progress


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Watch:
    """A progress, its stream and the time."""

    def __init__(self, stream: io.StringIO):
        self.now, self.stream = 1000.0, stream
        self.progress = Progress(stream, clock=lambda: self.now)

    def rows(self, done: int, of: int = 1000, rejected: int = 0, skipped: int = 0) -> None:
        """A step's counts."""
        counts = {"done": done, "of": of, "rejected": rejected, "skipped": skipped}
        self.progress({"event": "rows", "dataset": "open", "step": "translate", **counts})

    def calls(self, answered: int, cached: int = 0, in_flight: int = 0, tokens: int = 0, spent: float = 0.0) -> None:
        """The engine's counts."""
        counts = {"answered": answered, "cached": cached, "in_flight": in_flight, "answer_tokens": tokens}
        self.progress({"event": "calls", "spent": spent, **counts})

    def step(self, step: int, loss: float, of: int = 100, **more: float) -> None:
        """A step of training."""
        self.progress({"event": "training", "stage": "first", "step": step, "of": of, "loss": loss, **more})

    def told(self) -> str:
        """What was written since the last look, the last state of the line only."""
        text = self.stream.getvalue()
        self.stream.seek(0)
        self.stream.truncate()
        return text.split("\r\x1b[2K")[-1]


@pytest.fixture
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")


def test_the_live_line_says_all_there_is_to_know(wide):
    watch = Watch(Terminal())
    for second in range(11):
        watch.now = 1000.0 + second
        watch.calls(answered=20 * second, in_flight=128, tokens=1000 * second, spent=0.5)
        watch.rows(20 * second, rejected=3, skipped=2)
    assert watch.told() == (
        "    translate 200/1,000 rows · 3 rejected · 2 skipped · 128 in flight · $0.5000 · 20.0 rows/s · 1,000 tokens/s · 40 s left"
    )


def test_rows_that_the_ledger_had_do_not_spoil_the_time_left(wide):
    watch = Watch(Terminal())
    watch.calls(answered=0)
    watch.rows(1, of=2000)
    watch.now += 1.0
    watch.calls(answered=0, cached=1000, in_flight=64)
    watch.rows(1000, of=2000)
    assert "left" not in watch.told(), "nothing is known yet of how long the others take"
    for second in range(1, 11):
        watch.now += 1.0
        watch.calls(answered=10 * second, cached=1000, in_flight=64)
        watch.rows(1000 + 10 * second, of=2000)
    said = watch.told()
    assert " rows/s" in said
    rate = float(said.split(" rows/s")[0].rsplit(" ", 1)[1])
    assert 8 <= rate <= 10.5, "1,000 rows came at once, the others come ten a second"
    assert "2 min left" in said


def test_the_rate_is_that_of_the_last_seconds(wide):
    watch = Watch(Terminal())
    done = 0
    for second in range(200):
        watch.now += 1.0
        done += 50 if second < 100 else 2
        watch.calls(answered=done, in_flight=8)
        watch.rows(done, of=10_000)
    assert " 2.0 rows/s" in watch.told()


def test_a_replay_tells_its_own_pace(wide):
    watch = Watch(Terminal())
    for second in range(6):
        watch.now += 1.0
        watch.calls(answered=0, cached=100 * second)
        watch.rows(100 * second)
    assert "100.0 rows/s · 5 s left" in watch.told()


def test_plain_lines_come_seldom_and_the_last_one_always():
    watch = Watch(io.StringIO())
    for tenth in range(int(QUIET_SECONDS * 25)):
        watch.now += 0.1
        watch.rows(tenth + 1, of=int(QUIET_SECONDS * 25))
    lines = watch.stream.getvalue().splitlines()
    assert len(lines) == 3
    assert lines[-1].startswith("    translate 375/375 rows")
    assert all("\x1b" not in line for line in lines)


def test_a_live_line_is_not_written_for_every_row(wide):
    watch = Watch(Terminal())
    for number in range(5000):
        watch.now += 0.001
        watch.rows(number + 1, of=5000)
    written = watch.stream.getvalue()
    assert written.count("\r") <= 52
    assert written.endswith("\n")
    assert "5,000/5,000" in written


def test_what_is_left_is_told(wide):
    watch = Watch(Terminal())
    watch.rows(3)
    left = {"dataset": "open", "step": "translate", "rows": 997, "of": 1000, "dollars": 1.25, "spent": 0.5}
    watch.progress({"event": "left", **left})
    watch.progress({"event": "unheard of"})
    assert (
        watch.told()
        == "  left of open translate: 997 of 1,000 rows, about $1.2500 more for this step ($0.5000 spent so far)\n"
    )


def test_a_step_of_training_tells_stage_loss_pace_and_time_left(wide):
    watch = Watch(Terminal())
    for step in range(1, 41):
        watch.now += 1.0
        watch.step(step, loss=2.0 if step % 2 else 3.0, tokens_per_s=1234.5, eta_s=60.0 * 7)
    assert watch.told() == "    first step 40/100 · loss 2.522 · 1,234 tokens/s · 7 min left"
    watch.step(100, loss=2.5, tokens_per_s=1234.5, eta_s=0.0)
    assert "left" not in watch.told()


def test_a_trainer_that_tells_no_pace_gets_one(wide):
    watch = Watch(Terminal())
    for step in range(1, 11):
        watch.now += 2.0
        watch.step(step, loss=1.5)
    assert watch.told() == "    first step 10/100 · loss 1.500 · 0.5 steps/s · 3 min left"


def test_each_stage_has_a_loss_of_its_own(wide):
    watch = Watch(Terminal())
    watch.step(1, loss=9.0)
    watch.now += 1.0
    watch.progress({"event": "training", "stage": "second", "step": 1, "of": 2, "loss": 1.0})
    assert "second step 1/2 · loss 1.000" in watch.told()


def test_validation_losses_stay_and_steps_come_seldom_without_a_terminal():
    watch = Watch(io.StringIO())
    watch.progress({"event": "validation", "stage": "first", "step": 0, "loss": 3.25})
    for step in range(1, 101):
        watch.now += 0.5
        watch.step(step, loss=2.0, tokens_per_s=10.0, eta_s=50.0 - step / 2)
        if step == 50:
            watch.progress({"event": "validation", "stage": "first", "step": 50, "loss": 3.0})
    watch.progress({"event": "validation", "stage": "first", "step": 100, "loss": 2.75, "after": True})
    lines = watch.stream.getvalue().splitlines()
    assert [line for line in lines if "validation" in line] == [
        "    first validation loss before the first step: 3.250",
        "    first validation loss after step 50: 3.000",
        "    first validation loss after step 100: 2.750",
    ]
    assert len(lines) == 3 + 4, "three validations, a line every quarter of a minute, and the last step"
    assert lines[-2].startswith("    first step 100/100 · loss 2.000")


def test_an_examination_tells_how_far_it_is_what_it_costs_and_what_came_of_it(wide):
    watch = Watch(Terminal())
    watch.calls(answered=500, cached=80, tokens=9000, spent=0.25)  # of the data before
    watch.progress({"event": "eval", "name": "exams.asked", "model": "mini", "data": "exams", "kept": False})
    assert watch.told() == "  score mini on exams.asked\n"
    for second in range(11):
        watch.now = 1000.0 + second
        watch.calls(answered=3 * second, in_flight=8, tokens=30 * second, spent=0.25 + 0.01 * second)
        watch.progress({"event": "examining", "name": "exams.asked", "model": "mini", "done": 3 * second, "of": 60})
    assert watch.told() == (
        "    exams.asked mini 30/60 questions · 8 in flight · $0.3500 · 3.0 questions/s · 30 tokens/s · 10 s left"
    )
    watch.progress({"event": "eval", "name": "exams.asked", "model": "base", "data": "exams", "kept": False})
    watch.told()
    watch.progress({"event": "examining", "name": "exams.asked", "model": "base", "done": 60, "of": 60})
    assert watch.told() == "    exams.asked base 60/60 questions\n"  # weights cost nothing
    share = {
        "language": "en",
        "metric": "letters",
        "n": 4,
        "correct": 1,
        "accuracy": 0.25,
        "interval": [0, 1],
        "chance": 0.2,
    }
    mean = {
        "language": "all",
        "metric": "perplexity",
        "n": 4,
        "value": 12.345,
        "interval": [10, 14],
        "unreadable": 0,
        "prompt": "",
    }
    scores = [share, {**share, "language": "all", "unreadable": 2}, mean]
    watch.progress({"event": "scored", "name": "exams.asked", "model": "base", "scores": scores})
    assert watch.told() == (
        "    exams.asked base, over all languages: letters 25.0 %, perplexity 12.3, 2 answers could not be read\n"
    )
