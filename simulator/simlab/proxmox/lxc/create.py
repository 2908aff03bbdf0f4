# SPDX-License-Identifier: GPL-3.0-or-later
"""Creating containers, also from a backup."""

from __future__ import annotations

import pathlib
import re

from .. import backup, high_availability, tags
from ..api import Call, handles
from ..errors import ApiError, Failure, Forbidden, task_text
from ..qemu import checks
from ..sizes import parse_size
from ..storage import names
from ..tasks import Task
from . import mounts, options, power
from .ct import Container

_REQUEST_ONLY = frozenset(
    """node vmid ostemplate password ssh-public-keys start force restore storage pool bwlimit unique
    ignore-unpack-errors ha-managed""".split()
)
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/fuse", "/dev/kvm",
            "/dev/net/tun", "/dev/console", "/dev/ptmx", "/dev/dri/card0", "/dev/dri/renderD128")  # fmt: skip
_SYSTEMS = ("debian", "devuan", "ubuntu", "centos", "fedora", "opensuse", "archlinux", "alpine", "gentoo", "nixos")


@handles("POST", "/nodes/{node}/lxc")
def create(call: Call) -> str:
    settings = {name: str(value) for name, value in call.params.items() if name not in _REQUEST_ONLY}
    restore = call.flag("restore")
    pool = call.params.get("pool")
    if settings.get("unprivileged") == "0" and not restore:
        call.allowed.require("/", "Sys.Modify")
    over = _overwritten(call)
    checks.check_ssh_keys({"sshkeys": call.text("ssh-public-keys")})
    _check_allowed(call, settings, pool)
    _use_storage(call, settings)
    mounts.check_access(call, call.vmid, settings)
    archive = call.text("ostemplate")
    _check_archive(call, archive, restore)
    if "rootfs" not in settings:
        if any(options.is_mount(name) for name in settings):
            raise Failure("mount points configured, but 'rootfs' not set - aborting")
        mounts.check_storage(call, call.text("storage", "local"))
    mounts.check_storages(call, settings)
    check_hardware(call, settings, privileged=settings.get("unprivileged") == "0", pool=pool)
    if "rootfs" not in settings and not restore:
        settings["rootfs"] = f"{call.text('storage', 'local')}:4"
    options.normalise(settings, str(call.cluster.options.get("tag-style", "")))
    ct = Container(call.vmid, call.node.name, {"lock": "create"}, node_cores=call.node.config.cores)
    _take_id(call, ct, over)
    if pool:
        call.cluster.pools[pool].guests.add(call.vmid)
    job = _Create(call, ct, settings, over)
    return call.start("vzrestore" if restore else "vzcreate", call.vmid, job.run, job.undo)


def _overwritten(call: Call) -> Container | None:
    """The container that a forced restore takes the place of; raises Failure when the id is not free."""
    old = call.cluster.guests.get(call.vmid)
    if old is None:
        return None
    if (
        not isinstance(old, Container)
        or old.node != call.node.name
        or not (call.flag("restore") and call.flag("force"))
    ):
        raise Failure(f"{old.word} {old.vmid} already exists on node '{old.node}'")
    if old.running:
        raise Failure("can't overwrite running container")
    old.check_protection(f"unable to restore CT {old.vmid}")
    return old


def _use_storage(call: Call, settings: dict[str, str]) -> None:
    """A size alone is one on ``storage``."""
    for name, value in settings.items():
        if options.is_mount(name) and re.fullmatch(r"\d+(\.\d+)?", value):
            settings[name] = f"{call.text('storage', 'local')}:{value}"


def _take_id(call: Call, ct: Container, old: Container | None) -> None:
    if old is None:
        call.cluster.add(ct)
        return
    for volid in [volid for _, volid in old.volume_ids() if mounts.owned(call.cluster, old, volid)]:
        call.cluster.storages.free(old.node, volid)
    call.cluster.guests[ct.vmid] = ct


