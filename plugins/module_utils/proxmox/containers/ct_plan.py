# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be changed so that containers are as they are wanted. Pure: nothing is asked and nothing is written."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ...errors import InvalidInput
from ...plan import Change, Plan
from ..guests.guest_plan import Planned, plan_each
from ..vms.vm_state import Needs, Surroundings, VmState
from . import ct_difference as differ
from . import ct_form as forms
from . import ct_options as options
from .ct_checks import Sources, check_clone, check_moves, check_new, check_pool, check_reach, check_same
from .ct_rights import check_rights
from .ct_spec import Clone, Container
from .ct_templates import (
    after,
    becomes_template,
    check_becomes,
    check_linked,
    check_stays,
    check_volumes_only,
    is_linked,
)

NEEDS_RESTART = "needs a restart"
Current = t.Mapping[int, VmState]


@dataclasses.dataclass(frozen=True)
class Create:
    """``template`` when it is made one in the end."""

    ct: Container
    node: str
    form: forms.Form = dataclasses.field(repr=False)
    template: bool = False


@dataclasses.dataclass(frozen=True)
class CloneFrom:
    """``predicted`` is what the clone will look like before ``update`` makes it what is wanted."""

    ct: Container
    clone: Clone
    node: str  # of the source, where the request goes
    source_pool: str
    form: forms.Form
    predicted: VmState
    update: Update


@dataclasses.dataclass(frozen=True)
class Update:
    """All is done at once and guarded by ``digest``, but for growing volumes and making a template, which are tasks of
    the node."""

    ct: Container
    node: str
    digest: str
    put: forms.Form = dataclasses.field(repr=False)
    delete: tuple[str, ...]
    resizes: t.Mapping[str, int]
    pool: str
    leaves: str
    template: bool = False


@dataclasses.dataclass(frozen=True)
class Power:
    ct: Container
    node: str
    to: t.Literal["start", "stop", "restart"]
    kill: bool = False


@dataclasses.dataclass(frozen=True)
class Migrate:
    """``restart`` when it runs: a container moves only while it is switched off."""

    ct: Container
    node: str
    target: str
    restart: bool


@dataclasses.dataclass(frozen=True)
class Destroy:
    """``last`` when other guests that go as well are linked to it."""

    ct: Container
    node: str
    last: bool = False


def needs(wanted: t.Sequence[Container], current: Current) -> Needs:
    """What must be known to judge what is new: nothing when nothing is."""
    nodes, bridges, images, changes, pools = set(), set(), set(), False, False
    for ct in wanted:
        state = current.get(ct.vmid)
        if ct.state == "absent":
            changes = changes or state is not None
            continue
        node = ct.node if state is None or ct.migrate else state.node
        pools = pools or bool(ct.pool and (state is None or state.pool != ct.pool))
        moving = state is not None and state.node != node
        mounts, networks = differ.new_parts(ct, None if moving else state)
        if state is None or mounts or networks or moving or becomes_template(ct, state):
            nodes.add(node)
        if networks:
            bridges.add(node)
        if state is None and ct.ostemplate:
            images.add((node, ct.ostemplate))
        changes = changes or state is None or _changes(ct, state)
    return Needs(frozenset(nodes), frozenset(bridges), frozenset(images), changes, pools)


def _changes(ct: Container, state: VmState) -> bool:
    """What is wrong with a wish is said later, together with all else that is wrong."""
    try:
        return bool(_existing(ct, state, Surroundings()).plan)
    except InvalidInput:
        return False


def plan(
    wanted: t.Sequence[Container],
    current: Current,
    around: Surroundings,
    planned_images: t.Collection[str] = (),
    *,
    sources: Sources | None = None,
    who: str = "root@pam",
) -> Planned:
    """The changes of all containers, in the order of the input. Raises one :class:`InvalidInput` that names every
    problem. ``who`` asks: a user, or a token as ``user@realm!token``."""
    planned = plan_each(
        wanted, current, "CT", lambda ct, state: _container(ct, state, around, planned_images, sources or {})
    )
    check_rights([change.operation for change in planned.plan], current, around, who)
    return planned


def _container(
    ct: Container,
    state: VmState | None,
    around: Surroundings,
    planned_images: t.Collection[str],
    sources: Sources,
) -> Planned:
    if state is None:
        return Planned(Plan() if ct.state == "absent" else Plan.of(_new(ct, around, planned_images, sources)))
    check_same(ct, state)
    if ct.state == "absent":
        return Planned(Plan.of(_gone(ct, state)))
    check_pool(ct, state, around)
    node = ct.node if ct.migrate else state.node
    moving = node != state.node
    mounts, networks = differ.new_parts(ct, state)
    if moving:
        networks = differ.new_parts(ct, None)[1]
        check_moves(ct, state, node, around)
    check_new(ct, node, mounts, networks, around, moving=moving)
    return _existing(ct, state, around)


def _new(ct: Container, around: Surroundings, planned_images: t.Collection[str], sources: Sources) -> list[Change]:
    check_pool(ct, None, around)
    source = check_clone(ct, ct.clone, sources) if ct.clone else None
    predicted = cloned(ct, source) if source else None
    check_new(ct, ct.node, *differ.new_parts(ct, predicted), around, planned_images, whole=True)
    if source and ct.clone:
        check_reach(ct, source, around)
        check_linked(ct, ct.clone, source, around)
    changes = [_clone(ct, ct.clone, source, around) if source and ct.clone else _create(ct, around)]
    if ct.runs:
        changes.append(_power(ct, ct.node, "start"))
    return changes


