# SPDX-License-Identifier: GPL-3.0-or-later
"""Run pytest with these arguments on several workers, and what failed there once more, alone on the machine.

Hundreds of tests start servers, and some of them watch a clock: beside three others on two processors, one in some thousand
now and then waits longer than it may. What fails alone too is wrong, and so is the run; what passes alone is told by its
name at the end, because it may be a race. More than a few failures are no accident, so they are not tried again.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

#: Set for the second run: what a whole run has written down, a part of it must not overwrite.
AGAIN = "TESTS_AGAIN"
#: So many failures may be accidents.
FEW = 5


class Failures:
    """The ids of the tests that failed, in the order of their ends."""

    def __init__(self) -> None:
        self.ids: dict[str, None] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.ids[report.nodeid] = None


def main(arguments: list[str]) -> int:
    sys.path[0] = os.getcwd()  # as of python -m pytest; this folder's modules are none of the tests'
    failures = Failures()
    status = int(pytest.main(arguments, plugins=[failures]))
    if status != pytest.ExitCode.TESTS_FAILED or not 0 < len(failures.ids) <= FEW:  # none: what could not be collected
        return status
    print(f"\n== {len(failures.ids)} failed beside others; once more, alone", flush=True)
    command = [sys.executable, "-m", "pytest", "-q", *failures.ids]
    status = subprocess.run(command, env={**os.environ, AGAIN: "1"}, check=False).returncode
    if status == 0:
        print("== passed only alone, which may be a race and is to be looked into:", *failures.ids, sep="\n   ")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
