# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What differs between a container that is wanted and one that is there. Pure."""

from __future__ import annotations

import dataclasses
import typing as t

from ...errors import InvalidInput
from ..api import propertystring as ps
from ..vms.options import Value
from ..vms.vm_state import VmState
from . import ct_form as form
from . import ct_options as options
from .ct_spec import Container
from .ct_spec_parts import Device, Mount, Network


@dataclasses.dataclass
class Difference:
    """What to send, and what a plan shows of it; false when nothing differs. ``resizes`` are sizes in bytes by slot,
    ``leaves`` is the pool that it leaves for none, ``template`` whether it is made one in the end."""

    put: form.Form = dataclasses.field(default_factory=dict)
    delete: tuple[str, ...] = ()
    resizes: dict[str, int] = dataclasses.field(default_factory=dict)
    pool: str = ""
    leaves: str = ""
    template: bool = False
    before: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    after: dict[str, t.Any] = dataclasses.field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.put or self.delete or self.resizes or self.pool or self.leaves or self.template)

    def set(self, key: str, before: Value | None, value: Value, shown: t.Any = None) -> None:
        self.put[key] = value
        self.show(key, before, value if shown is None else shown)

    def unset(self, key: str, before: Value | None) -> None:
        self.delete += (key,)
        self.show(key, before, None)

    def show(self, key: str, before: t.Any, after: t.Any) -> None:
        for side, value in ((self.before, before), (self.after, after)):
            if value is not None and str(value).strip() != "":
                side[key] = form.shown(key, value)


def new_parts(ct: Container, state: VmState | None) -> tuple[tuple[Mount, ...], tuple[Network, ...]]:
    """The volumes that are to be made, and the networks that are new or come to another bridge."""
    config: t.Mapping[str, Value] = state.config if state else {}
    mounts = tuple(mount for mount in ct.volumes if not mount.absent and mount.slot not in config)
    networks = tuple(
        nic
        for nic in ct.networks
        if not nic.absent and ps.parse(str(config.get(nic.slot, ""))).get("bridge") != nic.bridge
    )
    return mounts, networks


def difference(ct: Container, state: VmState) -> Difference:
    """Raises :class:`InvalidInput` for what cannot be done to a container that exists."""
    found = Difference()
    _unchangeable(ct, state)
    for key, value in ct.options.items():
        current = state.config.get(key)
        if options.comparable(key, current) == options.comparable(key, value):
            continue
        if value == "":
            found.unset(key, current)
        else:
            found.set(key, current, value)
    _features(ct, state, found)
    for nic in ct.networks:
        _network(nic, state, found)
    for mount in ct.volumes:
        _mount(ct, mount, state, found)
    for device in ct.devices:
        _device(device, state, found)
    if ct.pool is not None and ct.pool != state.pool:
        found.pool, found.leaves = ct.pool, "" if ct.pool else state.pool
        found.show("pool", state.pool or None, ct.pool)
    if ct.template and not state.template:
        found.template = True
        found.show("template", 0, 1)
    return found


def _unchangeable(ct: Container, state: VmState) -> None:
    is_ = bool(int(state.config.get("unprivileged") or 0))
    if ct.unprivileged is not None and ct.unprivileged != is_:
        raise InvalidInput(
            f"{ct.title} is {'unprivileged' if is_ else 'privileged'}, which cannot be changed",
            hint="Restore a backup of it with the other setting, or make a new container.",
        )


def _features(ct: Container, state: VmState, found: Difference) -> None:
    """Only the flags that are decided; the others stay as they are."""
    text = state.config.get("features")
    current = ps.parse(str(text or "").strip())
    wanted = {key: value for key, value in {**current, **ct.features}.items() if value}
    if _comparable_features(current) == _comparable_features(wanted):
        return
    if wanted:
        found.set("features", text, ps.render(wanted))
    else:
        found.unset("features", text)


def _comparable_features(features: t.Mapping[str, str]) -> ps.Properties:
    comparable = options.properties(ps.render(features))
    systems = comparable.pop("mount", "").replace(" ", ";").split(";")
    return {**comparable, "mount": ";".join(sorted(filter(None, systems)))}


