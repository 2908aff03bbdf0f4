# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that answer questions: the real thing behind one JSON object a line, built from Go modules when first asked for."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import typing as t

from simlab.binaries import Program

Json = dict[str, t.Any]


class Oracle:
    """One running program. ``with Oracle(Program(…)) as oracle: oracle.ask(op="decode", config=text)``."""

    def __init__(self, program: Program) -> None:
        self.program = program

    def __enter__(self) -> t.Self:
        path = self.program.build(lambda text: print(text, flush=True))
        self._process = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.stdin.close()  # type: ignore[union-attr]
        self._process.wait(10)
        self._process.stdout.close()  # type: ignore[union-attr]

    def ask(self, **question: t.Any) -> Json:
        return self.ask_all([question])[0]

    def ask_all(self, questions: t.Sequence[Json]) -> list[Json]:
        """The answers, in order. One question at a time: neither side's pipe is ever full."""
        answers = []
        for question in questions:
            self._process.stdin.write(json.dumps(question) + "\n")  # type: ignore[union-attr]
            self._process.stdin.flush()  # type: ignore[union-attr]
            answers.append(json.loads(self._process.stdout.readline()))  # type: ignore[union-attr]
        return answers


def version(folder: pathlib.Path, module: str) -> str:
    """The version of a module that a program's go.mod asks for."""
    for line in folder.joinpath("go.mod").read_text("utf-8").splitlines():
        words = line.removeprefix("require").split()
        if words[:1] == [module] and len(words) > 1:
            return words[1]
    raise LookupError(f"{module} is not in {os.fspath(folder)}/go.mod")
