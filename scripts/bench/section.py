"""What a section of a benchmark needs: clients to start, goals to hold figures against, tables for people."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CLIENTS = Path(__file__).with_name("clients.py")
UNSET = ("FACTORY_DATA", "OPENAI_API_KEY", "LANGMILL_MAX_COST", "LANGMILL_HOME")
OPENAI = "openai/bench"
CLAUDE = "anthropic/claude-3-haiku-20240307"  # a dialect of its own: its calls must go through litellm


@dataclass
class Section:
    """One section's figures, as data and as lines for people, and the goals that they were held against."""

    name: str
    figures: dict[str, Any] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    goals: list[dict[str, Any]] = field(default_factory=list)

    def goal(self, what: str, value: float, sign: str, bound: float) -> None:
        """Hold a figure against a bound; ``sign`` is >=, <= or ==."""
        met = {">=": value >= bound, "<=": value <= bound, "==": value == bound}[sign]
        self.goals.append({"what": what, "value": value, "sign": sign, "bound": bound, "met": met})

    def table(self, names: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """A table, numbers to the right."""
        cells = [list(names), *([_shown(cell) for cell in row] for row in rows)]
        widths = [max(len(row[column]) for row in cells) for column in range(len(names))]
        for row in cells:
            first, *others = (
                cell.ljust(width) if not n else cell.rjust(width)
                for n, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            self.lines.append("  ".join([first, *others]).rstrip())

    @property
    def missed(self) -> list[dict[str, Any]]:
        """The goals that were not met."""
        return [goal for goal in self.goals if not goal["met"]]

    def tell(self) -> None:
        """Print it for people."""
        say(f"\n{self.name}")
        for line in self.lines:
            say(f"  {line}")
        for goal in self.goals:
            mark = "ok    " if goal["met"] else "MISSED"
            say(f"  {mark} {goal['what']}: {_shown(goal['value'])}, goal {goal['sign']} {_shown(goal['bound'])}")


def say(text: str) -> None:
    """A line for people."""
    print(text, file=sys.stderr, flush=True)


def run_sections(said: str | None, sections: Mapping[str, Callable[[bool, Path, Path], Section]], quick: str) -> int:
    """The command of a benchmark on public sets: its sections, or one of them; the exit code. ``said`` is its help, ``quick`` what
    --quick means."""
    parser = argparse.ArgumentParser(description=said, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--only", choices=sections, help="one section")
    parser.add_argument("--json", type=Path, help="the figures, into a file")
    options = parser.parse_args()
    data = os.environ.get("FACTORY_DATA")
    if data is None or not Path(data).is_dir():
        parser.error("these figures are of public sets: set FACTORY_DATA to the folder that holds them")
    done = []
    for name in [options.only] if options.only else sections:
        say(f"{name} …")
        with work_folder() as work:
            section = sections[name](options.quick, work, Path(data))
        section.tell()
        done.append(section)
    return finish(done, options.quick, options.json)


def finish(sections: Sequence[Section], quick: bool, to: Path | None) -> int:
    """Write the figures, say how it went; the exit code."""
    missed = [f"{section.name}: {goal['what']}" for section in sections for goal in section.missed]
    if to is not None:
        facts = {
            "machine": {"cores": len(os.sched_getaffinity(0)), "python": platform.python_version()},
            "quick": quick,
            "sections": {section.name: {**section.figures, "goals": section.goals} for section in sections},
            "missed": missed,
        }
        to.write_text(json.dumps(facts, indent=1) + "\n", "utf-8")
    say(f"\n{len(missed)} goals missed" + "".join(f"\n  {line}" for line in missed) if missed else "\nevery goal met")
    return 1 if missed else 0


@contextmanager
def work_folder() -> Iterator[Path]:
    """A folder on the disk that the project lies on, since a ledger in memory would cost nothing; gone at the end."""
    place = ROOT / ".langmill"
    place.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place, prefix="bench-") as folder:
        yield Path(folder)


def environment(**more: str) -> dict[str, str]:
    """This process's environment without what would change a run."""
    return {**{name: value for name, value in os.environ.items() if name not in UNSET}, **more}


def start(client: str, options: dict[str, Any], **variables: str) -> subprocess.Popen[str]:
    """A client in a process of its own; see clients.py."""
    return subprocess.Popen(
        [sys.executable, str(CLIENTS), client, json.dumps(options)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**variables),
    )


def result(process: subprocess.Popen[str], patience: float = 600.0) -> dict[str, Any]:
    """What a client found; nothing answered where it took longer than so many seconds. Raises RuntimeError with its last words
    when it failed."""
    try:
        out, err = process.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return {"seconds": patience, "cpu": 0.0, "rss": 0.0, "ended": {"not ended in time": 1}}
    if process.returncode:
        raise RuntimeError(f"a client ended with {process.returncode}:\n{err[-2000:]}")
    return dict(json.loads(out.splitlines()[-1]))


def _shown(cell: object) -> str:
    if isinstance(cell, float):
        return f"{cell:,.0f}" if abs(cell) >= 1000 else f"{cell:.2f}" if abs(cell) >= 10 else f"{cell:.3f}"
    return f"{cell:,}" if isinstance(cell, int) else str(cell)
