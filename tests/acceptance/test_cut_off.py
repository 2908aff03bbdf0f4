# SPDX-License-Identifier: GPL-3.0-or-later
"""Cut off at any write, a run is continued by the next one: the same lab, nothing doubled.

One lab a kind of cut. The first run is cut at its first write, the next at the first write that was not cut yet, and so
on to the end, so that every write of a bootstrap is cut in each way. A dropped connection stays dropped for the run's
later writes too, or the run would ask again and go on; a killed run is killed once.
"""

from __future__ import annotations

import pytest

from .labs import Json, Lab, lab_contents

pytestmark = pytest.mark.lab

#: Bounds the loop: a bootstrap of this lab has fewer writes than this.
MOST_WRITES = 40

#: Kind, how many requests are hit (0: all), and which write of the next run is the first that was not cut yet: one that
#: was cut before it took effect must pass first.
CUTS = [("drop-before", 0, 2), ("drop-after", 0, 1), ("kill-before", 1, 2), ("kill-after", 1, 1)]


@pytest.mark.parametrize(("kind", "times", "advance"), CUTS, ids=[kind for kind, _, _ in CUTS])
def test_every_write_of_a_bootstrap_may_be_the_last(
    fresh_lab: Lab, undisturbed: Json, kind: str, times: int, advance: int
) -> None:
    cuts: list[str] = []
    for number in range(MOST_WRITES):
        fresh_lab.fault(kind, writes=True, times=times, nth=1 if number == 0 else advance)
        run = fresh_lab.run("bootstrap")
        hit = fresh_lab.hit()
        fresh_lab.clear_faults()
        if not hit:
            assert run.rc == 0, run.tail()
            break
        cuts += hit
    else:
        pytest.fail(f"the bootstrap never ended: {cuts}")
    final = fresh_lab.run("bootstrap")
    assert (final.rc, final.changed) == (0, 0), final.tail()
    assert len(set(cuts)) >= 10, cuts
    assert lab_contents(fresh_lab) == undisturbed
