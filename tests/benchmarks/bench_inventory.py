# SPDX-License-Identifier: GPL-3.0-or-later
"""B1: the inventory of many guests, against ``community.proxmox.proxmox`` doing the same work in the same run.

On a played Proxmox VE of two nodes: a half of the guests runs, with agents of which a half is silent; each answer comes
after the injected delay. ``groups``: hosts with groups by node, type and status. ``facts``: besides these everything that
the peer's ``want_facts`` gives: status, configuration, snapshots, addresses from agents. ``facts, warm``: the same again,
from a cache. Requests are counted by the server. Seconds are those of ``ansible-inventory --list``, ``start`` is what it
takes for an inventory of one host.

``rows()`` is for other programs; ``python tests/benchmarks/bench_inventory.py`` prints a table.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import typing as t

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests/integration/proxmox"))

from pve_inventory import InventoryLab, Seen, interface

Row = dict[str, t.Any]

SIZES = (10, 50, 200, 1000)
DELAYS = (0.0, 0.02)
OURS, PEER = "groundwork.homelab.proxmox", "community.proxmox.proxmox"
WORKS = ("groups", "facts", "facts, warm")


def fill(lab: InventoryLab, guests: int) -> None:
    """Every fourth guest's agent answers, every fourth's is silent."""
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


def source(lab: InventoryLab, tool: str, work: str) -> dict[str, t.Any]:
    """The inventory file's options."""
    facts = work.startswith("facts")
    options: dict[str, t.Any] = {"plugin": tool}
    if tool == OURS:
        options["facts"] = ["config", "agent", "snapshots", "status"] if facts else []
    else:
        options |= {"url": f"https://127.0.0.1:{lab.port}", "user": "ansible@pve", "want_facts": facts}
        options |= {"token_id": "groundwork", "token_secret": "token-not-a-secret"}
    if work.endswith("warm"):
        cache = {"cache_plugin": "ansible.builtin.jsonfile", "cache_connection": str(lab.root / f"cache-{tool}")}
        options |= {"cache": True, **cache}
    return options


def once(lab: InventoryLab, tool: str, work: str) -> Seen:
    """Raises RuntimeError when not every guest became a host."""
    file = lab.file(json.dumps(source(lab, tool, work)), f"{tool}.proxmox.yml")
    seen = lab.inventory(file=file, environment={"REQUESTS_CA_BUNDLE": lab.ca_path})
    guests = [host for host in seen.inventory.get("_meta", {}).get("hostvars", {}) if host.startswith("vm")]
    if len(guests) != len(lab.cluster.guests):
        raise RuntimeError(f"{tool} found {len(guests)} of {len(lab.cluster.guests)} guests: {seen.text[:2000]}")
    return seen


def measured(lab: InventoryLab, tool: str, work: str, guests: int, delay: float, runs: int) -> Row:
    if work.endswith("warm"):
        once(lab, tool, work)  # fills the cache
    seen = [once(lab, tool, work) for _run in range(runs)]
    seconds = [one.seconds for one in seen]
    return {
        "benchmark": "B1", "guests": guests, "delay_ms": round(delay * 1000), "work": work, "tool": tool,
        "requests": len(seen[-1].requests), "seconds": round(statistics.median(seconds), 2),
        "cpu_seconds": round(statistics.median(one.cpu_seconds for one in seen), 2),
        "seconds_range": [round(min(seconds), 2), round(max(seconds), 2)], "runs": runs,
    }  # fmt: skip


def start(lab: InventoryLab, runs: int) -> float:
    """Seconds that ``ansible-inventory`` takes without any plugin's work."""
    times = []
    for _run in range(runs):
        began = time.monotonic()
        command = [sys.executable, "-m", "ansible.cli.inventory", "-i", "localhost,", "--list"]
        subprocess.run(command, env=lab.environment(), capture_output=True, timeout=60, check=True)
        times.append(time.monotonic() - began)
    return round(statistics.median(times), 2)


def rows(
    sizes: t.Sequence[int] = SIZES,
    delays: t.Sequence[float] = DELAYS,
    works: t.Sequence[str] = WORKS,
    runs: int = 3,
    progress: t.Callable[[Row], None] = lambda _row: None,
) -> list[Row]:
    """One row for each size, delay, work and tool; ours also have ``times_faster``, whole and ``without_start``.

    From 500 guests on, each is run once.
    """
    found: list[Row] = []
    with tempfile.TemporaryDirectory() as folder, InventoryLab(pathlib.Path(folder)) as lab:
        floor = start(lab, runs)
        for delay in delays:
            lab.faults.clear()
            if delay:
                lab.fault("delay", seconds=delay, times=0)
            for guests in sizes:
                fill(lab, guests)
                for work in works:
                    pair = [
                        measured(lab, tool, work, guests, delay, 1 if guests >= 500 else runs) for tool in (OURS, PEER)
                    ]
                    compare(*pair, floor)
                    found += pair
                    for row in pair:
                        progress(row)
    return found


def compare(ours: Row, peer: Row, floor: float) -> None:
    for row in (ours, peer):
        row["start"] = floor
    ours["times_faster"] = round(peer["seconds"] / ours["seconds"], 1)
    own = max(ours["seconds"] - floor, 0.05)  # below that the clock says nothing
    ours["times_faster_without_start"] = round(max(peer["seconds"] - floor, 0.0) / own, 1)


HEADS = (
    "guests",
    "delay_ms",
    "work",
    "tool",
    "requests",
    "seconds",
    "cpu_seconds",
    "start",
    "times_faster",
    "times_faster_without_start",
)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--delays", type=float, nargs="+", default=list(DELAYS), help="seconds")
    parser.add_argument("--works", nargs="+", default=list(WORKS), choices=WORKS)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--report", help="write the rows there, as JSON")
    given = parser.parse_args()
    print("| " + " | ".join(HEADS) + " |\n" + "|---" * len(HEADS) + "|")
    found = rows(
        given.sizes, given.delays, given.works, given.runs,
        lambda row: print("| " + " | ".join(str(row.get(head, "")) for head in HEADS) + " |", flush=True),
    )  # fmt: skip
    if given.report:
        pathlib.Path(given.report).write_text(json.dumps(found, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