def _create(ct: Container, around: Surroundings) -> Change:
    form, shown = forms.creation(ct)
    if ct.template:
        check_becomes(ct, ct.node, form, (), around)
    return Change(f"ct/{ct.vmid}", "create", after=shown, operation=Create(ct, ct.node, form, bool(ct.template)))


def _clone(ct: Container, clone: Clone, source: VmState, around: Surroundings) -> Change:
    """What the source is decides what has to be changed in its clone."""
    check_volumes_only(ct, clone, source)
    predicted = cloned(ct, source)
    found = differ.difference(ct, predicted)
    if found.template:
        check_becomes(ct, ct.node, after(predicted.config, found), (), around)
    operation = CloneFrom(
        ct,
        clone,
        source.node,
        source.pool,
        forms.cloning(ct, clone, source.node),
        predicted,
        update_of(ct, predicted, found),
    )
    how = "linked" if is_linked(clone, source) else "full"
    shown = {"node": ct.node, "clone": f"{clone.source} ({how})", "hostname": ct.hostname, **found.after}
    if ct.pool:
        shown["pool"] = ct.pool
    return Change(f"ct/{ct.vmid}", "create", after=shown, operation=operation)


def cloned(ct: Container, source: VmState) -> VmState:
    """A clone before anything is changed: its source without what is the source's own."""
    own = ("lock", "template", "digest", "parent", "hostname")
    config: dict[str, t.Any] = {
        key: value for key, value in source.config.items() if key not in own and not key.startswith("unused")
    }
    for key in config:
        if key.startswith("net"):
            network = options.parse_network(config[key])
            network.pop("hwaddr", None)
            config[key] = options.render_network(network)
        elif ct.clone and ct.clone.storage and re.fullmatch(r"rootfs|mp\d+", key):
            mount = options.parse_mount(config[key])
            name = mount["volume"].partition(":")[2]
            config[key] = options.render_mount({**mount, "volume": f"{ct.clone.storage}:{name}"})
    config["hostname"] = ct.hostname
    return VmState(ct.vmid, "lxc", ct.node, ct.hostname, pool=ct.pool or "", config=config)


def _gone(ct: Container, state: VmState) -> list[Change]:
    before = {"node": state.node, **forms.shown_config(state.config)}
    changes = [_power(ct, state.node, "stop", kill=True)] if state.running else []
    operation = Destroy(ct, state.node, last=bool(state.clones))
    return [*changes, Change(f"ct/{ct.vmid}", "delete", before=before, operation=operation)]


def _existing(ct: Container, state: VmState, around: Surroundings) -> Planned:
    """Stop and move before the update, so that nothing has to wait; start or restart after it."""
    changes: list[Change] = []
    if state.running and (ct.state == "stopped" or becomes_template(ct, state)):
        changes.append(_power(ct, state.node, "stop"))
        state = dataclasses.replace(state, running=False, pending=())
    warnings = _warnings(ct, state)
    if state.node != ct.node and ct.migrate and (not state.running or ct.allow_restart):
        changes.append(_migration(ct, state))
        state = dataclasses.replace(state, node=ct.node, pending=())
    found = differ.difference(ct, state)
    check_stays(ct, state, found)
    if found.template:
        check_becomes(ct, state.node, after(state.config, found), state.snapshots, around)
    waiting = [
        key
        for key in {**found.put, **dict.fromkeys(found.delete)}
        if state.running and options.needs_restart(key, state.config.get(key))
    ]
    pending = tuple(sorted({*waiting, *state.pending}))
    if found:
        note = NEEDS_RESTART if waiting else ""
        operation = update_of(ct, state, found)
        changes.append(Change(f"ct/{ct.vmid}", "update", found.before, found.after, note, operation))
    if not state.running:
        changes += [_power(ct, state.node, "start")] if ct.runs else []
        pending = ()
    elif (pending and ct.allow_restart) or ct.state == "restarted":
        note = "applies " + ", ".join(pending) if pending else ""
        changes.append(_power(ct, state.node, "restart", note=note))
        pending = ()
    if pending:
        warnings = (*warnings, _waits(ct, pending))
    return Planned(Plan.of(changes), warnings, {ct.vmid: pending} if pending else {})


def update_of(ct: Container, state: VmState, found: differ.Difference) -> Update:
    return Update(
        ct, state.node, state.digest, found.put, found.delete, found.resizes, found.pool, found.leaves, found.template
    )


def _migration(ct: Container, state: VmState) -> Change:
    note = "moves, which restarts it" if state.running else "moves"
    operation = Migrate(ct, state.node, ct.node, state.running)
    return Change(f"ct/{ct.vmid}", "update", {"node": state.node}, {"node": ct.node}, note, operation)


def _warnings(ct: Container, state: VmState) -> tuple[str, ...]:
    if state.node == ct.node:
        return ()
    where = f"{ct.title} is on node {state.node}, not on {ct.node}; it stays there"
    if not ct.migrate:
        return (f"{where}, as migrate is not set.",)
    if state.running and not ct.allow_restart:
        return (f"{where}, as a running container moves with a restart only; allow_restart lets this module do it.",)
    return ()


def _waits(ct: Container, pending: tuple[str, ...]) -> str:
    take = "takes" if len(pending) == 1 else "take"
    return (
        f"{ct.title} is running and needs a restart before {', '.join(pending)} {take} effect; "
        "allow_restart lets this module do it."
    )


def _power(
    ct: Container, node: str, to: t.Literal["start", "stop", "restart"], *, kill: bool = False, note: str = ""
) -> Change:
    return Change(f"ct/{ct.vmid}", to, note=note, operation=Power(ct, node, to, kill))
