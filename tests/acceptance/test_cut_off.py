# SPDX-License-Identifier: GPL-3.0-or-later
"""Cut off at any write, a run is continued by the next one: the same lab, nothing doubled.

One lab a kind of cut. The first run is cut at its first write, the next at the first write that was not cut yet, and so
on to the end, so that every write of a bootstrap is cut once in each way.
"""

from __future__ import annotations

import pytest

from .labs import Lab, lab_contents

pytestmark = pytest.mark.lab

#: Bounds the loop: a bootstrap of this lab has fewer writes than this.
MOST_WRITES = 40


#: ``nth``: a write that was cut before it took effect is the first of the next run, and must pass there.
@pytest.mark.parametrize(("kind", "advance"), [("drop-before", 2), ("drop-after", 1), ("kill-before", 2), ("kill-after", 1)])
def test_every_write_of_a_bootstrap_may_be_the_last(fresh_lab: Lab, undisturbed: dict, kind: str, advance: int) -> None:
    cuts: list[str] = []
    for number in range(MOST_WRITES):
        fresh_lab.fault(kind, writes=True, nth=1 if number == 0 else advance)
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
    assert len(cuts) >= 10, cuts
    assert lab_contents(fresh_lab) == undisturbed
