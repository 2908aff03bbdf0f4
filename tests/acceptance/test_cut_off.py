# SPDX-License-Identifier: GPL-3.0-or-later
"""Cut off at any write, a run is continued by itself or by the next one: the same lab, nothing doubled.

A killed run is killed at its first write, the next one at the first write that was not cut yet, and so on to the end. A
dropped connection is asked again: every write of a run loses its connection once, before it takes effect or after it.
"""

from __future__ import annotations

import typing as t

import pytest

from .labs import Json, Lab, lab_contents

pytestmark = pytest.mark.lab

#: Bounds the loop: a bootstrap of this lab has fewer writes than this.
MOST_RUNS = 50


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


#: The writes of a bootstrap, each as API, verb and path.
WRITES = [
    ("mirror", "POST", "/schematics"),
    ("proxmox", "POST", "*/download-url"),
    ("proxmox", "POST", "*/qemu"),
    ("proxmox", "PUT", "*/resize"),
    ("proxmox", "POST", "*/status/start"),
    ("talos", "ApplyConfiguration", "*"),
    ("talos", "Bootstrap", "*"),
    *(("kubernetes", "patch", f"*/namespaces/{name}[?]*") for name in ("argocd", "media", "tailscale")),
]


def _dropped(lab: Lab, kind: str) -> list[str]:
    """Every write loses its connection once: the run asks again or looks again, or the next run does."""
    for api, verb, path in WRITES:
        lab.fault(kind, writes=True, api=api, verb=verb, path=path)
    for _ in range(len(WRITES)):
        if lab.run("bootstrap").rc == 0:
            break
    cuts = lab.hit()
    lab.clear_faults()
    return cuts


WAYS: dict[str, t.Callable[[Lab], list[str]]] = {
    "killed before the write": lambda lab: _killed(lab, "kill-before"),
    "killed after the write": lambda lab: _killed(lab, "kill-after"),
    "dropped before the write": lambda lab: _dropped(lab, "drop-before"),
    "dropped after the write": lambda lab: _dropped(lab, "drop-after"),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_write_of_a_bootstrap_may_be_the_last(fresh_lab: Lab, undisturbed: Json, way: str) -> None:
    cuts = WAYS[way](fresh_lab)
    final = fresh_lab.run("bootstrap")
    assert (final.rc, final.changed) == (0, 0), final.tail()
    assert len(set(cuts)) >= 8, cuts
    assert lab_contents(fresh_lab) == undisturbed
