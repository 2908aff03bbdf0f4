# SPDX-License-Identifier: GPL-3.0-or-later
"""A small model of the calls behind storages, pools, mappings, backup jobs and access, in memory: it refuses what a Proxmox VE refuses."""

from __future__ import annotations

import types
import typing as t

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import NotFound, Refused

Record = dict[str, t.Any]


def listed(text: t.Any) -> list[str]:
    return [one for one in str(text or "").split(",") if one]


class Model:
    """Stands where a session stands. ``writes`` are the requests that changed something."""

    of = "a model"
    #: Writes of one thread; nobody here is overtaken in the middle of a change.
    taken = 0
    connection = types.SimpleNamespace(who="root@pam", token="")

    def __init__(self) -> None:
        self.writes: list[str] = []
        self.storages: dict[str, Record] = {}
        self.pools: dict[str, Record] = {}
        self.mappings: dict[str, dict[str, Record]] = {"pci": {}, "usb": {}, "dir": {}}
        self.jobs: dict[str, Record] = {}
        self.guests: set[int] = set()
        self.users: dict[str, Record] = {}
        self.groups: dict[str, Record] = {}
        self.roles: dict[str, Record] = {"Administrator": {"privs": "VM.Audit,VM.Clone,VM.Console", "special": 1}}
        self.acls: dict[tuple[str, str, str, str], int] = {}

    def progress(self, _text: str) -> None:
        """Nobody listens."""

    # -- reads -------------------------------------------------------------------------------------------------------

    def get(self, path: str, query: t.Mapping[str, t.Any] | None = None, *, asked: str = "") -> t.Any:
        if path == "/access/users":
            return [self._user(name) for name in self.users]
        if path == "/pools":
            return self._pools((query or {}).get("poolid"))
        if path == "/cluster/resources" and (query or {}).get("type") == "storage":
            return [{"storage": name, "node": "pve1", "content": "backup"} for name in self.storages]
        if path in self._tables():
            key, table = self._table(path)
            return [{key: name, **record} for name, record in table.items()]
        return {
            "/access/permissions": {},
            "/access/domains": [{"realm": "pve"}],
            "/access/acl": [
                {"path": path, "type": kind, "ugid": who, "roleid": role, "propagate": on}
                for (path, kind, who, role), on in self.acls.items()
            ],
            "/cluster/resources": [
                {"vmid": vmid, "type": "qemu", "node": "pve1", "pool": self._home(vmid)} for vmid in self.guests
            ],
            "/nodes": [{"node": "pve1"}, {"node": "pve2"}],
        }[path]

    def _user(self, name: str) -> Record:
        user = {key: value for key, value in self.users[name].items() if key != "password"}
        groups = sorted(group for group, record in self.groups.items() if name in listed(record.get("users")))
        tokens = [{"tokenid": key, **one} for key, one in user.pop("tokens").items()]
        return {"userid": name, **user, "groups": ",".join(groups), "tokens": tokens or None}

    def _home(self, vmid: int) -> str:
        return next((name for name, pool in self.pools.items() if vmid in pool["vms"]), "")

    def _pools(self, name: str | None) -> list[Record]:
        if name is None:
            return [{"poolid": one} for one in self.pools]
        pool = self.pools[name]
        members: list[Record] = [{"vmid": vmid, "type": "qemu"} for vmid in pool["vms"]]
        members += [{"storage": one, "type": "storage"} for one in pool["storages"]]
        return [{"poolid": name, "comment": pool["comment"], "members": members}]

    # -- writes ------------------------------------------------------------------------------------------------------

    def post(self, path: str, form: Record, *, asked: str) -> t.Any:
        self.writes.append(f"POST {path}")
        form = dict(form)
        if path == "/pools":
            name = form["poolid"]
            parent = name.rpartition("/")[0]
            if name in self.pools or (parent and parent not in self.pools):
                raise Refused(asked, answer="exists, or has no parent")
            self.pools[name] = {"comment": form.get("comment", ""), "vms": set(), "storages": set()}
        elif path.count("/") == 5:
            return self._make_token(path, form, asked)
        else:
            key, table = self._table(path)
            name = form.pop(key)
            if name in table:
                raise Refused(asked, answer="is there")
            if path == "/access/users":
                table[name] = {"tokens": {}}
                self._member(name, form.pop("groups", ""))
                form.pop("password", None)
            table[name].update(form) if name in table else table.__setitem__(name, form)
        return None

    def put(self, path: str, form: Record, *, asked: str) -> t.Any:
        self.writes.append(f"PUT {path}")
        form = dict(form)
        if path == "/pools":
            return self._change_pool(form, asked)
        if path == "/access/acl":
            return self._change_acl(form)
        base, name = path.rsplit("/", 1)
        table = self._user_tokens(path) if path.count("/") == 5 else self._table(base)[1]
        if name not in table:
            raise NotFound(asked, answer="does not exist")
        if base.startswith("/cluster/mapping") and not form.get("map"):
            raise Refused(asked, answer="map: property is missing and it is not optional")
        if base == "/access/users" and "groups" in form:
            self._member(name, form.pop("groups"))
        for key in listed(form.pop("delete", "")):
            table[name].pop(key, None)
        form.pop("digest", None)
        table[name].update(form)
        for key in [key for key, value in table[name].items() if value == ""]:
            del table[name][key]
        return None

    def delete(self, path: str, query: Record | None = None, *, asked: str) -> t.Any:
        self.writes.append(f"DELETE {path}")
        if path == "/pools":
            name = (query or {})["poolid"]
            pool = self.pools[name]
            if pool["vms"] or pool["storages"] or any(one.startswith(f"{name}/") for one in self.pools):
                raise Refused(asked, answer="is not empty")
            del self.pools[name]
            return
        base, name = path.rsplit("/", 1)
        if path.count("/") == 5:
            del self._user_tokens(path)[name]
            self._forget("token", f"{path.split('/')[3]}!{name}")
            return
        key, table = self._table(base)
        del table[name]
        self._forget({"userid": "user", "groupid": "group", "roleid": "role"}.get(key, ""), name)
        for record in self.groups.values() if key == "userid" else ():
            record["users"] = ",".join(one for one in listed(record.get("users")) if one != name)

    def _table(self, path: str) -> tuple[str, dict[str, Record]]:
        return self._tables()[path]

    def _tables(self) -> dict[str, tuple[str, dict[str, Record]]]:
        return {
            "/storage": ("storage", self.storages),
            "/cluster/backup": ("id", self.jobs),
            "/access/users": ("userid", self.users),
            "/access/groups": ("groupid", self.groups),
            "/access/roles": ("roleid", self.roles),
            **{f"/cluster/mapping/{kind}": ("id", table) for kind, table in self.mappings.items()},
        }

    def _forget(self, kind: str, name: str) -> None:
        for acl in list(self.acls):
            _path, of, who, role = acl
            owner = kind == "user" and of in ("user", "token") and who.partition("!")[0] == name
            if owner or (kind == "role" and role == name) or (kind, name) == (of, who):
                del self.acls[acl]

    def _member(self, user: str, groups: str) -> None:
        for name, group in self.groups.items():
            members = [one for one in listed(group.get("users")) if one != user]
            group["users"] = ",".join(members + ([user] if name in listed(groups) else []))

    def _user_tokens(self, path: str) -> dict[str, Record]:
        return t.cast("dict[str, Record]", self.users[path.split("/")[3]]["tokens"])

    def _make_token(self, path: str, form: Record, asked: str) -> Record:
        table, name = self._user_tokens(path), path.rpartition("/")[2]
        if name in table:
            raise Refused(asked, answer="Token already exists.")
        table[name] = {"privsep": "1", "expire": 0, **form}
        return {"value": "11111111-2222-3333-4444-555555555555"}

    def _change_acl(self, form: Record) -> None:
        kind = next(kind for kind in ("user", "group", "token") if f"{kind}s" in form)
        acl = (form["path"], kind, form[f"{kind}s"], form["roles"])
        if form.get("delete"):
            self.acls.pop(acl, None)
        else:
            self.acls[acl] = int(form["propagate"])

    def _change_pool(self, form: Record, asked: str) -> None:
        pool = self.pools[form["poolid"]]
        vms, storages = {int(one) for one in listed(form.get("vms"))}, set(listed(form.get("storage")))
        pool["comment"] = form.get("comment", pool["comment"])
        if form.get("delete"):
            if not (vms <= pool["vms"] and storages <= pool["storages"]):
                raise Refused(asked, answer="is not a pool member: never planned")
            pool["vms"] -= vms
            pool["storages"] -= storages
            return
        for vmid in sorted(vms):
            home = self._home(vmid)
            if home == form["poolid"] or (home and not form.get("allow-move")):
                raise Refused(asked, answer=f"VM {vmid} belongs to {home}: never planned")
            if home:
                self.pools[home]["vms"].discard(vmid)
            pool["vms"].add(vmid)
        if storages & pool["storages"]:
            raise Refused(asked, answer="is already a pool member: never planned")
        pool["storages"] |= storages
