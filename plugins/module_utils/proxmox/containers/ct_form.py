# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The words in which a container is created and shown: the form that is sent, and what a plan says of it."""

from __future__ import annotations

import typing as t

from ...plan import COMPUTED, HIDDEN
from ..api import propertystring as ps
from ..vms.options import Value, tags
from . import ct_options as options
from .ct_spec import Clone, Container
from .ct_spec_parts import Device, Mount, Network

Form = dict[str, Value]

#: Not worth showing: the server's own.
_UNSHOWN = ("digest", "lxc", "parent", "template")


def creation(ct: Container) -> tuple[Form, dict[str, t.Any]]:
    """The form of a new container from a template, and what a plan shows of it."""
    plain = {key: value for key, value in ct.options.items() if value != ""}
    unprivileged = int(ct.unprivileged is not False)
    form: Form = {"vmid": ct.vmid, "ostemplate": ct.ostemplate, "unprivileged": unprivileged, **plain}
    shown = {"node": ct.node, "ostemplate": ct.ostemplate, "unprivileged": unprivileged, **shown_config(plain)}
    for mount in ct.volumes:
        if not mount.absent:
            form[mount.slot], shown[mount.slot] = allocation(mount), shown_mount(mount)
    for nic in ct.networks:
        if not nic.absent:
            form[nic.slot] = options.render_network(network(nic))
            shown[nic.slot] = shown_network(nic)
    features = ps.render({key: value for key, value in ct.features.items() if value})
    more = {
        "features": features,
        **{one.slot: device(one) for one in ct.devices if not one.absent},
        "pool": ct.pool or "",
    }
    for key, value in more.items():
        if value:
            form[key] = shown[key] = value
    if ct.ssh_keys:
        form["ssh-public-keys"], shown["ssh_keys"] = ct.ssh_keys, ct.ssh_keys.splitlines()
    if ct.password:
        form["password"], shown["password"] = ct.password, HIDDEN
    if ct.template:
        shown["template"] = 1
    return form, shown


def cloning(ct: Container, clone: Clone, source_node: str) -> Form:
    form: Form = {"newid": ct.vmid, "hostname": ct.hostname}
    if clone.full is not None:
        form["full"] = int(clone.full)
    more = {"snapname": clone.snapshot, "storage": clone.storage, "pool": ct.pool or ""}
    more["target"] = ct.node if ct.node != source_node else ""
    return {**form, **{key: value for key, value in more.items() if value}}


def allocation(mount: Mount) -> str:
    """``local:8``, a volume or a directory, with the mount's settings."""
    volume = mount.volume or f"{mount.storage}:{ps.gibibytes(mount.size or 0)}"
    return options.render_mount({"volume": volume, **{key: value for key, value in mount.settings.items() if value}})


def shown_mount(mount: Mount) -> str:
    settings = {key: value for key, value in mount.settings.items() if value}
    size = {"size": ps.size_text(mount.size)} if mount.size else {}
    return options.render_mount({"volume": mount.volume or mount.storage, **settings, **size})


def network(nic: Network, current: t.Mapping[str, str] | None = None) -> ps.Properties:
    """What a network is to be: sub-keys that the module does not know, and a MAC that is not given, are kept."""
    properties = {**(current or {}), "name": nic.name, "bridge": nic.bridge, **nic.settings}
    if nic.mac:
        properties["hwaddr"] = nic.mac
    return {key: value for key, value in properties.items() if value != ""}


def shown_network(nic: Network, current: t.Mapping[str, str] | None = None) -> str:
    properties = network(nic, current)
    return options.render_network({**properties, "hwaddr": properties.get("hwaddr") or COMPUTED})


def device(wanted: Device, current: t.Mapping[str, str] | None = None) -> str:
    properties = {**(current or {}), "path": wanted.path, **wanted.settings}
    return ps.render({key: value for key, value in properties.items() if value != ""}, "path")


def shown_config(config: t.Mapping[str, Value]) -> dict[str, t.Any]:
    """A configuration as a plan shows it."""
    return {key: shown(key, value) for key, value in sorted(config.items()) if key not in _UNSHOWN}


def shown(key: str, value: Value) -> t.Any:
    if key == "tags":
        return tags(str(value))
    if key == "description":
        return str(value).rstrip("\n")
    return value
