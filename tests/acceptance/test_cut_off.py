# SPDX-License-Identifier: GPL-3.0-or-later
"""Cut off at any write, a run is continued by itself or by the next one: the same lab, nothing doubled.

A killed run is killed at its first write, the next one at the first write that was not cut yet, and so on to the end. A
dropped connection is asked again: every write of one run loses its connection before it takes effect, or after it.
"""

from __future__ import annotations

import typing as t

import pytest

from .labs import Json, Lab, lab_contents

pytestmark = pytest.mark.lab

#: Bounds the loops: a bootstrap of this lab has fewer writes than this, each cut once in one way.
MOST_RUNS, MOST_WRITES = 50, 60


def _killed(lab: Lab, kind: str) -> list[str]:
    """Runs that are killed at one write after the other; those writes. What was done before is done again by the next
    run only where it must be, so a write that was cut already is let pass."""
    cuts: list[str] = []
    nth = 1
    for _ in range(MOST_RUNS):
        lab.fault(kind, writes=True, nth=nth)
        run = lab.run("bootstrap")
        hit = lab.hit()
        lab.clear_faults()
        if not hit:
            assert run.rc == 0, run.tail()
            return cuts
        assert run.rc == 137, run.tail()
        nth = nth + 1 if hit[0] in cuts else 1
        cuts += [request for request in hit if request not in cuts]
    pytest.fail(f"the bootstrap never ended: {cuts}")


def _dropped_before(lab: Lab) -> list[str]:
    """Every write is lost once and asked again: the first, the third, and so on."""
    return _disturbed(lab, lambda: [lab.fault("drop-before", writes=True, nth=nth) for nth in range(1, MOST_WRITES, 2)])


def _dropped_after(lab: Lab) -> list[str]:
    """No write of the run gets an answer."""
    return _disturbed(lab, lambda: lab.fault("drop-after", writes=True, times=0))


def _disturbed(lab: Lab, disturb: t.Callable[[], t.Any]) -> list[str]:
    cuts: list[str] = []
    for _ in range(MOST_RUNS):
        disturb()
        run = lab.run("bootstrap")
        hit = lab.hit()
        lab.clear_faults()
        cuts += hit
        if not hit:
            assert run.rc == 0, run.tail()
            return cuts
    pytest.fail(f"the bootstrap never ended: {cuts}")


WAYS: dict[str, t.Callable[[Lab], list[str]]] = {
    "killed before the write": lambda lab: _killed(lab, "kill-before"),
    "killed after the write": lambda lab: _killed(lab, "kill-after"),
    "dropped before the write": _dropped_before,
    "dropped after the write": _dropped_after,
}


@pytest.mark.parametrize("way", WAYS)
def test_every_write_of_a_bootstrap_may_be_the_last(fresh_lab: Lab, undisturbed: Json, way: str) -> None:
    cuts = WAYS[way](fresh_lab)
    final = fresh_lab.run("bootstrap")
    assert (final.rc, final.changed) == (0, 0), final.tail()
    assert len(set(cuts)) >= 8, cuts
    assert lab_contents(fresh_lab) == undisturbed
