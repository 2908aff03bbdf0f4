# SPDX-License-Identifier: GPL-3.0-or-later
"""B7: is what check mode predicts what the run then does? The judge is the server: its guests before and after the run.

Each of twenty guests is changed by hand in another way. A fact is a guest and an option of it (or its power, its pool, its
existence). Predicted are the facts that ``--check`` names; made are those that differ on the server after the run.
"""

from __future__ import annotations

import dataclasses
import typing as t

from bench_guests import PEER, theirs, wanted
from played import Played, converge, delay
from pve_containers import TEMPLATE, put_template
from rows import Json, Row, Settings

if t.TYPE_CHECKING:
    from pve_lab import PveLab

Facts = set[tuple[str, str]]
FIRST_CT = 300
#: What a server changes by itself when anything else is written.
OWN = ("digest", "meta", "vmgenid", "smbios1")


@dataclasses.dataclass(frozen=True)
class Drift:
    """``options`` are written to the guest's configuration; ``{mac}`` and ``{volume}`` stand for its own. ``power`` switches
    it, ``gone`` deletes it."""

    options: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    power: str = ""
    gone: bool = False


def _drift(**options: t.Any) -> Drift:
    return Drift(options)


VM_DRIFTS: tuple[Drift, ...] = (
    _drift(cores=1),
    _drift(memory=1024),
    _drift(tags="somebody;else"),
    _drift(onboot=0),
    _drift(net0="virtio={mac},bridge=vmbr0,tag=40"),
    _drift(net0="virtio={mac},bridge=vmbr0,tag=30,firewall=1"),
    _drift(scsi0="{volume},size=4G,ssd=1"),
    _drift(description="changed by hand"),
    _drift(boot="order=net0"),
    _drift(agent="0"),
    _drift(ostype="l24", cores=4, memory=512),
    _drift(hotplug="disk"),  # nobody's wish: to be left as it is
    _drift(net1="virtio,bridge=vmbr0"),  # a card that nobody named: to be left as it is
    Drift(power="start"),
    Drift(gone=True),
)
CT_DRIFTS: tuple[Drift, ...] = (
    _drift(cores=1),
    _drift(memory=256),
    _drift(onboot=0),
    Drift(power="start"),
    Drift(gone=True),
)


def vms() -> list[Json]:
    more = {"description": "a machine of the lab", "agent": True, "boot_order": ["scsi0", "net0"]}
    found = [{**vm, **more} for vm in wanted(len(VM_DRIFTS), "present")]
    for vm, drift in zip(found, VM_DRIFTS, strict=True):
        vm["state"] = "stopped" if drift.power else "present"
    return found


def cts() -> list[Json]:
    return [
        {
            "vmid": FIRST_CT + index,
            "hostname": f"container-{index}",
            "node": "pve1",
            "state": "stopped" if drift.power else "present",
            "ostemplate": TEMPLATE,
            "rootfs": {"storage": "local", "size": "4G"},
            "cores": 2,
            "memory": 512,
            "onboot": True,
            "networks": [{"bridge": "vmbr0", "ip": "dhcp"}],
        }
        for index, drift in enumerate(CT_DRIFTS)
    ]


def tasks() -> list[Json]:
    return [
        {"groundwork.homelab.proxmox_vm": {"vms": vms()}},
        {"groundwork.homelab.proxmox_lxc": {"containers": cts()}},
    ]


def rows(settings: Settings, chosen: t.Collection[str]) -> t.Iterator[Row]:
    if "B7" in chosen:
        for milliseconds in settings.delays:
            yield truth(milliseconds, with_peer=settings.with_peer(milliseconds))