def _check_allowed(call: Call, settings: dict[str, str], pool: str | None) -> None:
    if pool and pool not in call.cluster.pools:
        raise Forbidden(f"pool '{pool}' does not exist")
    in_pool = pool and call.allowed.has(f"/pool/{pool}", ["VM.Allocate"])
    if not in_pool and not call.allowed.has(f"/vms/{call.vmid}", ["VM.Allocate"]):
        over = call.flag("restore") and call.flag("force") and call.vmid in call.cluster.guests
        if not (over and call.allowed.has(f"/vms/{call.vmid}", ["VM.Backup"])):
            raise Forbidden()
    for name in settings:
        if name == "tags":
            tags.check_change(call, call.vmid, "", settings[name])
        elif name != "unprivileged":
            call.allowed.vm(call.vmid, options.right_of(name), pool=pool)


def _check_archive(call: Call, archive: str, restore: bool) -> None:
    call.cluster.storages.check_volume_access(call.allowed, call.node.name, call.vmid, archive)
    wanted = "backup" if restore else "vztmpl"
    content = call.cluster.storages.parse(call.node.name, archive).content
    if content != wanted:
        raise Failure(f"unable to use volume {archive} - content type needs to be '{wanted}'")


def check_hardware(
    call: Call, settings: dict[str, str], *, old: str = "", privileged: bool = False, pool: str | None = None
) -> None:
    """Devices, features, hook scripts: what only root may, what is not there. ``old`` are the features so far."""
    for name, value in settings.items():
        if name.startswith("dev") and name[3:].isdigit():
            if not call.caller.is_root:
                raise Forbidden("configuring device passthrough is only allowed for root@pam")
            path = value.removeprefix("path=").split(",")[0]
            if path not in _DEVICES:
                raise Failure(f"Device {path} does not exist")
        elif options.is_net(name):
            settings[name] = options.with_hwaddr(name, value, call.cluster.mac_prefix())
        elif name == "features" and not call.caller.is_root:
            check_features(call, old, value, privileged=privileged, pool=pool)
        elif name == "hookscript":
            if not call.caller.is_root:
                raise Forbidden("changing the hookscript is only allowed for root@pam")
            store, volume = call.cluster.storages.find(call.node.name, value)
            if store.parse(volume).content != "snippets":
                raise Failure(f"'{value}' is not in the snippets directory")
            if not store.has(volume):
                raise Failure(f"script '{value}' does not exist")
    checks.check_bridges(call, settings)


def check_features(call: Call, old: str, new: str, *, privileged: bool, pool: str | None = None) -> None:
    """Nesting may be switched by who may allocate the container, as long as no other flag changes with it."""
    if privileged:
        raise Forbidden("changing feature flags for privileged container is only allowed for root@pam")
    before, after = (dict(part.partition("=")[::2] for part in text.split(",") if part.strip()) for text in (old, new))
    changed = {name for name in {**before, **after} if before.get(name, "") != after.get(name, "")}
    if changed - {"nesting"} or (not before and after == {"nesting": "0"}):
        raise Forbidden("changing feature flags (except nesting) is only allowed for root@pam")
    if changed:
        call.allowed.vm(call.vmid, "VM.Allocate", pool=pool)


