# SPDX-License-Identifier: GPL-3.0-or-later
"""Labs for the acceptance tests: a fresh one, and one that stands after a bootstrap."""

from __future__ import annotations

import typing as t

import pytest

from simlab.harness import SimulatedLab

from .labs import SOLO, Json, Lab, lab_contents


@pytest.fixture
def fresh_lab() -> t.Iterator[Lab]:
    """An empty Proxmox host."""
    with SimulatedLab(SOLO) as simulated:
        yield Lab(simulated)


@pytest.fixture(scope="module")
def running_lab() -> t.Iterator[Lab]:
    """A lab after its bootstrap; shared by the tests of a module, each of which leaves it converged."""
    with SimulatedLab(SOLO) as simulated:
        lab = Lab(simulated)
        run = lab.run("bootstrap")
        assert run.rc == 0, run.tail()
        yield lab


@pytest.fixture(scope="session")
def undisturbed() -> Json:
    """What an undisturbed bootstrap leaves."""
    with SimulatedLab(SOLO) as simulated:
        lab = Lab(simulated)
        run = lab.run("bootstrap")
        assert run.rc == 0, run.tail()
        return lab_contents(lab)
