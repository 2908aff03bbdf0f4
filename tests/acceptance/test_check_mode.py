# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``--check`` lists is what the next run does, resource by resource, and it writes nothing."""

from __future__ import annotations

import pytest

from .drifts import DRIFTS
from .labs import Lab, changes_of, playbook_writes

pytestmark = pytest.mark.lab


def test_on_the_empty_lab_the_prediction_is_the_run(fresh_lab: Lab) -> None:
    mark = fresh_lab.mark()
    predicted = fresh_lab.run("bootstrap", "--check", "--diff")
    assert predicted.rc == 0, predicted.tail()
    assert playbook_writes(fresh_lab.ledger(mark)) == []
    made = fresh_lab.run("bootstrap")
    assert made.rc == 0, made.tail()
    assert changes_of(predicted) == changes_of(made)
    assert len(changes_of(made)) >= 8


@pytest.mark.parametrize("drift", DRIFTS)
def test_after_a_drift_the_prediction_is_the_run(running_lab: Lab, drift: str) -> None:
    extra = DRIFTS[drift].make(running_lab)
    mark = running_lab.mark()
    predicted = running_lab.run("bootstrap", "--check", "--diff", *extra)
    assert predicted.rc == 0, predicted.tail()
    assert playbook_writes(running_lab.ledger(mark)) == []
    assert DRIFTS[drift].resource in {change["resource"] for change in changes_of(predicted)}
    made = running_lab.run("bootstrap", *extra)
    assert made.rc == 0, made.tail()
    assert changes_of(predicted) == changes_of(made)
    # With the disk larger, it cannot go back: the last drift, and nothing but it, keeps what it wanted.
    again = running_lab.run("bootstrap", *extra)
    assert (again.rc, again.changed) == (0, 0), again.tail()
