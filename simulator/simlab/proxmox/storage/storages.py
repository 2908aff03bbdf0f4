# SPDX-License-Identifier: GPL-3.0-or-later
"""All storages of a cluster: looking volumes up, making, copying and removing disks."""

from __future__ import annotations

import hashlib
import json
import pathlib
import re
import typing as t

from ... import images
from ..config import ProxmoxConfig, StorageConfig
from ..errors import Failure, ParameterError
from ..permissions import Permissions
from . import names
from .store import Store, Volume, copy_data, image_size

#: ``STORAGE:GIB``: a disk that is to be made.
NEW_DISK = re.compile(r"(?:([^/:\s]+):)?(\d+(?:\.\d+)?)")


class Storages:
    def __init__(self, config: ProxmoxConfig, nodes: t.Collection[str]) -> None:
        self._config = config
        self._nodes = nodes
        self.definitions: dict[str, dict[str, t.Any]] = {}
        self._stores: dict[tuple[str, str], Store] = {}
        #: Storages that are not defined any more: what lies on them is there when they are defined again.
        self._retired: dict[tuple[str, str], Store] = {}
        self._configured = {storage.name: storage for storage in config.storages}
        #: Set by a fault: the next allocation or download finds no space.
        self.full = False
        for storage in config.storages:
            self.define(storage.name, _options(storage))

    # -- definitions --------------------------------------------------------------------------------------

    def define(self, name: str, options: dict[str, t.Any]) -> None:
        """Add or change a definition; what lies on the storage stays."""
        self.definitions[name] = options
        for node in self._nodes:
            shared = str(options.get("shared", 0)) == "1" or options["type"] in ("nfs", "cifs", "pbs", "cephfs", "rbd")
            place = "shared" if shared else node
            known = self._stores.get((place, name)) or self._retired.get((place, name))
            if known is not None and known.options.get("path") != options.get("path"):
                known = None
            store = known or self._new_store(name, options, place)
            store.options = options
            self._stores[node, name] = self._stores[place, name] = store

    def _new_store(self, name: str, options: dict[str, t.Any], place: str) -> Store:
        configured = self._configured.get(name) or StorageConfig(name)
        root = pathlib.Path(self._config.root) / place / name
        return Store(name, options, root, configured.capacity, configured.used)

    def forget(self, name: str) -> None:
        """Remove a definition; the files stay, as in life."""
        del self.definitions[name]
        for key in [key for key in self._stores if key[1] == name]:
            self._retired[key] = self._stores.pop(key)

    def digest(self) -> str:
        """SHA-1 of ``storage.cfg``."""
        text = json.dumps(self.definitions, sort_keys=True, default=str)
        return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    def get(self, node: str, name: str) -> Store:
        """Raises Failure for an unknown storage."""
        if name not in self.definitions:
            raise Failure(f"storage '{name}' does not exist")
        return self._stores[node, name]

    def get_active(self, node: str, name: str) -> Store:
        """A storage that may be used; raises Failure."""
        store = self.get(node, name)
        if not store.enabled:
            raise Failure(f"storage '{name}' is disabled")
        if not store.on_node(node):
            raise Failure(f"storage '{name}' is not available on node '{node}'")
        return store

    def of_node(self, node: str) -> list[Store]:
        stores = [self._stores[node, name] for name in self.definitions]
        return [store for store in stores if store.on_node(node)]

    # -- volumes ------------------------------------------------------------------------------------------

    def find(self, node: str, volid: str) -> tuple[Store, str]:
        """The storage of a volume id and the volume's name; raises Failure."""
        storage, volume = names.split(volid)
        return self.get(node, storage), volume

    def parse(self, node: str, volid: str) -> names.VolumeName:
        store, volume = self.find(node, volid)
        return store.parse(volume)

    def volume(self, node: str, volid: str) -> Volume | None:
        """A disk, None when there is none of that id."""
        if not names.is_volume_id(volid):
            return None
        return self.get(node, names.split(volid)[0]).volumes.get(volid)

    def allocate(self, node: str, storage: str, volume: str, size: int, **details: t.Any) -> Volume:
        store = self.get_active(node, storage)
        self.check_space(store, store.node_path(volume))
        return store.allocate(volume, size, **details)

    def check_space(self, store: Store, path: str) -> None:
        """Raises Failure once when a fault says that the storage is full."""
        if self.full:
            self.full = False
            raise Failure(f"unable to create image: qemu-img: {path}: No space left on device")

    def free(self, node: str, volid: str) -> None:
        store, _ = self.find(node, volid)
        store.free(volid)

    def size_of(self, node: str, volid: str) -> int | None:
        """Bytes of a disk, an ISO or another file; None when it is missing."""
        store, volume = self.find(node, volid)
        if store.parse(volume).content == "images":
            disk = store.volumes.get(volid)
            return disk.size if disk else None
        path = store.file(volume)
        return image_size(path) if path.is_file() else None

    def local_file(self, node: str, path: str) -> pathlib.Path | None:
        """The real file behind an absolute path of the node, None when there is none."""
        for store in self.of_node(node):
            below = path.removeprefix(store.path.rstrip("/") + "/")
            if below != path and (store.root / below).is_file():
                return store.root / below
        return None

    def copy(self, node: str, source: str, storage: str, owner: int, format_: str, prefix: str = "vm") -> Volume:
        """A full copy of a disk or an import file as a new disk of ``owner``."""
        store, volume = self.find(node, source)
        target = self.get(node, storage)
        name = target.next_name(owner, format_, prefix=prefix)
        original = store.volumes.get(source)
        if original is not None:
            made = self.allocate(node, storage, name, original.size, image=original.image)
            copy_data(store.directory(source), target.directory(made.volid))
            return made
        if not store.has(volume):
            raise Failure(f"volume '{source}' does not exist")
        path = store.file(volume)
        return self.allocate(node, storage, name, image_size(path), image=images.identity_of(path))

    def resize(self, node: str, volid: str, size: int) -> None:
        store, _ = self.find(node, volid)
        disk = store.volumes[volid]
        disk.size = size
        store.save(disk)

    # -- rights -------------------------------------------------------------------------------------------

    def check_volume_access(self, allowed: Permissions, node: str, vmid: int | None, volid: str) -> None:
        """Whether a caller may use a volume or a path."""
        if not names.is_volume_id(volid):
            if not allowed.caller.is_root:
                raise Failure("Only root can pass arbitrary filesystem paths.")
            return
        storage, _ = names.split(volid)
        parsed = self.parse(node, volid)
        if allowed.has(f"/storage/{storage}", ["Datastore.Allocate"]):
            return
        if parsed.content in ("iso", "vztmpl", "import", "snippets"):
            allowed.require(f"/storage/{storage}", "Datastore.AllocateSpace", "Datastore.Audit", any_of=True)
        elif parsed.content == "backup" and parsed.owner:
            allowed.require(f"/storage/{storage}", "Datastore.AllocateSpace")
            allowed.require(f"/vms/{parsed.owner}", "VM.Backup")
        elif parsed.content == "images" and parsed.owner and parsed.owner != vmid:
            allowed.require(f"/storage/{storage}", "Datastore.Audit")
            allowed.require(f"/vms/{parsed.owner}", "VM.Config.Disk")


def require_images(store: Store) -> None:
    """Raises ParameterError for a storage that takes no disks."""
    if "images" not in store.content:
        raise ParameterError({"storage": f"storage '{store.name}' does not support vm images"})


def _options(storage: StorageConfig) -> dict[str, t.Any]:
    options: dict[str, t.Any] = {"type": storage.type, "content": ",".join(storage.content), **storage.options}
    if storage.type in names.DIRECTORY_TYPES:
        options["path"] = storage.path or f"/var/lib/{storage.name}"
    if storage.shared:
        options["shared"] = 1
    if storage.nodes:
        options["nodes"] = ",".join(storage.nodes)
    return options
