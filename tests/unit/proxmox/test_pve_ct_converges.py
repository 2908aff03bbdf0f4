# SPDX-License-Identifier: GPL-3.0-or-later
"""For any wish and any container that is there: the plan says what is changed, the change makes the wish true, and then
nothing is left to do. Check mode writes nothing and says the same."""

from __future__ import annotations

import copy
import typing as t

from hypothesis import given, settings
from hypothesis import strategies as st
from pve_ct_model import Model

from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.api import attempts
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.api.tasks import Tasks
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.containers import cts
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.containers.ct_apply import Applier
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.containers.ct_spec import wanted

#: In the order of what the server makes of them: whole MiB.
SIZES = {"1G": 1.0, "1025M": 1.001, "2G": 2.0, "2048M": 2.0, "2.3G": 2.3, "3G": 3.0, "3379M": 3.2998, "3.3G": 3.3}
GOLDEN = {
    "vmid": 900, "hostname": "golden", "node": "pve1", "state": "stopped", "ostemplate": "local:vztmpl/a.tar.zst",
    "rootfs": {"storage": "local", "size": "1G"}, "networks": [{"ip": "dhcp"}], "tags": ["golden"],
}  # fmt: skip


def optional(strategy: st.SearchStrategy[t.Any]) -> st.SearchStrategy[t.Any]:
    return st.none() | strategy


volume = {
    "acl": optional(st.booleans()),
    "readonly": st.booleans(),
    "replicate": st.booleans(),
    "shared": st.booleans(),
    "mount_options": optional(st.lists(st.sampled_from(["noatime", "discard"]), unique=True)),
}
rootfs = st.fixed_dictionaries({"storage": st.just("local"), "size": st.sampled_from(list(SIZES))}, optional=volume)
mounts = st.fixed_dictionaries(
    {"mp": st.sampled_from(["/data", "/more"]), "storage": st.just("local"), "size": st.sampled_from(list(SIZES))},
    optional={**volume, "backup": st.booleans()},
)
binds = st.fixed_dictionaries(
    {"slot": st.just("mp5"), "mp": st.just("/srv"), "source": st.sampled_from(["/srv", "/srv/media"])},
    optional={"readonly": st.booleans()},
)
networks = st.fixed_dictionaries(
    {"bridge": st.sampled_from(["vmbr0", "vmbr1"])},
    optional={
        "vlan": optional(st.integers(1, 4094)),
        "firewall": st.booleans(),
        "ip": optional(st.sampled_from(["dhcp", "192.168.1.4/24"])),
        "ip6": optional(st.sampled_from(["auto", "fd00::4/64"])),
        "mtu": optional(st.just(1400)),
        "rate": optional(st.sampled_from([1.0, 12.5])),
    },
)
devices = st.fixed_dictionaries(
    {"path": st.sampled_from(["/dev/dri/card0", "/dev/dri/renderD128"])},
    optional={"gid": optional(st.sampled_from([0, 104])), "mode": optional(st.sampled_from(["0660", "0666"]))},
)
features = st.fixed_dictionaries(
    {},
    optional={
        **{name: optional(st.booleans()) for name in ("nesting", "keyctl", "fuse")},
        "mount": optional(st.lists(st.sampled_from(["nfs", "cifs"]), unique=True)),
    },
)
absent_mount = st.just({"slot": "mp0", "state": "absent"})
absent_card = st.just({"slot": "net1", "state": "absent"})
options = {
    "cores": optional(st.integers(1, 4)),
    "cpulimit": optional(st.sampled_from([0.0, 0.5, 2.0])),
    "cpuunits": optional(st.sampled_from([100, 500])),
    "memory": optional(st.sampled_from([512, 1024])),
    "swap": optional(st.sampled_from([0, 512])),
    "onboot": optional(st.booleans()),
    "console": optional(st.booleans()),
    "console_mode": optional(st.sampled_from(["tty", "shell"])),
    "tty": optional(st.sampled_from([1, 2])),
    "nameservers": optional(st.lists(st.sampled_from(["1.1.1.1", "9.9.9.9"]), max_size=2, unique=True)),
    "searchdomain": optional(st.sampled_from(["lab.test", ""])),
    "timezone": optional(st.sampled_from(["host", "Europe/Berlin"])),
    "description": optional(st.sampled_from(["", "one", "two\nlines\n\n"])),
    "tags": optional(st.lists(st.sampled_from(["edge", "Lab", "dns"]), max_size=3)),
    "startup": optional(st.sampled_from(["order=2,up=30", "2"])),
    "mounts": st.lists(mounts, max_size=1) | st.lists(binds, max_size=1) | st.lists(absent_mount, max_size=1),
    "networks": st.lists(networks, max_size=2) | st.lists(absent_card, max_size=1),
    "devices": st.lists(devices, max_size=1),
    "features": optional(features),
    "unprivileged": optional(st.just(True)),
    "ssh_keys": optional(st.just(["ssh-ed25519 AAAA a@b"])),
    "password": optional(st.just("not a real secret")),
    "pool": optional(st.sampled_from(["lab", "other", ""])),
    "state": st.sampled_from(["started", "stopped", "present", "absent"]),
    "allow_restart": st.booleans(),
    "unset": st.lists(
        st.sampled_from(["swap", "cpulimit", "onboot", "console_mode", "nameservers", "tags", "description", "tty"])
    ),
}


def without_what_is_unset(wish: dict[str, t.Any]) -> dict[str, t.Any]:
    return {key: value for key, value in wish.items() if key not in wish.get("unset", [])}


