# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests of containers share: a wish, runs of it, and what the played Proxmox VE made of it."""

from __future__ import annotations

import copy
import typing as t

from pve_lab import Outcome, PveLab

from ansible_collections.groundwork.homelab.plugins.modules import proxmox_lxc

TEMPLATE = "local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ6Yq0u2Tn0p9qM3m0o1m2Zp0oYvG2VnN0gk4yTt1oXk a@b"
CT: dict[str, t.Any] = {
    "vmid": 310,
    "hostname": "traefik",
    "node": "pve1",
    "ostemplate": TEMPLATE,
    "rootfs": {"storage": "local", "size": "2G"},
    "mounts": [{"mp": "/data", "storage": "local", "size": "1G", "backup": True}],
    "cores": 1,
    "cpulimit": 0.5,
    "memory": 512,
    "swap": 256,
    "networks": [{"ip": "192.168.1.4/24", "gateway": "192.168.1.1", "ip6": "auto", "vlan": 30, "firewall": True}],
    "nameservers": ["192.168.1.1", "9.9.9.9"],
    "searchdomain": "lab.test",
    "features": {"nesting": True},
    "ssh_keys": [KEY],
    "password": "container-not-a-secret",
    "tags": ["Edge", "proxy"],
    "onboot": True,
    "startup": "order=3,up=60,down=60",
    "description": "the\n\nproxy\n",
    "timezone": "Europe/Berlin",
}
#: What only root@pam with a password may set.
ROOTS: dict[str, t.Any] = {
    "vmid": 312,
    "hostname": "media",
    "node": "pve1",
    "ostemplate": TEMPLATE,
    "rootfs": {"storage": "local", "size": "1G"},
    "features": {"nesting": True, "keyctl": True, "fuse": True, "mount": ["nfs", "cifs"]},
    "devices": [{"path": "/dev/dri/renderD128", "gid": 104}],
    "mounts": [{"mp": "/media", "source": "/srv", "readonly": True}],
}


def with_(base: dict[str, t.Any] | None = None, **more: t.Any) -> dict[str, t.Any]:
    return {**copy.deepcopy(base or CT), **more}


def put_template(lab: PveLab) -> None:
    lab.put_file("vztmpl", TEMPLATE.rpartition("/")[2], b"a template\n")


def cts(lab: PveLab, *wishes: dict[str, t.Any], check: bool = False, **more: t.Any) -> Outcome:
    return lab.run(proxmox_lxc, check=check, containers=list(wishes or [CT]), **more)


def made(lab: PveLab, *wishes: dict[str, t.Any], **more: t.Any) -> Outcome:
    outcome = cts(lab, *wishes, **more)
    assert not outcome.result.get("failed"), outcome.result
    return outcome


def truthful(lab: PveLab, *wishes: dict[str, t.Any], **more: t.Any) -> Outcome:
    """Check mode writes nothing and lists what the run then does; a second run does nothing."""
    predicted = made(lab, *wishes, check=True, **more)
    assert predicted.writes == []
    outcome = made(lab, *wishes, **more)
    assert outcome.changes == predicted.changes
    assert outcome.result.get("diff") == predicted.result.get("diff")
    assert outcome.result["containers"] == predicted.result["containers"]
    again = made(lab, *wishes, **more)
    assert (again.changes, again.writes, again.result["changed"]) == ([], [], False)
    return outcome


def config_of(lab: PveLab, vmid: int = 310, node: str = "pve1") -> dict[str, t.Any]:
    with lab.session() as session:
        return dict(session.get(f"/nodes/{node}/lxc/{vmid}/config"))


def status_of(lab: PveLab, vmid: int = 310, node: str = "pve1") -> str:
    with lab.session() as session:
        return str(session.get(f"/nodes/{node}/lxc/{vmid}/status/current")["status"])


def vmids(lab: PveLab) -> list[int]:
    with lab.session() as session:
        return sorted(entry["vmid"] for entry in session.get("/nodes/pve1/lxc"))


def change(lab: PveLab, vmid: int = 310, **options: t.Any) -> None:
    """By hand, as root."""
    with lab.session() as session:
        session.put(f"/nodes/pve1/lxc/{vmid}/config", options, asked="change it by hand")
