# SPDX-License-Identifier: GPL-3.0-or-later
"""Making the disks that drive values ask for."""

from __future__ import annotations

import math
import pathlib
import tarfile
import tempfile
import typing as t

from ... import images
from ..errors import Failure
from ..sizes import format_size
from ..storage import names
from ..storage.storages import NEW_DISK
from ..storage.store import Store, Volume
from . import drives, image_logs

if t.TYPE_CHECKING:
    from ..cluster import Cluster
    from .vm import Vm

_EFI_SIZE = {"4m": 540672, "2m": 131072}
_TPM_SIZE = 4 << 20
_CLOUD_INIT_SIZE = 4 << 20
Log = t.Callable[[str], None]


class Allocator:
    """Makes the disks of one request. ``made`` are those that were new, to be removed when it fails."""

    def __init__(self, cluster: Cluster, vm: Vm, default: str | None, log: Log = lambda line: None) -> None:
        self._storages = cluster.storages
        self._guests = cluster.guests
        self._vm = vm
        self._default = default
        self.log = log
        self.made: list[str] = []

    def drive(self, name: str, value: str) -> str:
        """The value as it goes into the configuration."""
        drive = drives.parse(name, value)
        file = drive["file"]
        volume = names.split(file)[1] if names.is_volume_id(file) else file
        match = NEW_DISK.fullmatch(file)
        if file in ("none", "cdrom"):
            drive.pop("size", None)
        elif volume == "cloudinit":
            self._cloud_init(name, drive, file)
        elif match:
            self._new(name, drive, match[1] or self._default or "", float(match[2]))
        else:
            self._existing(name, drive)
        return drives.render(name, drive)

    def undo(self) -> None:
        for volid in self.made:
            self._storages.free(self._vm.node, volid)
        self.made.clear()

    # -- kinds --------------------------------------------------------------------------------------------

    def _cloud_init(self, name: str, drive: drives.Drive, file: str) -> None:
        self._refuse_second(name)
        storage = names.split(file)[0] if ":" in file else self._default
        if not storage:
            raise Failure("no storage ID specified (and no default storage)")
        store = self._store(storage)
        format_ = drive.pop("format", None) or ("raw" if store.flat else "qcow2")
        volume = store.next_name(self._vm.vmid, format_, kind="cloudinit")
        made = self._allocate(store, volume, _CLOUD_INIT_SIZE)
        drive["file"], drive["media"] = made.volid, "cdrom"
        self._created(name, drive)

    def _refuse_second(self, name: str) -> None:
        for part, where in ((self._vm.options, ""), (self._vm.pending, " (pending)")):
            for other, drive in self._vm.volumes(part):
                if other != name and drives.is_cloudinit(drive):
                    raise Failure(f"{name} - cloud-init drive is already attached at '{other}'{where}")

    def _new(self, name: str, drive: drives.Drive, storage: str, gigabytes: float) -> None:
        store = self._store(storage)
        format_ = "raw" if store.flat else drive.get("format") or "raw"
        if "import-from" in drive:
            made = self._import(name, drive.pop("import-from"), store, drive.get("format"))
        else:
            size = math.ceil(gigabytes * (1 << 20)) << 10  # whole KiB, rounded up
            if name == "efidisk0":
                size = _EFI_SIZE[drive.get("efitype", "2m")]
            elif name == "tpmstate0":
                size, format_ = _TPM_SIZE, "raw"
            made = self._allocate(store, store.next_name(self._vm.vmid, format_), size)
            if name == "efidisk0":
                image_logs.efi_variables(self.log, size, drive.get("pre-enrolled-keys") == "1")
        drive.pop("format", None)
        drive["file"], drive["size"] = self._of_template(store, made).volid, format_size(made.size)
        self._created(name, drive)

    def _of_template(self, store: Store, made: Volume) -> Volume:
        """A new disk of a template is a base volume at once."""
        if not self._vm.template:
            return made
        self.made.remove(made.volid)
        head, slash, tail = made.volid.partition(":")[2].rpartition("/")
        renamed = store.rename(made.volid, f"{head}{slash}base-{tail.removeprefix('vm-')}")
        self.made.append(renamed.volid)
        return renamed

    def _import(self, name: str, source: str, store: Store, format_: str | None) -> Volume:
        node = self._vm.node
        if not names.is_volume_id(source):
            return self._import_path(source, store, format_)
        origin, volume = self._storages.find(node, source)
        parsed = origin.parse(volume)
        if parsed.format.startswith("ova+"):
            return self._import_packed(origin.file(volume), store, format_ or parsed.format.removeprefix("ova+"))
        if parsed.content != "images" and not origin.has(volume):
            raise Failure(f"failed to stat '{origin.node_path(volume)}'")
        if not origin.has(volume):
            raise Failure(f"cannot import from '{source}' - could not get size of {source}")
        if drives.is_cloudinit({"file": source}):
            raise Failure(f"cannot import from '{source}' - cannot import from cloudinit disk")
        wanted = format_ or origin.parse(volume).format
        wanted = "raw" if store.flat or wanted not in ("raw", "qcow2", "vmdk") else wanted
        slot = self._slot_of(parsed.owner, source)
        self.log(f"create full clone of drive {slot and slot + ' '}({source})")
        made = self._storages.copy(node, source, store.name, self._vm.vmid, wanted)
        self.made.append(made.volid)
        image_logs.copied(self.log, name, store, made)
        return made

    def _slot_of(self, owner: int | None, volid: str) -> str:
        """Where the VM that owns a volume has it, empty when it has not."""
        guest = self._guests.get(owner or 0)
        found = guest.volume_ids() if guest is not None and guest.kind == "qemu" else ()
        return next((slot for slot, file in found if file == volid), "")

    def _import_packed(self, inside: pathlib.Path, store: Store, format_: str) -> Volume:
        """A disk in an archive: it is unpacked first."""
        try:
            with tarfile.open(inside.parent) as archive, tempfile.TemporaryDirectory() as folder:
                archive.extract(inside.name, folder, filter="data")
                unpacked = pathlib.Path(folder) / inside.name
                volume = store.next_name(self._vm.vmid, "raw" if store.flat else format_)
                size, image = images.virtual_size_of(unpacked), images.identity_of(unpacked)
        except (OSError, KeyError, tarfile.TarError):
            raise Failure(f"cannot import from '{inside.name}' - extracting the archive failed") from None
        return self._allocate(store, volume, size, image=image)

    def _import_path(self, path: str, store: Store, format_: str | None) -> Volume:
        file = self._storages.local_file(self._vm.node, path)
        if file is None:
            raise Failure(f"can't find file '{path}'")
        volume = store.next_name(self._vm.vmid, "raw" if store.flat else format_ or "raw")
        made = self._allocate(store, volume, images.virtual_size_of(file), image=images.identity_of(file))
        image_logs.converted(self.log, made.size)
        return made

    def _existing(self, name: str, drive: drives.Drive) -> None:
        file, node = drive["file"], self._vm.node
        if not names.is_volume_id(file):
            raise Failure(f"volume {file} does not exist")
        if drives.is_cloudinit(drive):
            self._refuse_second(name)
        self._refuse_format(name, drive)
        size = self._storages.size_of(node, file)
        if size is None:
            raise Failure(f"volume '{file}' does not exist")
        drive["size"] = format_size(size)

    def _refuse_format(self, name: str, drive: drives.Drive) -> None:
        """A volume has the format that its name says."""
        store, volume = self._storages.find(self._vm.node, drive["file"])
        parsed = store.parse(volume)
        known = parsed.format if parsed.content == "images" else "raw"
        if drive.get("format", known) != known:
            what = f"drive '{name}' - volume '{drive['file']}' - 'format={drive['format']}' option different"
            raise Failure(f"{what} from storage format '{known}'")

    # -- small things -------------------------------------------------------------------------------------

    def _store(self, storage: str) -> Store:
        return self._storages.get(self._vm.node, storage)

    def _allocate(self, store: Store, volume: str, size: int, **details: t.Any) -> Volume:
        made = self._storages.allocate(self._vm.node, store.name, volume, size, **details)
        self.made.append(made.volid)
        image_logs.formatted(self.log, store, made)
        return made

    def _created(self, name: str, drive: drives.Drive) -> None:
        self.log(f"{name}: successfully created disk '{drives.render(name, drive)}'")
