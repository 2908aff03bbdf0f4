# SPDX-License-Identifier: GPL-3.0-or-later
"""Bootstraps and modules on a simulated lab of its own.

- the cold and the no-op bootstrap of ``inventories/solo``;
- the no-op call of every module that a bootstrap calls, in process and as an ordinary module: the cost of one more task in a
  play.

CPU is user and system time of ``ansible-playbook`` and all its children, without the lab's own processes.
"""

from __future__ import annotations

import json
import pathlib
import resource
import subprocess
import sys
import tempfile
import time
import typing as t

from rows import Cost, Json, Row, Settings

from simlab.harness import SimulatedLab

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOLO = ROOT / "inventories/solo"

#: Each module's call on a lab that is as the inventory says, so it changes nothing.
CALLS: dict[str, Json] = {
    "preflight": {"inventory": "{{ hostvars | groundwork.homelab.lab_inventory(groups) }}"},
    "proxmox_image": {"images": "{{ hostvars | groundwork.homelab.lab_images(groups) }}"},
    "proxmox_vm": {"vms": "{{ hostvars | groundwork.homelab.lab_vms(groups) }}"},
    "talos_secrets": {"secrets_path": "{{ settings.secrets_bundle }}"},
    "talos_config": {"talosconfig_dest": "{{ settings.talosconfig }}"},
    "talos_apply_config": {},
    "talos_bootstrap": {
        "node": "{{ settings.control_plane.address }}",
        "node_name": "{{ settings.control_plane.name }}",
        "cluster_name": "{{ settings.cluster_name }}",
    },
    "talos_kubeconfig": {
        "node": "{{ settings.control_plane.address }}",
        "node_name": "{{ settings.control_plane.name }}",
        "dest": "{{ settings.kubeconfig }}",
    },
    "talos_health": {"nodes": "{{ talos.members }}"},
    "manifests": {"definitions": "{{ cluster_manifests }}"},
}
_RENDERED = ("talos_config", "talos_apply_config")
_INPUTS = ("cluster", "nodes", "patches", "control_plane_patches", "worker_patches")
#: A call's cost is the difference between plays with so many calls, shared out among them.
FEW, MANY = 1, 6
#: Where the playbooks' requests come from: the gateway of the lab's network. All others are the lab's own.
CONTROLLER = "192.168.30.1"


def play(module: str, calls: int) -> list[Json]:
    """A play that calls the module so often; the same settings as in the bootstrap."""
    arguments = dict(CALLS[module])
    if module in _RENDERED:
        arguments |= {name: "{{ talos.%s }}" % name for name in _INPUTS}
    task = {"name": f"Call {module}", f"groundwork.homelab.{module}": arguments}
    (bootstrap,) = json.loads(json.dumps(_bootstrap()))
    return [
        {
            "name": f"{calls} times {module}",
            "hosts": "localhost",
            "connection": "local",
            "gather_facts": False,
            "vars": {
                **bootstrap["vars"],
                "settings": "{{ hostvars | groundwork.homelab.lab_settings(groups) }}",
                "talos": "{{ hostvars | groundwork.homelab.lab_talos(groups) }}",
            },
            "module_defaults": bootstrap["module_defaults"],
            "tasks": [task] * calls,
        }
    ]


def _bootstrap() -> t.Any:
    import yaml

    return yaml.safe_load((ROOT / "playbooks/bootstrap.yml").read_text())


class Bench:
    def __init__(self, lab: SimulatedLab, folder: pathlib.Path) -> None:
        self.lab = lab
        self.folder = folder

    def run(self, playbook: str, *arguments: str) -> Json:
        """One run of a playbook, measured from inside of the lab. Raises RuntimeError when it fails."""
        mark = self.lab.mark()
        command = ["ansible-playbook", "-i", str(SOLO), "-e", "@/run/simlab/variables.yml", *arguments, playbook]
        done = self.lab.exec(sys.executable, str(pathlib.Path(__file__)), "--measure", *command)
        if done.exit:
            raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout[-4000:]}\n{done.stderr[-2000:]}")
        return {**json.loads(done.stdout.splitlines()[-1]), "requests": self._requests(mark)}

    def _requests(self, mark: int) -> Json:
        found: Json = {}
        for entry in self.lab.ledger(mark):
            if entry["source"] == CONTROLLER:
                counts = found.setdefault(entry["api"], {"reads": 0, "writes": 0})
                counts["writes" if entry["write"] else "reads"] += 1
        return found

    def module(self, name: str, *, in_process: bool) -> Json:
        """What one more call costs, and what one call asks for."""
        switch = json.dumps({"groundwork_in_process": in_process})
        few, many = (self._calls(name, calls, switch) for calls in (FEW, MANY))
        cost = {key: round((many[key] - few[key]) / (MANY - FEW), 3) for key in ("seconds", "cpu_seconds")}
        return {**cost, "requests": few["requests"]}

    def _calls(self, name: str, calls: int, switch: str) -> Json:
        path = self.folder / f"{name}-{calls}.yml"
        path.write_text(json.dumps(play(name, calls)))
        run = self.run(str(path), "-e", switch)
        if run["changed"]:
            raise RuntimeError(f"{name} changed something on a lab that is as it should be")
        return run


def measure(command: list[str]) -> int:
    """Run a program and print a line of JSON: seconds, CPU seconds, and whether the recap tells of changes."""
    started = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    seconds = time.monotonic() - started
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        print(done.stdout)
        return done.returncode
    result = {
        "seconds": round(seconds, 3),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 3),
        "changed": "changed=0 " not in done.stdout,
    }
    print(json.dumps(result))
    return 0


def rows(_settings: Settings, chosen: t.Collection[str]) -> t.Iterator[Row]:
    if not {"bootstrap", "modules"} & set(chosen):
        return
    with tempfile.TemporaryDirectory() as folder, SimulatedLab(SOLO) as lab:
        bench = Bench(lab, pathlib.Path(folder))
        playbook = str(ROOT / "playbooks/bootstrap.yml")
        for name in ("cold", "no-op"):
            run = bench.run(playbook)
            if "bootstrap" in chosen:
                yield Row("bootstrap", f"{name}, 1 node", 0, cost(run), note=by_api(run))
        for name in CALLS if "modules" in chosen else ():
            for way, in_process in (("in process", True), ("as a module", False)):
                run = bench.module(name, in_process=in_process)
                yield Row("modules", f"{name}, {way}", 0, cost(run), note=by_api(run))


def cost(run: Json) -> Cost:
    reads, writes = (sum(counts[kind] for counts in run["requests"].values()) for kind in ("reads", "writes"))
    return Cost(run["seconds"], run["seconds"], run["cpu_seconds"], reads, writes)


def by_api(run: Json) -> str:
    return "; ".join(f"{api} {c['reads']} reads, {c['writes']} writes" for api, c in run["requests"].items())


if __name__ == "__main__":  # from inside of the lab
    sys.exit(measure(sys.argv[2:]))