named = {"vmid": st.just(310), "hostname": st.just("traefik"), "node": st.just("pve1")}
from_template = st.fixed_dictionaries(
    {**named, "ostemplate": st.just("local:vztmpl/a.tar.zst"), "rootfs": rootfs}, optional=options
).map(without_what_is_unset)
from_golden = st.fixed_dictionaries(
    {**named, "clone": st.fixed_dictionaries({"vmid": st.just(900)}, optional={"full": optional(st.just(True))})},
    optional={
        key: value for key, value in {**options, "rootfs": rootfs}.items() if key not in ("password", "ssh_keys")
    },
).map(without_what_is_unset)


class Run:
    """One run of the module on the model, without HTTP."""

    def __init__(self, model: Model, wish: dict[str, t.Any]) -> None:
        session: t.Any = model
        tasks = Tasks(session, lambda _warning: None)
        self.planner = cts.Planner(session, tasks, wanted([wish]), ())
        self.planned = self.planner.look_and_plan()
        self.applier = Applier(session, tasks, shutdown_timeout=5)

    def apply(self) -> None:
        attempts.carry_out(self.planner, self.applier.apply, self.planned)

    @property
    def changes(self) -> list[dict[str, t.Any]]:
        return self.planned.plan.as_result()


def growing(first: dict[str, t.Any], second: dict[str, t.Any]) -> bool:
    """A later wish with a smaller volume is refused, and tested elsewhere."""

    def size(wish: dict[str, t.Any], kind: str) -> float:
        found = wish.get(kind) or {}
        found = (found[0] if found else {}) if isinstance(found, list) else found
        return SIZES.get(found.get("size", ""), 0)

    kinds = [kind for kind in ("rootfs", "mounts") if size(second, kind)]
    return all(size(first, kind) <= size(second, kind) for kind in kinds)


def prepared() -> Model:
    model = Model()
    Run(model, GOLDEN).apply()
    model.writes.clear()
    return model


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_what_is_planned_is_made_and_then_nothing_is_left(data: st.DataObject) -> None:
    model = prepared()
    first = data.draw(from_template | from_golden, label="first wish")
    second = data.draw((from_template | from_golden).filter(lambda wish: growing(first, wish)), label="second wish")
    for wish in (first, second):
        before = copy.deepcopy(model.guests)
        predicted = Run(model, wish)
        assert model.guests == before
        assert not model.writes

        run = Run(model, wish)
        assert run.changes == predicted.changes
        run.apply()
        assert bool(model.writes) == bool(run.changes)
        model.writes.clear()

        again = Run(model, wish)
        assert again.changes == []
        again.apply()
        assert not model.writes
        check_state(model, wish, run)


def check_state(model: Model, wish: dict[str, t.Any], run: Run) -> None:
    """The predicted end is the state that is there; spelled out for what people look at."""
    state = wish.get("state", "started")
    if state == "absent":
        assert 310 not in model.guests
        return
    guest = model.guests[310]
    if state != "present":
        assert guest.running == (state == "started")
    effective = guest.effective()
    for change in run.changes:
        for key in ("memory", "swap", "cores", "onboot", "features", "dev0"):
            if change["action"] in ("create", "update") and key in change.get("after", {}):
                assert str(effective[key]) == str(change["after"][key])
            elif change["action"] == "update" and key in change.get("before", {}):
                assert key not in effective
    if guest.running:
        assert sorted(guest.pending) == sorted(run.planned.pending.get(310, ()))
    assert "hwaddr=" in effective.get("net0", "hwaddr=")


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_macs_are_kept_whatever_changes(data: st.DataObject) -> None:
    model = prepared()
    cards = st.lists(networks, min_size=1, max_size=1)
    first, second = data.draw(cards), data.draw(cards)
    wish = {**GOLDEN, "vmid": 310, "hostname": "traefik"}
    Run(model, {**wish, "networks": first}).apply()
    mac = model.guests[310].config["net0"].partition("hwaddr=")[2][:17]
    Run(model, {**wish, "networks": second, "memory": 1024}).apply()
    assert f"hwaddr={mac}" in model.guests[310].config["net0"]


without_binds = (from_template | from_golden).filter(
    lambda wish: all("source" not in mount and mount.get("state") != "absent" for mount in wish.get("mounts") or ())
)


@settings(max_examples=30, deadline=None)
@given(without_binds, st.sampled_from(["stopped", "present"]), st.sampled_from([512, 2048]))
def test_any_container_becomes_a_template_and_stays_one(wish: dict[str, t.Any], state: str, memory: int) -> None:
    model = prepared()
    Run(model, wish).apply()
    template = {**wish, "state": state, "template": True}
    for wanted_ in (template, {key: value for key, value in {**template, "memory": memory}.items() if key != "unset"}):
        before = copy.deepcopy(model.guests)
        predicted = Run(model, wanted_)
        assert model.guests == before
        run = Run(model, wanted_)
        assert run.changes == predicted.changes
        run.apply()
        guest = model.guests[310]
        assert guest.config["template"] == 1 and not guest.running
        assert Run(model, wanted_).changes == []
    copied = {
        "vmid": 311, "hostname": "copy", "node": "pve1", "state": "stopped", "template": True,
        "clone": {"vmid": 310, "full": True},
    }  # fmt: skip
    Run(model, copied).apply()
    assert model.guests[311].config["template"] == 1
    assert Run(model, copied).changes == []
