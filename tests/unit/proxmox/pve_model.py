# SPDX-License-Identifier: GPL-3.0-or-later
"""A node of Proxmox VE in memory, at the API's level, with the read-back rules that were measured on 9.1.8.

It stands in for a session in tests of planning and applying. It is small on purpose: what it does not know is a KeyError.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
import types
import typing as t

from ansible_collections.groundwork.homelab.plugins.module_utils import errors
from ansible_collections.groundwork.homelab.plugins.module_utils.waiting import Clock, Deadline, no_progress

GIB = 1 << 30
INTEGERS = ("cores", "sockets", "balloon", "onboot", "protection")
DRIVE = re.compile(r"(scsi|virtio|sata|ide)\d+|efidisk0")
LIVE = ("name", "tags", "description", "onboot", "protection", "startup", "balloon")


@dataclasses.dataclass
class Guest:
    config: dict[str, t.Any]
    running: bool = False
    pool: str = ""
    pending: dict[str, t.Any] = dataclasses.field(default_factory=dict)  # None: to be deleted

    def effective(self) -> dict[str, t.Any]:
        merged = {**self.config, **self.pending}
        return {key: value for key, value in merged.items() if value is not None}


class Model:
    """Answers what :class:`session.Session` would. ``writes`` records every write."""

    def __init__(self, images: t.Mapping[str, int] | None = None) -> None:
        self.guests: dict[int, Guest] = {}
        self.images = dict(images or {})
        self.writes: list[tuple[str, str, dict[str, t.Any]]] = []
        self.of = "Proxmox VE in memory"
        self.progress = no_progress
        self.connection = types.SimpleNamespace(who="ansible@pve!test", task_timeout=5.0)
        self._macs = itertools.count(1)
        self._disks = itertools.count()
        self._clock = Clock(sleep=lambda _seconds: None)

    def deadline(self, seconds: float = 5.0) -> Deadline:
        return Deadline(seconds, self._clock)

    # -- reads ------------------------------------------------------------------------------------------------------

    def get(self, path: str, query: t.Any = None, *, asked: str = "") -> t.Any:
        if path == "/cluster/resources":
            return [
                {"vmid": vmid, "node": "pve1", "type": "qemu", "status": "unknown", "pool": guest.pool}
                for vmid, guest in self.guests.items()
            ]
        if path == "/nodes":
            return [{"node": "pve1", "status": "online"}]
        if path == "/access/permissions":
            return {}
        if path == "/pools":
            return [{"poolid": "lab"}, {"poolid": "other"}]
        if path.endswith("/tasks"):
            return []
        if path.endswith("/storage"):
            return [{"storage": "local", "content": "import,images", "active": 1, "enabled": 1}]
        if path.endswith("/network"):
            return [{"iface": "vmbr0"}, {"iface": "vmbr1"}]
        if "/content/" in path:
            return {"size": self.images[path.rpartition("/")[2].replace("%2F", "/")]}
        if path.endswith("/status") and "UPID" in path:
            return {"status": "stopped", "exitstatus": "OK"}
        guest = self.guests[int(path.split("/")[4])]
        if path.endswith("/config"):
            return {**guest.effective(), "digest": "d" * 40}
        if path.endswith("/status/current"):
            return {"status": "running" if guest.running else "stopped"}
        if path.endswith("/pending"):
            return list(self._pending(guest))
        raise KeyError(path)

    def _pending(self, guest: Guest) -> t.Iterator[dict[str, t.Any]]:
        for key in {**guest.config, **guest.pending}:
            item: dict[str, t.Any] = {"key": key}
            if key in guest.config:
                item["value"] = guest.config[key]
            if key in guest.pending:
                item.update({"delete": 1} if guest.pending[key] is None else {"pending": guest.pending[key]})
            yield item
        yield {"key": "digest", "value": "d" * 40}

    # -- writes -----------------------------------------------------------------------------------------------------

    def post(self, path: str, form: t.Any = None, *, asked: str) -> t.Any:
        self.writes.append(("POST", path, dict(form or {})))
        parts = path.split("/")
        if parts[3:] == ["qemu"]:
            self._create(dict(form))
        elif parts[-1] == "config":
            self._put(int(parts[4]), dict(form))
        elif parts[-1] in ("start", "stop", "shutdown"):
            self._power(self.guests[int(parts[4])], parts[-1] == "start")
        else:
            raise KeyError(path)
        return "UPID:pve1:00000001:00000001:60000000:test:1:ansible@pve!test:"

    def put(self, path: str, form: t.Any, *, asked: str) -> t.Any:
        self.writes.append(("PUT", path, dict(form)))
        parts = path.split("/")
        if path == "/pools":
            self.guests[int(form["vms"])].pool = form["poolid"]
        elif parts[-1] == "config":
            self._put(int(parts[4]), dict(form))
        elif parts[-1] == "resize":
            config = self.guests[int(parts[4])].config
            config[form["disk"]] = re.sub(r"size=\w+", f"size={form['size']}", config[form["disk"]])
            return "UPID:pve1:00000001:00000001:60000000:resize:1:ansible@pve!test:"
        else:
            raise KeyError(path)
        return None

    def delete(self, path: str, query: t.Any = None, *, asked: str) -> t.Any:
        self.writes.append(("DELETE", path, dict(query or {})))
        vmid = int(path.split("/")[4])
        if self.guests[vmid].running:
            raise errors.Refused(asked, answer=f"VM {vmid} is running - destroy failed")
        del self.guests[vmid]
        return "UPID:pve1:00000001:00000001:60000000:qmdestroy:1:ansible@pve!test:"

    def _create(self, form: dict[str, t.Any]) -> None:
        vmid, pool = int(form.pop("vmid")), form.pop("pool", "")
        if vmid in self.guests:
            raise errors.Conflict(
                "create", answer=f"unable to create VM {vmid} - VM {vmid} already exists on node 'pve1'"
            )
        config = {key: self._read_back(vmid, key, value) for key, value in form.items()}
        config.setdefault("boot", "order=" + ";".join(key for key in config if DRIVE.fullmatch(key)))
        config.update({"meta": "creation-qemu=10.0.13,ctime=1", "vmgenid": "61bdd948", "smbios1": "uuid=db4e89d1"})
        self.guests[vmid] = Guest({key: value for key, value in config.items() if value != ""}, pool=pool)

    def _put(self, vmid: int, form: dict[str, t.Any]) -> None:
        guest = self.guests[vmid]
        form.pop("digest", None)
        changes: dict[str, t.Any] = dict.fromkeys(filter(None, form.pop("delete", "").split(",")))
        if not form and not changes:
            raise errors.Refused("put", answer="no options specified")
        for key, value in form.items():
            if key == "tags":
                value = ";".join(sorted({tag.lower() for tag in re.split(r"[;,\s]+", value) if tag}))
            changes[key] = self._read_back(vmid, key, value)
            if DRIVE.fullmatch(key) and "size=" in str(guest.config.get(key)):
                size = re.search(r"size=\w+", guest.config[key])
                changes[key] = re.sub(r"size=\w+", size[0] if size else "", changes[key])
        for key, value in changes.items():
            live = not guest.running or key in LIVE or re.match(r"net|ipconfig|ci|ssh|nameserver|searchdomain", key)
            live = live or (DRIVE.fullmatch(key) and key not in guest.config)
            (guest.config if live else guest.pending)[key] = value
        guest.config = {key: value for key, value in guest.config.items() if value is not None}

    def _power(self, guest: Guest, on: bool) -> None:
        if not on:
            guest.config, guest.pending = guest.effective(), {}
        guest.running = on

    def _read_back(self, vmid: int, key: str, value: t.Any) -> t.Any:
        if key in INTEGERS:
            return int(value)
        if key == "description":
            return str(value).rstrip("\n")
        if key == "cipassword":
            return "**********"
        if key.startswith("net"):
            return self._net(str(value))
        if DRIVE.fullmatch(key):
            return self._drive(vmid, key, str(value))
        return str(value)

    def _net(self, text: str) -> str:
        first, *rest = text.split(",")
        model, _, mac = first.partition("=")
        mac = mac or f"BC:24:11:00:00:{next(self._macs) % 256:02X}"
        rest.sort(key=lambda part: (not part.startswith("bridge="), part))
        return ",".join([f"{model}={mac}", *rest])

    def _drive(self, vmid: int, key: str, text: str) -> str:
        volume, *rest = text.split(",")
        settings = dict(part.split("=", 1) for part in rest)
        storage, _, name = volume.partition(":")
        if name == "cloudinit":
            return f"{storage}:{vmid}/vm-{vmid}-cloudinit.qcow2,media=cdrom"
        if re.fullmatch(r"[\d.]+", name):
            source = settings.pop("import-from", "")
            settings.pop("format", None)
            size = self.images[source] if source else round(float(name) * GIB)
            settings["size"] = f"{size // (1 << 20)}M" if size % GIB else f"{size // GIB}G"
            volume = f"{storage}:{vmid}/vm-{vmid}-disk-{next(self._disks)}.raw"
        return ",".join([volume, *(f"{name}={value}" for name, value in sorted(settings.items()))])
