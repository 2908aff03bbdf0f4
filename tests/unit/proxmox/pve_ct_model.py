# SPDX-License-Identifier: GPL-3.0-or-later
"""A node of Proxmox VE in memory with containers, at the API's level, with the read-back rules that were measured on 9.1.8.

It stands in for a session in tests of planning and applying. It is small on purpose: what it does not know is a KeyError.
"""

from __future__ import annotations

import itertools
import re
import types
import typing as t

from pve_model import Guest, size_text

from ansible_collections.groundwork.homelab.plugins.module_utils import errors
from ansible_collections.groundwork.homelab.plugins.module_utils.waiting import Clock, Deadline, no_progress

INTEGERS = ("cores", "cpuunits", "memory", "swap", "tty", "console", "onboot", "protection", "unprivileged")
LIVE = re.compile(r"hostname|tags|description|onboot|protection|startup|cores|memory|swap|cpulimit|cpuunits|net\d+")
MOUNT = re.compile(r"rootfs|mp\d+")
UPID = "UPID:pve1:00000001:00000001:60000000:test:1:root@pam:"


class Model:
    """Answers what :class:`session.Session` would. ``writes`` records every write."""

    #: Writes of one thread; nobody here is overtaken in the middle of a change.
    taken = 0

    def __init__(self, who: str = "root@pam") -> None:
        self.guests: dict[int, Guest] = {}
        self.writes: list[tuple[str, str, dict[str, t.Any]]] = []
        self.tasks: list[dict[str, t.Any]] = []
        self.of = "Proxmox VE in memory"
        self.progress = no_progress
        self.connection = types.SimpleNamespace(who=who, user=who, task_timeout=5.0, password="x", token="")
        self._macs = itertools.count(1)
        self._disks = itertools.count()

    def deadline(self, seconds: float = 5.0) -> Deadline:
        return Deadline(seconds, Clock(sleep=lambda _seconds: None))

    # -- reads ------------------------------------------------------------------------------------------------------

    def get(self, path: str, query: t.Any = None, *, asked: str = "") -> t.Any:
        fixed: dict[str, t.Any] = {
            "/nodes": [{"node": "pve1", "status": "online"}],
            "/access/permissions": {},
            "/pools": [{"poolid": "lab"}, {"poolid": "other"}],
            "/nodes/pve1/tasks": [] if (query or {}).get("source") == "active" else self.tasks,
            "/nodes/pve1/storage": [
                {"storage": "local", "type": "dir", "content": "rootdir,vztmpl", "active": 1, "enabled": 1}
            ],
            "/nodes/pve1/network": [{"iface": "vmbr0"}, {"iface": "vmbr1"}],
        }
        if path in fixed:
            return fixed[path]
        if path in ("/cluster/resources", "/nodes/pve1/lxc"):
            return [self._listed(vmid, guest) for vmid, guest in self.guests.items()]
        if "UPID" in path:
            return {"status": "stopped", "exitstatus": "OK"}
        if "/content/" in path:
            return {"size": 1000}
        guest = self.guests[int(path.split("/")[4])]
        if path.endswith("/config"):
            return {**(guest.config if (query or {}).get("current") else guest.effective()), "digest": "d" * 40}
        if path.endswith("/status/current"):
            return {"status": "running" if guest.running else "stopped"}
        if path.endswith("/snapshot"):
            return [{"name": "current"}]
        if path.endswith("/pending"):
            return list(self._pending(guest))
        raise KeyError(path)

    def _listed(self, vmid: int, guest: Guest) -> dict[str, t.Any]:
        status = "running" if guest.running else "stopped"
        return {"vmid": vmid, "node": "pve1", "type": "lxc", "status": status, "pool": guest.pool}

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
        if parts[3:] == ["lxc"]:
            self._create(dict(form))
        elif parts[-1] == "clone":
            self._clone(self.guests[int(parts[4])], dict(form))
        elif parts[-1] in ("start", "stop", "shutdown"):
            self._power(self.guests[int(parts[4])], parts[-1] == "start")
        elif parts[-1] == "template":
            return self._make_template(int(parts[4]))
        else:
            raise KeyError(path)
        return UPID

    def put(self, path: str, form: t.Any, *, asked: str) -> t.Any:
        self.writes.append(("PUT", path, dict(form)))
        if path == "/pools":
            self.guests[int(form["vms"])].pool = "" if form.get("delete") else form["poolid"]
            return None
        guest = self.guests[int(path.split("/")[4])]
        if path.endswith("/resize"):
            old = guest.config[form["disk"]]
            if f"size={form['size']}" in old:
                raise errors.Refused(asked, answer="disk is already at specified size")
            guest.config[form["disk"]] = re.sub(r"size=\w+", f"size={form['size']}", old)
            return UPID
        self._put(guest, int(path.split("/")[4]), dict(form))
        return None

    def delete(self, path: str, query: t.Any = None, *, asked: str) -> t.Any:
        self.writes.append(("DELETE", path, dict(query or {})))
        vmid = int(path.split("/")[4])
        if self.guests[vmid].running:
            raise errors.Refused(asked, answer=f"unable to destroy CT {vmid} - container is running")
        del self.guests[vmid]
        return UPID

    def _create(self, form: dict[str, t.Any]) -> None:
        vmid, pool = int(form.pop("vmid")), form.pop("pool", "")
        for key in ("ostemplate", "password", "ssh-public-keys"):
            form.pop(key, None)
        config = {"arch": "amd64", "memory": 512, "swap": 512, "ostype": "debian"}
        config |= {key: self._read_back(vmid, key, value) for key, value in form.items()}
        if not config["unprivileged"]:
            del config["unprivileged"]
        self.guests[vmid] = Guest({key: value for key, value in config.items() if value != ""}, pool=pool)

    def _make_template(self, vmid: int) -> None:
        """Nothing is answered: the task only stands in the list."""
        guest = self.guests[vmid]
        if guest.running or guest.config.get("template"):
            raise errors.Refused("template", answer="you can't convert a CT to template if the CT is running")
        for key, value in guest.config.items():
            if MOUNT.fullmatch(key):
                guest.config[key] = value.replace("/vm-", "/base-")
        guest.config["template"] = 1
        self.tasks.append({"upid": f"{UPID}{len(self.tasks)}", "user": self.connection.who})

    def _clone(self, source: Guest, form: dict[str, t.Any]) -> None:
        vmid = int(form["newid"])
        config = {key: value for key, value in source.config.items() if key != "template"}
        config["hostname"] = form["hostname"]
        for key, value in source.config.items():
            if key.startswith("net"):
                config[key] = self._net(re.sub(r",hwaddr=[^,]+", "", value))
            elif MOUNT.fullmatch(key):
                config[key] = re.sub(r"^local:\d+/(vm|base)-\d+", f"local:{vmid}/vm-{vmid}", value)
        kept = {key: value for key, value in config.items() if not key.startswith("unused")}
        self.guests[vmid] = Guest(kept, pool=form.get("pool", ""))

    def _put(self, guest: Guest, vmid: int, form: dict[str, t.Any]) -> None:
        form.pop("digest", None)
        changes: dict[str, t.Any] = dict.fromkeys(filter(None, form.pop("delete", "").split(",")))
        if not form and not changes:
            raise errors.Refused("put", answer="no options specified")
        for key, value in form.items():
            changes[key] = self._read_back(vmid, key, value)
            if MOUNT.fullmatch(key) and key in guest.config:
                size = re.search(r"size=\w+", guest.config[key])
                changes[key] = re.sub(r"size=\w+", size[0] if size else "", changes[key])
        for key, value in changes.items():
            new = key not in guest.config and value is not None and re.fullmatch(r"(mp|dev)\d+", key)
            if not guest.running or LIVE.fullmatch(key) or new:
                self._apply(guest, key, value)
            else:
                guest.pending[key] = value

    def _apply(self, guest: Guest, key: str, value: t.Any) -> None:
        if value is None and MOUNT.fullmatch(key) and key in guest.config:
            number = next(n for n in itertools.count() if f"unused{n}" not in guest.config)
            guest.config[f"unused{number}"] = guest.config[key].split(",")[0]
        if value is None:
            guest.config.pop(key, None)
        else:
            guest.config[key] = value

    def _power(self, guest: Guest, on: bool) -> None:
        if not on:
            for key, value in guest.pending.items():
                if value is not None and MOUNT.fullmatch(key) and key in guest.config:
                    size = re.search(r"size=\w+", guest.config[key])
                    value = re.sub(r"size=\w+", size[0] if size else "", value)
                self._apply(guest, key, value)
            guest.pending = {}
        guest.running = on

    def _read_back(self, vmid: int, key: str, value: t.Any) -> t.Any:
        if key in INTEGERS:
            return int(value)
        if key == "description":
            return str(value).rstrip("\n") + "\n" if str(value).strip() else ""
        if key == "tags":
            return ";".join(sorted({tag.lower() for tag in re.split(r"[;,\s]+", value) if tag})) or " "
        if key.startswith("net"):
            return self._net(str(value))
        if MOUNT.fullmatch(key):
            return self._mount(vmid, str(value))
        return str(value)

    def _net(self, text: str) -> str:
        net = dict(part.split("=", 1) for part in text.split(","))
        net.setdefault("hwaddr", f"BC:24:11:00:00:{next(self._macs) % 256:02X}")
        net.setdefault("type", "veth")
        places = {"name": 0, "bridge": 1}
        return ",".join(f"{key}={net[key]}" for key in sorted(net, key=lambda key: (places.get(key, 2), key)))

    def _mount(self, vmid: int, text: str) -> str:
        volume, *rest = text.split(",")
        settings = dict(part.split("=", 1) for part in rest)
        storage, _, name = volume.partition(":")
        if re.fullmatch(r"[\d.]+", name):
            volume = f"{storage}:{vmid}/vm-{vmid}-disk-{next(self._disks)}.raw"
            settings["size"] = size_text(int(float(name) * 1024) << 20)
        places = {"mp": 0, "size": 2}
        keys = sorted(settings, key=lambda key: (places.get(key, 1), key))
        return ",".join([volume, *(f"{key}={settings[key]}" for key in keys)])
