# SPDX-License-Identifier: GPL-3.0-or-later
"""``make bench [REPORT=bench.json] [ONLY=B2,B4]``: what we need for a piece of work, and what the peers need for the same.

Proxmox VE is played on this machine, in a process of its own; each request is answered after an injected delay of 0 and of
20 ms. Ours and the peer's are ``ansible-playbook`` runs one after the other. ``docs/benchmarks.md`` is made of the report by
``make docs``.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import platform
import sys
import time
import typing as t

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1] / ".cache/collections"), str(HERE.parents[1] / "simulator")]

from rows import Json, Row, Settings

#: Benchmarks by name -> the module whose ``rows(settings, chosen)`` has them, and what they are.
BENCHES: dict[str, tuple[str, str]] = {
    "B1": ("bench_inventory", "Inventory of a cluster"),
    "B2": ("bench_guests", "VMs that are as wanted, or nearly"),
    "B3": ("bench_guests", "New VMs"),
    "B4": ("bench_guests", "From a failed task to its error"),
    "B5": ("bench_manifests", "A hundred objects applied"),
    "B6": ("bench_waiting", "Thirty objects that become ready"),
    "B7": ("bench_truth", "Truth of check mode"),
    "B8": ("bench_secrets", "Secrets sealed for a GitOps repository"),
    "T1": ("bench_talos", "Talos nodes that are as wanted"),
    "T2": ("bench_talos", "Machine configs rendered and checked"),
    "T3": ("bench_talos", "Facts of Talos nodes"),
    "bootstrap": ("bench_bootstrap", "A lab from nothing, and once more"),
    "modules": ("bench_bootstrap", "One more task that changes nothing"),
}
PACKAGES = ("ansible-core", "ansible", "urllib3", "proxmoxer", "requests")
PEERS = {
    "community.proxmox": "ansible_collections.community.proxmox",
    "kubernetes.core": "ansible_collections.kubernetes.core",
}


def report(settings: Settings, chosen: t.Collection[str]) -> Json:
    started, before = time.monotonic(), os.getloadavg()[0]
    found: list[Row] = []
    for module in dict.fromkeys(module for name, (module, _) in BENCHES.items() if name in chosen):
        if importlib.util.find_spec(module) is None:
            print(f"bench: {module} is not here", file=sys.stderr)
            continue
        for row in importlib.import_module(module).rows(settings, chosen):
            print(row, flush=True)
            found.append(row)
    return {
        "machine": {**machine(), "load_before": round(before, 2), "seconds": round(time.monotonic() - started)},
        "size": settings.size,
        "titles": {name: title for name, (_, title) in BENCHES.items()},
        "rows": [row.as_json() for row in found],
    }


def machine() -> Json:
    cpuinfo = pathlib.Path("/proc/cpuinfo").read_text() if pathlib.Path("/proc/cpuinfo").exists() else ""
    model = next((line.partition(":")[2].strip() for line in cpuinfo.splitlines() if line.startswith("model name")), "")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    return {
        "processors": os.cpu_count(),
        "processor": model or platform.machine(),
        "memory_gib": round(memory),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "peers": {name: _collection(package) for name, package in PEERS.items()},
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _collection(package: str) -> str:
    spec = importlib.util.find_spec(package)
    folder = next(iter(spec.submodule_search_locations or ()), "") if spec else ""
    manifest = pathlib.Path(folder, "MANIFEST.json")
    return str(json.loads(manifest.read_text())["collection_info"]["version"]) if manifest.exists() else "not installed"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--report", type=pathlib.Path, required=True, metavar="FILE", help="where the JSON goes")
    parser.add_argument("--only", default=",".join(BENCHES), help=f"some of {', '.join(BENCHES)}")
    parser.add_argument("--size", type=int, default=100, metavar="PERCENT", help="fewer guests, for a busy machine")
    parser.add_argument("--delays", default="0,20", metavar="MS,…", help="injected delays in milliseconds")
    given = parser.parse_args()
    chosen = [name for name in given.only.replace(",", " ").split() if name]
    unknown = sorted(set(chosen) - BENCHES.keys())
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHES)}")
    delays = tuple(int(part) for part in given.delays.split(","))
    found = report(Settings(delays, given.size), chosen)
    given.report.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    missed = [f"{row['bench']} {row['name']} ({row['delay']} ms)" for row in found["rows"] if row["met"] is False]
    print(f"written to {given.report}" + (f"; aims missed: {'; '.join(missed)}" if missed else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main())
