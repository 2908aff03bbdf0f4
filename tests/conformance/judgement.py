# SPDX-License-Identifier: GPL-3.0-or-later
"""What a judge found, as a small file; all files together are the report (``docs/conformance.md``).

A judge of any room writes one: ``Judgement(...).write()``. Nothing else has to know of it.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import typing as t

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


#: Names the folder; without it nothing is written: other runs of the same tests would mix in.
VARIABLE = "GROUNDWORK_CONFORMANCE"
#: Of ``make conformance QUICK=1``, too: without the judges that take minutes to build or to fetch.
QUICK = "QUICK"
#: Marks the tests of such judges; ``make test`` leaves them out as well.
takes_minutes = pytest.mark.skipif(
    VARIABLE not in os.environ or bool(os.environ.get(QUICK)),
    reason="this judge takes minutes to build or to fetch: only in a whole make conformance",
)


def folder() -> pathlib.Path:
    """Where the files of this run lie; ``make conformance`` empties it first."""
    return pathlib.Path(os.environ.get(VARIABLE, ROOT / ".cache" / "conformance"))


@dataclasses.dataclass
class Judgement:
    """``judge`` names the real thing and its version; ``explained`` are differences that are meant, each with its reason;
    ``unexplained`` fail. ``missing`` says what was not there, so that less was judged; ``notes`` are lines of text."""

    name: str
    judge: str
    version: str
    judged: str
    cases: int
    explained: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    unexplained: list[str] = dataclasses.field(default_factory=list)
    missing: str = ""
    notes: list[str] = dataclasses.field(default_factory=list)

    def write(self) -> None:
        if VARIABLE not in os.environ:
            return
        where = folder()
        where.mkdir(parents=True, exist_ok=True)
        text = json.dumps(dataclasses.asdict(self), indent=1, sort_keys=True, ensure_ascii=False)
        where.joinpath(f"{self.name}.json").write_text(f"{text}\n", encoding="utf-8")


def of_a_real_one(room: str, judge: str, outcomes: t.Mapping[str, tuple[str, str]]) -> Judgement:
    """What became of a room's tests on a person's own servers: ``outcomes`` are ``passed``, ``failed``, ``skipped``, and the
    text."""
    skipped = {
        name: text.rpartition("Skipped: ")[2].strip("')")
        for name, (outcome, text) in outcomes.items()
        if outcome == "skipped"
    }
    return Judgement(
        name=f"{room}-real",
        judge=judge,
        version="as it is there",
        judged="the integration tests, on the real thing",
        cases=sum(outcome != "skipped" for outcome, _ in outcomes.values()),
        explained=sorted((name.rpartition("/")[2], why) for name, why in skipped.items()),
        unexplained=sorted(name.rpartition("/")[2] for name, (outcome, _) in outcomes.items() if outcome == "failed"),
        notes=["Explained are the tests that only what is played can run."],
    )


def read() -> list[Judgement]:
    """All that was written in this run, by name."""
    found = []
    for path in sorted(folder().glob("*.json")):
        data = json.loads(path.read_text("utf-8"))
        data["explained"] = [(what, why) for what, why in data["explained"]]
        found.append(Judgement(**data))
    return found
