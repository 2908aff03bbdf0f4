# SPDX-License-Identifier: GPL-3.0-or-later
"""Two nodes of Proxmox VE in memory, at the API's level, with the read-back rules that were measured on 9.1.8.

It stands in for a session in tests of planning and applying. It is small on purpose: what it does not know is a KeyError.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
import types
import typing as t

from ansible_collections.groundwork.homelab.plugins.module_utils import errors
from ansible_collections.groundwork.homelab.plugins.module_utils.waiting import Clock, Deadline, no_progress

GIB = 1 << 30
INTEGERS = (
    "cores", "sockets", "vcpus", "cpuunits", "balloon", "onboot", "protection", "numa", "kvm", "tablet", "acpi", "ciupgrade",
)  # fmt: skip
DRIVE = re.compile(r"(scsi|virtio|sata|ide)\d+|efidisk0|tpmstate0")
LIVE = re.compile(
    r"name|tags|description|onboot|protection|startup|balloon|cpulimit|cpuunits|hotplug|ipconfig\d+"
    r"|ci\w+|sshkeys|nameserver|searchdomain|unused\d+"
)
HOTPLUG = (("net", "network"), ("usb", "usb"), ("tablet", "usb"))
TASK = "UPID:pve1:00000001:00000001:60000000:test:1:ansible@pve!test:"
HASH = "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"  # of PASSWORD
PASSWORD = "Hello world!"


def size_text(size: int) -> str:
    """In the largest unit that leaves no fraction."""
    unit = next(unit for unit in (30, 20, 10, 0) if size % (1 << unit) == 0)
    return f"{size >> unit}{ {30: 'G', 20: 'M', 10: 'K', 0: ''}[unit] }"


@dataclasses.dataclass
class Guest:
    config: dict[str, t.Any]
    running: bool = False
    pool: str = ""
    node: str = "pve1"
    pending: dict[str, t.Any] = dataclasses.field(default_factory=dict)  # None: to be deleted

    def effective(self) -> dict[str, t.Any]:
        merged = {**self.config, **self.pending}
        return {key: value for key, value in merged.items() if value is not None}


class Model:
    """Answers what :class:`session.Session` would. ``writes`` records every write."""

    #: Writes of one thread; nobody here is overtaken in the middle of a change.
    taken = 0

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
                {"vmid": vmid, "type": "qemu", "status": "unknown", "pool": guest.pool, "node": guest.node}
                for vmid, guest in self.guests.items()
            ]
        if path == "/cluster/nextid":
            return str(next(vmid for vmid in range(100, 1000) if vmid not in self.guests))
        if path == "/nodes":
            return [{"node": "pve1", "status": "online"}, {"node": "pve2", "status": "online"}]
        if re.fullmatch(r"/nodes/pve[12]/qemu", path):
            return [
                self._listed(vmid, guest) for vmid, guest in self.guests.items() if guest.node == path.split("/")[2]
            ]
        if path == "/access/permissions":
            return {}
        if path == "/pools":
            return [{"poolid": "lab"}, {"poolid": "other"}]
        if path.startswith("/cluster/mapping/"):
            return [{"id": "mapped"}]
        if path.endswith("/tasks"):
            return []
        if path.endswith("/storage"):
            return [
                {"storage": name, "content": "import,images,iso", "active": 1, "enabled": 1}
                for name in ("local", "fast")
            ]
        if path.endswith("/network"):
            return [{"iface": "vmbr0"}, {"iface": "vmbr1"}]
        if "/content/" in path:
            return {"size": self.images[path.rpartition("/content/")[2].replace("%2F", "/")]}
        if path.endswith("/status") and "UPID" in path:
            return {"status": "stopped", "exitstatus": "OK"}
        guest = self.guests[int(path.split("/")[4])]
        if path.endswith("/config"):
            return {**guest.effective(), "digest": "d" * 40}
        if path.endswith("/status/current"):
            return {"status": "running" if guest.running else "stopped"}
        if path.endswith("/pending"):
            return list(self._pending(guest))
        if path.endswith("/cloudinit/dump"):
            return f"#cloud-config\npassword: {HASH}\n"
        if path.endswith("/migrate"):
            return {"running": int(guest.running), "local_disks": [], "local_resources": []}
        raise KeyError(path)

    @staticmethod
    def _listed(vmid: int, guest: Guest) -> dict[str, t.Any]:
        status = "running" if guest.running else "stopped"
        return {"vmid": vmid, "name": guest.config.get("name"), "status": status}

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
            self._create(dict(form), parts[2])
        elif parts[-1] == "config":
            self._put(int(parts[4]), dict(form))
        elif parts[-1] in ("start", "stop", "shutdown"):
            self._power(self.guests[int(parts[4])], parts[-1] == "start")
        elif parts[-1] == "clone":
            self._clone(int(parts[4]), dict(form))
        elif parts[-1] == "template":
            self._to_template(self.guests[int(parts[4])])
        elif parts[-1] == "move_disk":
            self._move(int(parts[4]), form["disk"], form["storage"])
        elif parts[-1] == "migrate":
            self.guests[int(parts[4])].node = form["target"]
        elif parts[-1] != "reset":
            raise KeyError(path)
        return TASK

    def put(self, path: str, form: t.Any, *, asked: str) -> t.Any:
        self.writes.append(("PUT", path, dict(form)))
        parts = path.split("/")
        if path == "/pools":
            self.guests[int(form["vms"])].pool = "" if form.get("delete") else form["poolid"]
        elif parts[-1] == "config":
            self._put(int(parts[4]), dict(form))
        elif parts[-1] == "cloudinit":
            assert self.guests[int(parts[4])].running, "the drive of a VM is written anew when it starts"
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

    def _create(self, form: dict[str, t.Any], node: str) -> None:
        vmid, pool = int(form.pop("vmid")), form.pop("pool", "")
        if vmid in self.guests:
            raise errors.Conflict(
                "create", answer=f"unable to create VM {vmid} - VM {vmid} already exists on node 'pve1'"
            )
        config = {key: self._read_back(vmid, key, value) for key, value in form.items()}
        config = {**config, **self._pinned(config.get("ostype"), config)}
        config.setdefault("boot", "order=" + ";".join(key for key in config if DRIVE.fullmatch(key)))
        config.update({"meta": "creation-qemu=10.0.13,ctime=1", "vmgenid": "61bdd948", "smbios1": "uuid=db4e89d1"})
        self.guests[vmid] = Guest({key: value for key, value in config.items() if value != ""}, pool=pool, node=node)

    @staticmethod
    def _pinned(ostype: str | None, config: t.Mapping[str, t.Any]) -> dict[str, str]:
        """The version that the machine of a Windows VM gets, unless it has one."""
        kind = config.get("machine") or "pc"
        family = {"pc": "i440fx", "q35": "q35"}.get(kind)
        return {"machine": f"pc-{family}-10.0+pve1"} if str(ostype or "").startswith("w") and family else {}

    def _clone(self, source: int, form: dict[str, t.Any]) -> None:
        vmid, config = int(form["newid"]), dict(self.guests[source].effective())
        if vmid in self.guests:
            raise errors.Conflict("clone", answer=f"unable to create VM {vmid}: config file already exists")
        config = {key: value for key, value in config.items() if key != "template" and not key.startswith("unused")}
        for key, value in config.items():
            if key.startswith("net"):
                config[key] = self._net(re.sub(r"^(\w+)=[^,]*", r"\1", value))
            elif DRIVE.fullmatch(key) and ("media=cdrom" not in value or "cloudinit" in value):
                storage = form.get("storage") or value.partition(":")[0]
                config[key] = re.sub(r"^[^,]*", f"{storage}:{vmid}/vm-{vmid}-{self._name(value)}", value)
        config.update(name=form["name"], smbios1="uuid=other", vmgenid="other")
        self.guests[vmid] = Guest(
            config, pool=form.get("pool", ""), node=form.get("target") or self.guests[source].node
        )

    def _name(self, value: str) -> str:
        return "cloudinit.qcow2" if "cloudinit" in value else f"disk-{next(self._disks)}.raw"

    def _to_template(self, guest: Guest) -> None:
        if guest.running:
            raise errors.Refused("template", answer="you can't convert a VM to template if VM is running")
        guest.config["template"] = 1

    def _move(self, vmid: int, slot: str, storage: str) -> None:
        for config in (self.guests[vmid].config, self.guests[vmid].pending):
            if slot in config:
                config[slot] = re.sub(r"^[^,]*", f"{storage}:{vmid}/vm-{vmid}-{self._name('')}", config[slot])

    def _put(self, vmid: int, form: dict[str, t.Any]) -> None:
        guest = self.guests[vmid]
        form.pop("digest", None)
        forced = bool(form.pop("force", 0))
        changes: dict[str, t.Any] = dict.fromkeys(filter(None, form.pop("delete", "").split(",")))
        if not form and not changes:
            raise errors.Refused("put", answer="no options specified")
        if "ostype" in form and "machine" not in {**form, **changes, **guest.pending}:
            form |= self._pinned(form["ostype"], guest.config)
        for key in changes:
            self._removed(guest, key, forced)
        for key, value in form.items():
            if key == "tags":
                value = ";".join(sorted({tag.lower() for tag in re.split(r"[;,\s]+", value) if tag}))
            changes[key] = self._read_back(vmid, key, value)
            if DRIVE.fullmatch(key) and "size=" in str(guest.config.get(key)):
                size = re.search(r"size=\w+", guest.config[key])
                changes[key] = re.sub(r"size=\w+", size[0] if size else "", changes[key])
        for key in [key for key, value in changes.items() if value is None and key not in guest.config]:
            del changes[key]
            guest.pending.pop(key, None)
        at_once = {key for key, value in changes.items() if self._at_once(guest, key, value)}
        for key, value in changes.items():
            (guest.config if key in at_once else guest.pending)[key] = value
            if key in at_once:
                guest.pending.pop(key, None)
        guest.config = {key: value for key, value in guest.config.items() if value is not None}

    @staticmethod
    def _at_once(guest: Guest, key: str, value: str | None) -> bool:
        if not guest.running or LIVE.fullmatch(key):
            return True
        text = str(guest.config.get("hotplug", "network,disk,usb"))
        plug = next((word for kind, word in HOTPLUG if re.match(kind, key)), "disk")
        if plug not in text:
            return "media=cdrom" in str(guest.config.get(key)) and value is not None
        if not DRIVE.fullmatch(key):
            return plug != "disk"
        before = guest.config.get(key)
        if "media=cdrom" in str(before):
            return value is not None
        hot = key.startswith(("scsi", "virtio")) and "media=cdrom" not in str(value)
        return hot and (before is None or value is None)

    def _removed(self, guest: Guest, key: str, forced: bool) -> None:
        """A disk that is only taken away is kept, and is not booted from any more."""
        value = str(guest.config.get(key, ""))
        if not DRIVE.fullmatch(key) or not value:
            return
        if guest.config.get("protection"):
            raise errors.Refused("delete", answer=f"can't remove drive '{key}' - protection mode enabled")
        order = str(guest.config.get("boot", "")).removeprefix("order=").split(";")
        if key in order:
            guest.config["boot"] = "order=" + ";".join(slot for slot in order if slot != key)
        if not forced and "media=cdrom" not in value:
            free = next(number for number in range(256) if f"unused{number}" not in guest.config)
            guest.config[f"unused{free}"] = value.partition(",")[0]

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
        if key == "tpmstate0" and name == "1":
            return f"{storage}:{vmid}/vm-{vmid}-disk-{next(self._disks)}.raw,size=4M,{','.join(rest)}"
        if re.fullmatch(r"[\d.]+", name):
            source = settings.pop("import-from", "")
            settings.pop("format", None)
            size = self.images[source] if source else math.ceil(float(name) * (1 << 20)) << 10
            settings["size"] = size_text(size)
            volume = f"{storage}:{vmid}/vm-{vmid}-disk-{next(self._disks)}.raw"
        return ",".join([volume, *(f"{name}={value}" for name, value in sorted(settings.items()))])
