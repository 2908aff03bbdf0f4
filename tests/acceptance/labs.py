# SPDX-License-Identifier: GPL-3.0-or-later
"""A simulated solo lab, as the acceptance tests use it."""

from __future__ import annotations

import dataclasses
import fnmatch
import json
import pathlib
import re
import sys
import time
import typing as t

from simlab.harness import SimulatedLab

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOLO = ROOT / "inventories" / "solo"
ASK = pathlib.Path(__file__).with_name("ask.py")
TOKEN_ID = "ansible@pve!groundwork"

#: Requests of playbooks come from the lab's router; all others come from guests and from within nodes.
CONTROLLER = "192.168.30.1"

Json = dict[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Run:
    """A playbook's run, with everything that it printed."""

    rc: int
    seconds: float
    changed: int
    failed: int
    changes: list[Json]
    requests: dict[str, dict[str, int]]
    layers: list[Json]
    out: str
    #: When it was over, in seconds since the epoch, as the ledger counts.
    ended: float

    def joined(self) -> str:
        """The output as one line: callbacks fold long texts."""
        return re.sub(r"\s+", " ", self.out)

    def tail(self, lines: int = 60) -> str:
        return "\n".join(self.out.splitlines()[-lines:])


class Lab:
    def __init__(self, simulated: SimulatedLab) -> None:
        self.simulated = simulated

    def run(self, playbook: str, *arguments: str, env: t.Mapping[str, str] | None = None) -> Run:
        done = self.simulated.run_playbook(playbook, *arguments, env=env)
        ended = time.time()
        report = dict(done.run or {})
        return Run(
            rc=done.exit,
            seconds=report.get("seconds", 0.0),
            changed=report.get("changed", -1),
            failed=report.get("failed", -1),
            changes=list(report.get("changes", [])),
            requests=dict(report.get("requests", {})),
            layers=list(report.get("layers", [])),
            out=done.stdout + done.stderr,
            ended=ended,
        )

    def seconds_after(self, run: Run, verb: str, path: str) -> float:
        """How long the run went on after its last request of this kind."""
        asked = [one for one in self.ledger() if one["verb"] == verb and fnmatch.fnmatchcase(one["path"], path)]
        return run.ended - float(asked[-1]["at"])

    def ledger(self, since: int = 0) -> list[Json]:
        return self.simulated.ledger(since)

    def mark(self) -> int:
        """Once everything that was asked so far stands in the ledger: audit logs get there a little later."""
        time.sleep(1.5)
        return self.simulated.mark()

    def fault(self, kind: str, **fields: t.Any) -> None:
        self.simulated.fault(kind, **fields)

    def clear_faults(self) -> None:
        self.simulated.clear_faults()

    def hit(self) -> list[str]:
        """The requests that the active faults have hit."""
        return [request for fault in self.simulated.status()["faults"] for request in fault["hit"]]

    def shell(self, command: str) -> str:
        done = self.simulated.exec("sh", "-c", command)
        if done.exit:
            raise RuntimeError(f"{command}: {done.stderr or done.stdout}")
        return done.stdout

    def ask(self, **question: t.Any) -> t.Any:
        done = self.simulated.exec(sys.executable, str(ASK), json.dumps(question), env={"ASK_TOKEN_ID": TOKEN_ID})
        if done.exit:
            raise RuntimeError(f"{question}: {done.stderr or done.stdout}")
        return json.loads(done.stdout)

    def proxmox(self, method: str, path: str, **form: t.Any) -> t.Any:
        return self.ask(api="proxmox", method=method, path=path, form=form or None)

    def kubernetes(self, method: str, path: str, body: Json | None = None) -> t.Any:
        return self.ask(api="kubernetes", method=method, path=path, json=body)

    def await_task(self, upid: str) -> None:
        for _ in range(100):
            status = self.proxmox("GET", f"/nodes/pve1/tasks/{upid}/status")
            if status["status"] == "stopped":
                return
            time.sleep(0.1)
        raise RuntimeError(f"task {upid} did not end")


def changes_of(run: Run) -> list[Json]:
    return run.changes


def playbook_writes(entries: t.Iterable[Json]) -> list[str]:
    return [
        f"{entry['api']} {entry['verb']} {entry['path']}"
        for entry in entries
        if entry["write"] and entry["source"] == CONTROLLER
    ]


_VARYING = ("digest", "meta", "smbios1", "vmgenid")
_KINDS = (
    "/api/v1/nodes",
    "/api/v1/namespaces",
    "/api/v1/services",
    "/api/v1/serviceaccounts",
    "/apis/apps/v1/deployments",
    "/apis/apps/v1/daemonsets",
    "/apis/batch/v1/jobs",
)


def lab_contents(lab: Lab) -> Json:
    """What a lab consists of, without what differs from one making to the next: to compare two labs."""
    guests = {}
    for guest in sorted(lab.proxmox("GET", "/nodes/pve1/qemu"), key=lambda guest: guest["vmid"]):
        config = lab.proxmox("GET", f"/nodes/pve1/qemu/{guest['vmid']}/config")
        guests[guest["vmid"]] = (guest["status"], {k: v for k, v in config.items() if k not in _VARYING})
    storages = sorted(storage["storage"] for storage in lab.proxmox("GET", "/nodes/pve1/storage"))
    volumes = {
        storage: sorted((v["volid"], v["size"]) for v in lab.proxmox("GET", f"/nodes/pve1/storage/{storage}/content"))
        for storage in storages
    }
    objects = {
        kind: sorted(
            f"{item['metadata'].get('namespace', '')}/{item['metadata']['name']}"
            for item in lab.kubernetes("GET", kind)["items"]
        )
        for kind in _KINDS
    }
    files = re.sub(r"\s+", " ", lab.shell("cd /run/simlab/secrets && find . -type f | sort"))
    return {"guests": guests, "volumes": volumes, "objects": objects, "files": files}
