# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``--check`` lists is what the next run does, resource by resource, and it writes nothing."""

from __future__ import annotations

import pytest

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


#: Eight drifts, each made by other means than the collection: name, how, and the resource that must be named.
DRIFTS: dict[str, tuple[str, str]] = {
    "VM memory": ("proxmox PUT /nodes/pve1/qemu/200/config memory=8192", "vm/200"),
    "VM tag": ("proxmox PUT /nodes/pve1/qemu/200/config tags=by-hand", "vm/200"),
    "NIC VLAN": ("proxmox PUT /nodes/pve1/qemu/200/config net0=@tag=31", "vm/200"),
    "disk size": ("inventory machine_disk=120", "vm/200"),
    "VM stopped": ("proxmox POST /nodes/pve1/qemu/200/status/stop", "vm/200"),
    "Talos sysctl": ("talos sysctl", "talos-config/talos-cp01"),
    "node label": ("kubernetes label", "Node/talos-cp01"),
    "applied manifest": ("kubernetes namespace", "Namespace/observability"),
}


@pytest.mark.parametrize("drift", DRIFTS)
def test_after_a_drift_the_prediction_is_the_run(running_lab: Lab, drift: str) -> None:
    how, resource = DRIFTS[drift]
    extra = running_lab.drift(how)
    mark = running_lab.mark()
    predicted = running_lab.run("bootstrap", "--check", "--diff", *extra)
    assert predicted.rc == 0, predicted.tail()
    assert playbook_writes(running_lab.ledger(mark)) == []
    assert resource in {change["resource"] for change in changes_of(predicted)}
    made = running_lab.run("bootstrap", *extra)
    assert made.rc == 0, made.tail()
    assert changes_of(predicted) == changes_of(made)
    again = running_lab.run("bootstrap", *extra)
    assert (again.rc, again.changed) == (0, 0), again.tail()
