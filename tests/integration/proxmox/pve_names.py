# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of the tests and their names on a person's own Proxmox VE: VM ids, node, storages, pools, files, addresses.

What the tests call VM 200 is one of 9001 to 9099 there, ``pve1`` is the person's node, ``local`` a storage of theirs; pools
and files get a prefix. So nothing that the tests do can meet anything that was there before.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

#: 9000 is left out: it is a common MTU.
IDS = range(9001, 9100)
PREFIX = "groundwork-test-"
#: Who the tests ask as.
TOKEN = "ansible@pve!groundwork"
#: Where guests go for which a test names no pool.
POOL = f"{PREFIX}guests"
_FILES = r"(import|iso|vztmpl|snippets)"

_ID_KEYS = frozenset(("vmid", "newid", "target-vmid", "vms"))
_POOL_KEYS = frozenset(("pool", "poolid"))
_NODE_KEYS = frozenset(("node", "target", "nodes"))
_STORAGE_KEYS = frozenset(("storage", "targetstorage", "target-storage"))


@dataclasses.dataclass
class Names:
    """``storages`` maps the tests' names to the person's; ``urls`` addresses of the tests' servers to what the node can reach.
    ``taken``: ids that are there already and are not ours."""

    node: str
    storages: dict[str, str]
    bridge: str = "vmbr0"
    urls: dict[str, str] = dataclasses.field(default_factory=dict)
    taken: frozenset[int] = frozenset()
    #: Storages that tests name and for which nothing stands over there -> the variable that would say what does.
    missing: dict[str, str] = dataclasses.field(default_factory=dict)
    #: What the tests' storages hold, by the tests' names: what else those over there may hold is not shown.
    contents: t.Mapping[str, t.Collection[str]] = dataclasses.field(default_factory=dict)
    #: A container template over there (volume id): it stands for the one that a test has put there.
    template: str = ""
    template_here: str = ""
    ids: dict[int, int] = dataclasses.field(default_factory=dict)
    #: The first id to be given. The lists of a real server tell of a guest that is gone, under its id, for ten seconds:
    #: so the next test takes other ids.
    first: int = IDS[0]
    #: Tasks, as the tests know them and as they are called over there.
    upids: dict[str, str] = dataclasses.field(default_factory=dict)
    #: Those, as they are called over there, that were begun with the tests' token, whoever that is there.
    begun: set[str] = dataclasses.field(default_factory=set)

    # -- ids ------------------------------------------------------------------------------------------------------

    def there(self, vmid: int) -> int:
        """The id over there of a test's id."""
        if vmid not in self.ids:
            free = [one for one in IDS if one not in self.taken and one not in self.ids.values()]
            if not free:
                raise LookupError(f"no id of {IDS[0]} to {IDS[-1]} is free")
            self.ids[vmid] = min(free, key=lambda one: (one < self.first, one))
        return self.ids[vmid]

    @property
    def next(self) -> int:
        """The ``first`` of the next test."""
        last = max(self.ids.values(), key=lambda one: (one < self.first, one), default=self.first - 1)
        return last + 1 if last + 1 in IDS else IDS[0]

    def _id_there(self, text: str) -> str:
        return str(self.there(int(text))) if text.isdigit() else text

    # -- requests -------------------------------------------------------------------------------------------------

    def path_there(self, path: str) -> str:
        """The (decoded) path of a request."""
        path = re.sub(r"^/nodes/pve1(?=/|$)", f"/nodes/{self.node}", path)
        path = re.sub(r"(/(?:qemu|lxc)/|/(?:vm|ct):)(\d+)", lambda m: m[1] + self._id_there(m[2]), path)
        path = re.sub(r"(?<=/storage/)([^/]+)", lambda m: self._storage_there(m[1]), path)
        path = re.sub(r"(?<=^/pools/)(.+)", lambda m: PREFIX + m[1], path)
        path = re.sub(r"(?<=/tasks/)(UPID:[^/]+)", lambda m: self.upids.get(m[1], m[1]), path)
        if "/tasks/UPID:" in path:
            return path
        return self.value_there("path", path)

    def params_there(self, params: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        return {name: self._param(name, value) for name, value in params.items()}

    def _param(self, name: str, value: t.Any) -> t.Any:
        if isinstance(value, list):
            return [self._param(name, one) for one in value]
        if not isinstance(value, str):
            return value
        if name in _ID_KEYS:
            return ",".join(self._id_there(one) for one in re.split(r"[,;\s]+", value))
        if name in _POOL_KEYS:
            return PREFIX + value
        if name in _NODE_KEYS:
            return self.node if value == "pve1" else value
        if name in _STORAGE_KEYS:
            return self._storage_there(value)
        return PREFIX + value if name == "filename" else self.value_there(name, value)

    def _storage_there(self, name: str) -> str:
        if name in self.missing:
            raise LookupError(f"needs a storage that stands for {name}: {self.missing[name]}")
        return self.storages.get(name, name)

    def value_there(self, name: str, value: str) -> str:
        """Volume ids, addresses and bridges in a text."""
        if name in ("description", "notes", "comment", "ciuser", "cipassword", "password", "sshkeys"):
            return value
        for here, there in self.urls.items():
            value = value.replace(here, there)
        named = re.search(r"local:vztmpl/[^\s,/]+", value) if self.template else None
        if named and named[0] == (self.template_here or named[0]):
            self.template_here = named[0]
            return value.replace(named[0], self.template)
        for here in self.missing:
            if re.search(rf"(?<![\w.-]){re.escape(here)}:(?=\S)", value):
                self._storage_there(here)
        for here, there in self.storages.items():
            value = re.sub(rf"(?<![\w.-]){re.escape(here)}:(?=\S)", f"{there}:", value)
        value = re.sub(rf"(?<=[:/]){_FILES}/(?=[^/,\s]+)", lambda m: f"{m[0]}{PREFIX}", value)
        value = re.sub(
            r"\b(vm|base|subvol|vzdump-qemu|vzdump-lxc)-(\d+)-", lambda m: f"{m[1]}-{self._id_there(m[2])}-", value
        )
        value = re.sub(r"(?<=[:/])(\d+)(?=/(?:vm|base|subvol)-)", lambda m: self._id_there(m[1]), value)
        return re.sub(r"\bbridge=vmbr0\b", f"bridge={self.bridge}", value) if name.startswith("net") else value

    # -- answers --------------------------------------------------------------------------------------------------

    def data_here(self, data: t.Any, key: str = "") -> t.Any:
        if isinstance(data, dict):
            kept = {self.text_here(name): self.data_here(value, name) for name, value in data.items()}
            if kept.get("pool") == POOL.removeprefix(PREFIX):
                del kept["pool"]
            if kept.get("storage") in self.contents and "content" in data and "volid" not in data:
                kinds = set(str(data["content"]).split(","))
                kept["content"] = ",".join(kind for kind in self.contents[kept["storage"]] if kind in kinds)
            if data.get("upid") in self.begun:
                kept["user"] = TOKEN
                kept.pop("tokenid", None)
            return kept
        if isinstance(data, list):
            return [self.data_here(one, key) for one in data]
        if isinstance(data, int) and not isinstance(data, bool) and key == "vmid":
            return self._ids_here.get(data, data)
        if not isinstance(data, str) or key == "digest":
            return data
        if key == "node" and data == self.node:
            return "pve1"
        if key == "storage":
            return self._storages_here.get(data, data)
        if key == "iface" and data == self.bridge:
            return "vmbr0"
        return self.text_here(data)

    @property
    def _ids_here(self) -> dict[int, int]:
        return {there: here for here, there in self.ids.items()}

    @property
    def _storages_here(self) -> dict[str, str]:
        return {there: here for here, there in self.storages.items()}

    def text_here(self, text: str) -> str:
        if not text.startswith("UPID:"):
            return self._text_here(text)
        # The process and its times are hexadecimal digits, of which some may look like an id.
        parts = text.split(":")
        node, number, rest = f"{parts[0]}:{parts[1]}:", parts[2:5], parts[5:]
        if text in self.begun:
            rest[2:3] = [TOKEN]
        here = self._text_here(node) + ":".join([*number, *map(self._text_here, rest)])
        self.upids[here] = text
        return here

    def _text_here(self, text: str) -> str:
        ids = self._ids_here
        if self.template and self.template_here:
            text = text.replace(self.template, self.template_here)
        text = re.sub(r"(?<!\d)(90\d\d)(?!\d)", lambda m: str(ids.get(int(m[1]), m[1])), text)
        text = text.replace(PREFIX, "")
        for there, here in self._storages_here.items():
            text = re.sub(rf"(?<![\w.-]){re.escape(there)}:(?=\S)", f"{here}:", text)
            text = re.sub(rf"(?<=storage ')({re.escape(there)})(?=')", here, text)
            text = re.sub(rf"(?<=/storage/)({re.escape(there)})(?=[/,)]|$)", here, text)
            text = re.sub(rf"(?<=^storage/{re.escape(self.node)}/)({re.escape(there)})$", here, text)
        for here, there in self.urls.items():
            text = text.replace(there, here)
        node = re.escape(self.node)
        text = re.sub(rf"(UPID:|\bnode '|(?:^|/)nodes?/|^storage/){node}(?=:|'|/|$|,|\))", r"\g<1>pve1", text)
        return re.sub(rf"\bbridge={re.escape(self.bridge)}\b", "bridge=vmbr0", text)
