# SPDX-License-Identifier: GPL-3.0-or-later
"""B1: the inventory of many guests, against ``community.proxmox.proxmox`` doing the same work in the same run.

On a played Proxmox VE of two nodes: a half of the guests runs, with agents of which a half is silent; each answer comes
after the injected delay. Seconds are those that Ansible spends with the inventory; the whole is ``ansible-inventory --list``
from its start to its end. ``python tests/benchmarks/bench_inventory.py 50 200`` runs it alone, with so many guests.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import shutil
import statistics
import sys
import tempfile
import typing as t

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path += [str(ROOT / "tests/integration/proxmox"), str(ROOT / "simulator"), str(ROOT / ".cache/collections")]

from pve_inventory import InventoryLab, Seen, interface
from rows import Cost, Row, Settings

SIZES = (10, 50, 200, 1000)
OURS, PEER = "groundwork.homelab.proxmox", "community.proxmox.proxmox"
#: From so many guests on, each is run once; smaller ones three times, and the median counts.
LARGE = 500
#: Seconds; the peer asks for a thousand guests one after the other.
PATIENCE = 1200.0

#: ``ansible-inventory`` that says on its last line how long it was busy with inventories.
TIMED = """
import sys, time
from ansible.cli import inventory
from ansible.inventory.manager import InventoryManager
parse, spent = InventoryManager.parse_sources, []
def timed(*given, **named):
    began = time.monotonic()
    try:
        return parse(*given, **named)
    finally:
        spent.append(time.monotonic() - began)
InventoryManager.parse_sources = timed
sys.argv[0] = "ansible-inventory"
try:
    inventory.main()
finally:
    print("SPENT", sum(spent), file=sys.stderr)
"""


@dataclasses.dataclass(frozen=True)
class Work:
    name: str
    facts: bool
    aim: str
    #: Whether the aim is met by what ours and the peer's needed.
    met: t.Callable[[Cost, Cost], bool]
    warm: bool = False


WORKS = (
    Work("hosts and groups", False, "1 request", lambda ours, _peer: ours.reads == 1),
    Work("all facts", True, "10 times as fast", lambda ours, peer: peer.seconds >= 10 * ours.seconds),
    Work("all facts, once more from the cache", True, "no request", lambda ours, _peer: ours.reads == 0, warm=True),
)


def rows(settings: Settings, chosen: t.Collection[str] = ("B1",), sizes: t.Sequence[int] = SIZES) -> t.Iterator[Row]:
    """One row for each delay, number of guests and work."""
    if "B1" not in chosen:
        return
    with tempfile.TemporaryDirectory() as folder, InventoryLab(pathlib.Path(folder)) as lab:
        for milliseconds in settings.delays:
            lab.faults.clear()
            if milliseconds:
                lab.fault("delay", seconds=milliseconds / 1000, times=0)
            for number in sizes:
                guests = settings.of(number)
                fill(lab, guests)
                for work in WORKS:
                    yield compared(lab, work, guests, milliseconds)


def compared(lab: InventoryLab, work: Work, guests: int, milliseconds: int) -> Row:
    runs = 1 if guests >= LARGE else 3
    ours, peer = (measured(lab, tool, work, runs) for tool in (OURS, PEER))
    name = f"{work.name}, {guests} guests"
    return Row("B1", name, milliseconds, ours, peer, PEER, work.aim, work.met(ours, peer))


def measured(lab: InventoryLab, tool: str, work: Work, runs: int) -> Cost:
    if work.warm:
        once(lab, tool, work)  # fills the cache
    seen = [once(lab, tool, work) for _run in range(runs)]
    return Cost(
        seconds=round(statistics.median(spent(one) for one in seen), 3),
        whole=round(statistics.median(one.seconds for one in seen), 3),
        cpu=round(statistics.median(one.cpu_seconds for one in seen), 3),
        reads=sum(not entry.write for entry in seen[-1].requests),
        writes=sum(entry.write for entry in seen[-1].requests),
    )


def once(lab: InventoryLab, tool: str, work: Work) -> Seen:
    """Raises RuntimeError when not every guest became a host."""
    file = lab.file(json.dumps(source(lab, tool, work)), f"{tool}.proxmox.yml")
    seen = lab.inventory(
        file=file, environment={"REQUESTS_CA_BUNDLE": lab.ca_path}, program=("-c", TIMED), patience=PATIENCE
    )
    guests = [host for host in seen.inventory.get("_meta", {}).get("hostvars", {}) if host.startswith("vm")]
    if len(guests) != len(lab.cluster.guests):
        raise RuntimeError(f"{tool} found {len(guests)} of {len(lab.cluster.guests)} guests: {seen.text[:2000]}")
    return seen


def spent(seen: Seen) -> float:
    return float(seen.text.rpartition("SPENT ")[2])


def source(lab: InventoryLab, tool: str, work: Work) -> dict[str, t.Any]:
    """The inventory file's options."""
    options: dict[str, t.Any] = {"plugin": tool}
    if tool == OURS:
        options["facts"] = ["config", "agent", "snapshots", "status"] if work.facts else []
    else:
        options |= {"url": f"https://127.0.0.1:{lab.port}", "user": "ansible@pve", "want_facts": work.facts}
        options |= {"token_id": "groundwork", "token_secret": "token-not-a-secret"}
    if work.warm:
        cache = {"cache_plugin": "ansible.builtin.jsonfile", "cache_connection": str(lab.root / f"cache-{tool}")}
        options |= {"cache": True, **cache}
    return options


def fill(lab: InventoryLab, guests: int) -> None:
    """Every second runs; every fourth's agent answers, and every fourth's is silent."""
    lab.cluster.guests.clear()
    lab.agents.interfaces.clear()
    for cache in lab.root.glob("cache-*"):
        shutil.rmtree(cache)
    for number in range(guests):
        vmid, mac = 1000 + number, f"02:00:00:00:{number // 256:02x}:{number % 256:02x}"
        address = f"10.1.{number // 250}.{number % 250 + 1}/16"
        lab.vm(
            vmid, f"vm{number}", node=f"pve{1 + number % 2}", running=number % 2 == 0, agent="1", tags="lab;bench",
            net0=f"virtio={mac},bridge=vmbr0", ipconfig0=f"ip={address}", scsi0=f"local:{vmid}/vm-{vmid}-disk-0.raw,size=8G",
        )  # fmt: skip
        if number % 4 == 0:
            lab.agents.interfaces[vmid] = [interface("eth0", mac, address)]


if __name__ == "__main__":
    for row in rows(Settings(), sizes=[int(size) for size in sys.argv[1:]] or SIZES):
        print(row, flush=True)
