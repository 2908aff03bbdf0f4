# SPDX-License-Identifier: GPL-3.0-or-later
"""Every request that a test of this folder makes the collection send is judged: by Proxmox's description of its API, by the
recordings, and by the rights that the documentation asks for.

A test fails at its end when it sent a request that the API does not know, or one that the documented roles do not allow.
Tests that send such requests on purpose say so: ``@pytest.mark.sends_bad_requests("why")``.
"""

from __future__ import annotations

import dataclasses
import pathlib
import sys
import typing as t

ROOT = pathlib.Path(__file__).resolve().parents[3]
for _folder in (ROOT / "tests" / "conformance", ROOT / "tests" / "conformance" / "proxmox"):
    if str(_folder) not in sys.path:
        sys.path.append(str(_folder))

import api_judge
import judgement

if t.TYPE_CHECKING:
    from simlab.proxmox.server import Witnessed

#: What only the description's own check complains of, with the reason why it stands.
EXPLAINED: dict[str, str] = {}


@dataclasses.dataclass
class Case:
    """One test: what it sent, and what was wrong with it."""

    name: str
    on_purpose: str = ""
    #: The lab's token has fewer rights than the documentation asks for: a refusal is what the test wants.
    fewer_rights: bool = False
    problems: list[str] = dataclasses.field(default_factory=list)
    count: int = 0


class RequestsJudge:
    """Of one session of pytest."""

    def __init__(self) -> None:
        self.cases: list[Case] = []
        self.seen: dict[tuple[str, str], int] = {}
        self.as_root: dict[tuple[str, str], int] = {}

    def begin(self, name: str, on_purpose: str) -> Case:
        self.cases.append(Case(name, on_purpose))
        return self.cases[-1]

    def witness(self, case: Case, seen: Witnessed) -> None:
        """Judge one request; 401s are about who asks, not about what."""
        case.count += 1
        found = api_judge.template(seen.method, seen.path)
        if found is not None:
            known = (seen.method, found[0])
            self.seen[known] = self.seen.get(known, 0) + 1
            if seen.caller == "root@pam" and seen.method != "GET":
                self.as_root[known] = self.as_root.get(known, 0) + 1
        case.problems += [
            problem
            for problem in api_judge.problems(seen.method, seen.path, seen.params)
            if problem not in EXPLAINED and seen.status != "401"
        ]
        if seen.status == "501":
            case.problems.append(f"501 {seen.text}")
        if seen.status == "403" and not case.fewer_rights:
            case.problems.append(f"403 {seen.method} {seen.path} as {seen.caller}: {seen.text}")

    def as_data(self) -> dict[str, t.Any]:
        """For another process, see :meth:`add`."""
        counts = {name: [[*kind, count] for kind, count in getattr(self, name).items()] for name in ("seen", "as_root")}
        return {"cases": [dataclasses.asdict(case) for case in self.cases], **counts}

    def add(self, data: t.Mapping[str, t.Any]) -> None:
        """What a judge in another process has seen."""
        self.cases += [Case(**case) for case in data["cases"]]
        for name in ("seen", "as_root"):
            for method, path, count in data[name]:
                kinds = getattr(self, name)
                kinds[method, path] = kinds.get((method, path), 0) + count

    def judgement(self) -> judgement.Judgement:
        unrecorded = sorted(f"{method} {path}" for method, path in self.seen.keys() - api_judge.recorded())
        meant = [case for case in self.cases if case.on_purpose and case.problems]
        reads = sum(count for (method, _), count in self.seen.items() if method == "GET")
        sent = sum(case.count for case in self.cases)
        return judgement.Judgement(
            name="proxmox-requests",
            judge="Proxmox VE's description of its API, and the recorded answers of Proxmox VE 9.1.8",
            version=api_judge.version(),
            judged="every request of the collection's integration tests",
            cases=sent,
            explained=[(f"{case.name}: {problem}", case.on_purpose) for case in meant for problem in case.problems],
            unexplained=[
                f"{case.name}: {text}" for case in self.cases if not case.on_purpose for text in case.problems
            ],
            notes=[
                f"{len(self.cases)} tests; {sent} requests ({reads} reads) of {len(self.seen)} kinds (method and path).",
                "Kinds that no recorded answer stands behind, only the description: "
                + (", ".join(f"`{name}`" for name in unrecorded) or "none")
                + ".",
                "Written by root@pam with a password, in tests of what only root may do and by the tests' own preparations: "
                + (
                    ", ".join(f"`{method} {path}` {count}" for (method, path), count in sorted(self.as_root.items()))
                    or "none"
                )
                + ".",
            ],
        )


def of_a_real_one(address: str, outcomes: t.Mapping[str, tuple[str, str]]) -> judgement.Judgement:
    return judgement.of_a_real_one("proxmox", f"Proxmox VE at {address}", outcomes)