class _Create:
    def __init__(self, call: Call, ct: Container, settings: dict[str, str], over: Container | None) -> None:
        self.call = call
        self.over = over
        self.ct = ct
        self.settings = settings
        self.made: list[str] = []

    def undo(self) -> None:
        for volid in self.made:
            self.call.cluster.storages.free(self.ct.node, volid)
        if self.ct.options.get("lock") == "create":
            self.call.cluster.remove(self.ct.vmid)

    async def run(self, task: Task) -> None:
        word = "restore" if self.call.flag("restore") else "create"
        try:
            async with self.call.cluster.locked(self.ct):
                options_ = self._build(self._archive(), task)
        except ApiError as error:
            raise Failure(f"unable to {word} CT {self.ct.vmid} - {task_text(error)}") from None
        self.ct.options.clear()
        self.ct.options.update(options_)
        self.ct.tidy()
        self.made.clear()
        started = self.call.flag("start")
        if started:  # a task of its own, that may fail
            power.start_task(self.call)
        if self.call.flag("ha-managed"):
            task.log("Add as HA resource")
            high_availability.manage(self.call.cluster, f"ct:{self.ct.vmid}", "started" if started else "stopped")

    def _archive(self) -> pathlib.Path:
        archive = self.call.text("ostemplate")
        store, volume = self.call.cluster.storages.find(self.ct.node, archive)
        if not store.has(volume):
            raise Failure(f"volume '{archive}' does not exist")
        return store.file(volume)

    def _build(self, archive: pathlib.Path, task: Task) -> dict[str, str]:
        if self.call.flag("restore"):
            made = self._restored(archive)
        else:
            made = {"arch": "amd64", "memory": "512", "swap": "512", "hostname": f"CT{self.ct.vmid}", **self.settings}
            made.setdefault("ostype", _system(archive.name))
            made.setdefault("unprivileged", "1")
        if made.get("unprivileged") == "0":
            del made["unprivileged"]
        mounts.check_sources(self.call, made)
        for name in sorted(made, key=lambda name: (name != "rootfs", name)):
            if options.is_mount(name):
                made[name] = mounts.allocate(self.call.cluster, self.ct, name, made[name], self.made)
        if self.call.flag("restore"):
            self._fill(archive, made)
        task.log(f"extracting archive '{archive.name}'")
        return made

    def _restored(self, archive: pathlib.Path) -> dict[str, str]:
        """The configuration of the backup. Its volumes are made anew, all of them on ``storage``, and those that the backup
        does not hold are empty; or, when the request has volumes, none but these."""
        saved = backup.read_archive(archive)
        made = {name: value for name, value in saved.items() if name != "lock" and not name.startswith("unused")}
        self._check_privileged(made)
        for name in [name for name in made if options.is_mount(name)]:
            mount = options.parse_mount(name, made[name])
            if "rootfs" in self.settings:
                del made[name]
            elif names.is_volume_id(mount["volume"]):
                gigabytes = _gigabytes(mount.pop("size", "4G"))
                volume = f"{self.call.text('storage', 'local')}:{gigabytes}"
                made[name] = options.render_mount(name, {**mount, "volume": volume})
            elif not self.call.caller.is_root:
                kind = mounts.kind_of(mount["volume"])
                raise Failure(f"restoring '{name}' to {kind} mount is only possible for root")
        if self.call.flag("unique"):
            for name in [name for name in made if options.is_net(name)]:
                net = ",".join(part for part in made[name].split(",") if not part.startswith("hwaddr="))
                made[name] = options.with_hwaddr(name, net, self.call.cluster.mac_prefix())
        return {**made, **self.settings}

    def _check_privileged(self, saved: dict[str, str]) -> None:
        wanted = self.settings.get("unprivileged", saved.get("unprivileged", "0"))
        if wanted == "0" and (self.over is None or self.over.options.get("unprivileged") == "1"):
            self.call.allowed.require("/", "Sys.Modify")

    def _fill(self, archive: pathlib.Path, made: dict[str, str]) -> None:
        for name in made:
            if options.is_mount(name):
                volid = options.parse_mount(name, made[name])["volume"]
                store, _ = self.call.cluster.storages.find(self.ct.node, volid)
                if volid in store.volumes:
                    backup.restore_data(archive, name, store.directory(volid))


def _gigabytes(size: str) -> str:
    return f"{(parse_size(size) or 0) / (1 << 30):.15g}"


def _system(template: str) -> str:
    return next((system for system in _SYSTEMS if template.startswith(system)), "unmanaged")