def truth(milliseconds: int, *, with_peer: bool) -> Row:
    with Played() as server:
        server.call(_prepare)
        before = server.call(_drifted)
        server.call(delay, milliseconds)
        checked = server.run(tasks(), "--check", "--diff")
        other = server.run([theirs(vms(), state="present", update=True)], "--check") if with_peer else None
        between = server.call(_look)
        server.run(tasks())
        made = _made(before, server.call(_look))
    predicted = {fact for result in checked.results for change in result["changes"] for fact in _facts(change)}
    right = predicted & made
    precision, recall = (len(right) / max(1, len(all_)) for all_ in (predicted, made))
    wrong = sorted(" ".join(fact) for fact in predicted ^ made)
    drifts = len(VM_DRIFTS) + len(CT_DRIFTS)
    note = f"Precision {precision:.0%}, recall {recall:.0%} of {len(made)} facts that the run changed."
    note += f" Wrong: {', '.join(wrong)}." if wrong else ""
    if other:
        said = sum(bool(item.get("changed")) for item in other.results[0].get("results", ()))
        note += f" The peer has no check mode: it predicted {said} changes."
    return Row(
        "B7",
        f"check mode over {drifts} drifts",
        milliseconds,
        checked.cost,
        None,
        PEER,
        "precision and recall 100 %, check mode writes nothing",
        not wrong and between == before and checked.cost.writes == 0,
        note,
    )


def _facts(change: Json) -> Facts:
    resource, action = change["resource"], change["action"]
    whole = {"create": "exists", "delete": "exists", "start": "power", "stop": "power"}
    if action in whole:
        return {(resource, whole[action])}
    return {(resource, key) for key in {**(change["before"] or {}), **(change["after"] or {})}}


def _made(before: Json, after: Json) -> Facts:
    found: Facts = set()
    for resource in before.keys() | after.keys():
        old, new = before.get(resource), after.get(resource)
        if old is None or new is None:
            found.add((resource, "exists"))
        else:
            found |= {(resource, key) for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
    return found


# -- in the server's process -----------------------------------------------------------------------------------------


def _prepare(lab: PveLab) -> None:
    converge(lab, "proxmox_vm", vms=vms())
    put_template(lab)
    converge(lab, "proxmox_lxc", containers=cts())


def _drifted(lab: PveLab) -> Json:
    """Change each guest; what there is then."""
    all_ = [("qemu", vm["vmid"], drift) for vm, drift in zip(vms(), VM_DRIFTS, strict=True)]
    all_ += [("lxc", ct["vmid"], drift) for ct, drift in zip(cts(), CT_DRIFTS, strict=True)]
    with lab.session() as session:
        for kind, vmid, drift in all_:
            path = f"/nodes/pve1/{kind}/{vmid}"
            if drift.options:
                session.put(f"{path}/config", _filled(session.get(f"{path}/config"), drift), asked="drift")
            if drift.power:
                _wait(session, session.post(f"{path}/status/{drift.power}", asked="drift"))
            if drift.gone:
                _wait(session, session.delete(path, asked="drift"))
    return _look(lab)


def _filled(config: Json, drift: Drift) -> Json:
    mac = str(config.get("net0", "")).partition(",")[0].partition("=")[2]
    volume = str(config.get("scsi0", "")).partition(",")[0]
    return {
        key: value.format(mac=mac, volume=volume) if isinstance(value, str) else value
        for key, value in drift.options.items()
    }


def _wait(session: t.Any, upid: str) -> None:
    from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.api.tasks import Tasks

    Tasks(session, print).wait(upid, asked="drift")


def _look(lab: PveLab) -> Json:
    """``vm/100`` -> its options, its power, its pool."""
    found = {}
    with lab.session() as session:
        for kind, word in (("qemu", "vm"), ("lxc", "ct")):
            for entry in session.get(f"/nodes/pve1/{kind}"):
                config = session.get(f"/nodes/pve1/{kind}/{entry['vmid']}/config")
                kept = {key: value for key, value in config.items() if key not in OWN}
                found[f"{word}/{entry['vmid']}"] = {**kept, "power": entry["status"]}
    return found
