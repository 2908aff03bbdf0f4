# SPDX-License-Identifier: GPL-3.0-or-later
"""B2, B3 and B4: virtual machines that are as wanted, that have drifted, that are made, and that do not start."""

from __future__ import annotations

import typing as t

from played import Played, Ran, converge, delay
from rows import Json, Row, Settings

if t.TYPE_CHECKING:
    from pve_lab import PveLab

PEER = "community.proxmox.proxmox_kvm"
VMS, DRIFTED, NEW = 50, 5, 8
CREATE_SECONDS, START_SECONDS = 5.0, 0.2
REASON = "start failed: QEMU exited with code 1"
FIRST = 100


def wanted(number: int, state: str) -> list[Json]:
    return [
        {
            "vmid": FIRST + index,
            "name": f"machine-{index}",
            "node": "pve1",
            "state": state,
            "cores": 2,
            "memory": 2048,
            "onboot": True,
            "tags": ["lab"],
            "ostype": "l26",
            "scsihw": "virtio-scsi-single",
            "disks": [{"storage": "local", "size": "4G"}],
            "networks": [{"bridge": "vmbr0", "vlan": 30}],
        }
        for index in range(number)
    ]


def ours(vms: list[Json]) -> list[Json]:
    return [{"groundwork.homelab.proxmox_vm": {"vms": vms}}]


def theirs(vms: list[Json], **more: t.Any) -> Json:
    """The same VMs in a loop, as the peer's documentation shows it. The disks and cards are the peer's strings."""
    plain = ("vmid", "name", "node", "cores", "memory", "onboot", "tags", "ostype", "scsihw")
    options = {name: "{{ item.%s }}" % name for name in plain}
    devices = {"scsi": {"scsi0": "local:4"}, "net": {"net0": "virtio,bridge=vmbr0,tag=30"}}
    return {PEER: {**options, **devices, **more}, "loop": vms, "loop_control": {"label": "{{ item.name }}"}}


def power(vms: list[Json]) -> Json:
    options = {"vmid": "{{ item.vmid }}", "node": "pve1", "state": "started"}
    return {PEER: options, "loop": vms, "loop_control": {"label": "{{ item.name }}"}}


def rows(settings: Settings, chosen: t.Collection[str]) -> t.Iterator[Row]:
    for milliseconds in settings.delays:
        for name, benches in (("B2", (nothing_to_do, some_drifted)), ("B3", (made,)), ("B4", (failed,))):
            if name in chosen:
                for bench in benches:
                    yield bench(settings, milliseconds)


def nothing_to_do(settings: Settings, milliseconds: int) -> Row:
    vms = wanted(settings.of(VMS), "present")
    with Played() as server:
        server.call(_make, vms, milliseconds)
        mine = server.run(ours(vms))
        other = server.run([theirs(vms, state="present", update=True)])
    met = mine.cost.reads <= 1 + len(vms) and mine.cost.writes == 0
    return Row(
        "B2",
        f"{len(vms)} VMs, nothing to do",
        milliseconds,
        mine.cost,
        other.cost,
        f"{PEER} with update, in a loop",
        f"at most {1 + len(vms)} reads, no write, under 2 s",
        met and mine.cost.seconds < 2,
        _changed(mine, other),
    )


def some_drifted(settings: Settings, milliseconds: int) -> Row:
    vms = wanted(settings.of(VMS), "present")
    drifted = min(DRIFTED, len(vms))
    with Played() as server:
        server.call(_make, vms, milliseconds)
        server.call(_drift, drifted)
        mine = server.run(ours(vms))
        server.call(_drift, drifted)
        other = server.run([theirs(vms, state="present", update=True)]) if settings.with_peer(milliseconds) else None
    return Row(
        "B2",
        f"{len(vms)} VMs, {drifted} drifted",
        milliseconds,
        mine.cost,
        other.cost if other else None,
        f"{PEER} with update, in a loop",
        f"exactly {drifted} writes",
        mine.cost.writes == drifted,
        _changed(mine, other),
    )


def made(settings: Settings, milliseconds: int) -> Row:
    """The tasks' own time is that of one VM: all are made at once."""
    vms = wanted(NEW, "started")
    times = {"qmcreate": CREATE_SECONDS, "qmstart": START_SECONDS}
    with Played(times) as server:
        server.call(delay, milliseconds)
        mine = server.run(ours(vms))
    other = _made_by_peer(vms, times, milliseconds) if settings.with_peer(milliseconds) else None
    own = CREATE_SECONDS + START_SECONDS
    return Row(
        "B3",
        f"{NEW} VMs created and started",
        milliseconds,
        mine.cost,
        other.cost if other else None,
        f"{PEER} in two loops",
        f"at most 1.2 times the {own:g} s of the tasks themselves",
        mine.cost.seconds <= 1.2 * own,
        f"{mine.cost.seconds / own:.2f} times the tasks' own time; at most 8 guests at once.",
    )


def _made_by_peer(vms: list[Json], times: t.Mapping[str, float], milliseconds: int) -> Ran:
    with Played(times) as server:
        server.call(delay, milliseconds)
        return server.run([theirs(vms, state="present"), power(vms)])


def failed(settings: Settings, milliseconds: int) -> Row:
    vms = wanted(1, "started")
    with Played() as server:
        server.call(_make, [{**vms[0], "state": "present"}], 0)
        server.call(_break_start, milliseconds)
        mine = server.run(ours(vms), fails=True)
        other = server.run([power(vms)], fails=True) if settings.with_peer(milliseconds) else None
    return Row(
        "B4",
        "from a failed task to its error",
        milliseconds,
        mine.cost,
        other.cost if other else None,
        PEER,
        "under 1 s, with the server's reason",
        mine.cost.seconds < 1 and REASON in mine.message,
        f"Ours: {mine.message!r}" + (f" The peer's: {_first_item(other)!r}" if other else ""),
    )


def _changed(mine: Ran, other: Ran | None) -> str:
    told = f"Changes reported: ours {len(mine.results[0]['changes'])}"
    return told + (f", the peer's {sum(item['changed'] for item in other.results[0]['results'])}." if other else ".")


def _first_item(ran: Ran) -> str:
    """The message of the loop's item that failed; the task's own only says that one did."""
    return next((str(item["msg"]) for one in ran.results for item in one.get("results", ()) if "msg" in item), "")


# -- in the server's process -----------------------------------------------------------------------------------------


def _make(lab: PveLab, vms: list[Json], milliseconds: int) -> None:
    converge(lab, "proxmox_vm", vms=vms)
    delay(lab, milliseconds)


def _drift(lab: PveLab, number: int) -> None:
    """Somebody takes a core away by hand."""
    with lab.session() as session:
        for vmid in range(FIRST, FIRST + number):
            session.put(f"/nodes/pve1/qemu/{vmid}/config", {"cores": 1}, asked="drift")


def _break_start(lab: PveLab, milliseconds: int) -> None:
    lab.fault("task-error", verb="POST", path="*/status/start", times=0, text=REASON)
    delay(lab, milliseconds)