def _network(nic: Network, state: VmState, found: Difference) -> None:
    text = state.config.get(nic.slot)
    if nic.absent:
        if text is not None:
            found.unset(nic.slot, text)
        return
    current = options.parse_network(text or "")
    wanted = form.network(nic, current)
    if text is None or options.comparable_network(current) != options.comparable_network(wanted):
        # For the server another spelling of a MAC is another card, which a running container would get in place of its own.
        mac = ps.parse(str(text or "")).get("hwaddr", "")
        sent = {**wanted, "hwaddr": mac} if mac and mac.upper() == wanted.get("hwaddr") else wanted
        found.set(nic.slot, text, options.render_network(sent), form.shown_network(nic, current))


def _mount(ct: Container, mount: Mount, state: VmState, found: Difference) -> None:
    text = state.config.get(mount.slot)
    if mount.absent:
        if text is not None:
            _unprotected(ct, mount, state, "taken away")
            found.unset(mount.slot, text)
        return
    if text is None:
        _complete(ct, mount)
        _unprotected(ct, mount, state, "changed")
        found.set(mount.slot, None, form.allocation(mount), form.shown_mount(mount))
        return
    current = options.parse_mount(text)
    _same_volume(ct, mount, current["volume"])
    wanted = {**current, **mount.settings, "volume": mount.volume or current["volume"]}
    wanted = {key: value for key, value in wanted.items() if value != ""}
    size = _grown(ct, mount, current)
    if _comparable_mount(current) != _comparable_mount(wanted):
        _unprotected(ct, mount, state, "changed")
        found.put[mount.slot] = options.render_mount(wanted)
    if size:
        found.resizes[mount.slot] = size
        wanted["size"] = ps.size_text(size)
    if size or mount.slot in found.put:
        found.show(mount.slot, text, options.render_mount(wanted))


def _unprotected(ct: Container, mount: Mount, state: VmState, what: str) -> None:
    """Protection may go in the same run, it is taken off first; or come, which is done last. Growing needs neither."""
    is_ = int(state.config.get("protection") or 0)
    if is_ and int(ct.options.get("protection", is_) or 0):
        raise InvalidInput(
            f"{ct.title} is protected, so {mount.slot} cannot be {what}", hint="Set protection to false for that."
        )


def _comparable_mount(mount: t.Mapping[str, str]) -> ps.Properties:
    comparable = options.properties(options.render_mount(mount), "volume")
    if "mountoptions" in comparable:
        comparable["mountoptions"] = ";".join(sorted(comparable["mountoptions"].split(";")))
    return comparable


def _complete(ct: Container, mount: Mount) -> None:
    if mount.storage and mount.size is None:
        raise InvalidInput(f"size of {mount.slot} of {ct.title} is missing", hint="Write for example 8G.")


def _same_volume(ct: Container, mount: Mount, volume: str) -> None:
    """A slot keeps its volume: data is neither moved nor put aside."""
    if mount.volume == volume or (options.is_bind(volume) and options.is_bind(mount.volume)):
        return
    if mount.volume or options.is_bind(volume):
        raise InvalidInput(
            f"{mount.slot} of {ct.title} is {volume}, wanted is {mount.volume or f'a volume on {mount.storage}'}",
            hint="Choose another slot, or set state absent for this one first, which keeps its volume as unused.",
        )
    if ps.storage_of(volume) != mount.storage:
        raise InvalidInput(
            f"{mount.slot} of {ct.title} lies on the storage {ps.storage_of(volume)!r}, wanted is {mount.storage!r}",
            hint="This module does not move volumes: move it in Proxmox VE, or set the storage that it has.",
        )


def _grown(ct: Container, mount: Mount, current: t.Mapping[str, str]) -> int | None:
    """The size that a volume must grow to, None when it has it."""
    if mount.size is None:
        return None
    is_ = ps.size_in_bytes(current.get("size", "0"), option=f"size of {mount.slot} as the server has it")
    if mount.size < is_:
        raise InvalidInput(
            f"{mount.slot} of {ct.title} has {ps.size_text(is_)}, wanted are {ps.size_text(mount.size)}",
            hint="Volumes only grow: set the size that it has, or make a new one.",
        )
    return None if mount.size == is_ else mount.size


def _device(device: Device, state: VmState, found: Difference) -> None:
    text = state.config.get(device.slot)
    if device.absent:
        if text is not None:
            found.unset(device.slot, text)
        return
    current = ps.parse(str(text or ""), "path")
    wanted = form.device(device)
    if text is None or options.properties(str(text), "path") != options.properties(wanted, "path"):
        if current.get("path") == device.path:
            wanted = form.device(device, current)
        found.set(device.slot, text, wanted)
