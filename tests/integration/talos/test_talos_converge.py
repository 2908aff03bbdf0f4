# SPDX-License-Identifier: GPL-3.0-or-later
"""From any state that there was to any that is wanted: what check mode predicts is what is then made, check mode writes
nothing, and a second run finds nothing left to do."""

from __future__ import annotations

import asyncio
import base64
import collections.abc as c
import dataclasses
import datetime as dt
import os
import pathlib
import typing as t

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from talos_lab import PlayedLab, running_loop
from talos_quorum_lab import Membership, share
from test_talos_life import build

from ansible_collections.groundwork.homelab.plugins.module_utils import private_files
from ansible_collections.groundwork.homelab.plugins.module_utils.talos import kubeconfig, pki, secrets_bundle

Json = dict[str, t.Any]
DAY = dt.timedelta(days=1)


def converge(lab: PlayedLab, module: str, params: Json, *files: pathlib.Path) -> list[Json]:
    """The changes: predicted, made, and none left in a second run. What is compared are writes to nodes, and files."""
    before = _state(lab, files)
    predicted = lab.run(module, check=True, **params)
    assert not predicted.get("failed"), predicted
    assert _state(lab, files) == before
    made = lab.run(module, **params)
    assert not made.get("failed"), made
    assert made["changes"] == predicted["changes"] and made.get("diff") == predicted.get("diff")
    assert (_state(lab, files) != before) == bool(made["changes"]) == made["changed"]
    after = _state(lab, files)
    again = lab.run(module, **params)
    assert not again.get("failed") and again["changes"] == [] and _state(lab, files) == after, again
    return t.cast("list[Json]", made["changes"])


def _state(lab: PlayedLab, files: t.Iterable[pathlib.Path]) -> tuple[t.Any, ...]:
    there = [(file, file.read_bytes(), file.stat().st_mode, file.stat().st_ino) for file in files if file.exists()]
    return lab.writes(), there


@pytest.fixture(scope="module")
def loop_of_all() -> c.Iterator[asyncio.AbstractEventLoop]:
    with running_loop() as made:
        yield made


def played(path: pathlib.Path, loop: asyncio.AbstractEventLoop, secrets: str, net: int) -> PlayedLab:
    lab = PlayedLab(path, loop, f"127.{64 + os.getpid() % 128}.{net}")
    private_files.replace(lab.secrets_path, secrets)
    return lab


@pytest.fixture(scope="module")
def stands(
    tmp_path_factory: pytest.TempPathFactory, loop_of_all: asyncio.AbstractEventLoop, secrets_text: str
) -> c.Iterator[PlayedLab]:
    """A cluster of one control plane, for all examples."""
    lab = played(tmp_path_factory.mktemp("stands"), loop_of_all, secrets_text, 252)
    build(lab, "cp1")
    yield lab
    lab.close()


# -- machine configs

#: Fields that a node takes without a reboot, as a patch has them.
FIELDS: dict[str, st.SearchStrategy[t.Any]] = {
    "sysctls": st.dictionaries(st.sampled_from(["vm.nr_hugepages", "vm.swappiness"]), st.sampled_from(["1", "8"])),
    "nodeLabels": st.dictionaries(st.sampled_from(["example.com/rack", "zone"]), st.sampled_from(["a", "1", ""])),
    "nodeAnnotations": st.dictionaries(st.just("example.com/note"), st.sampled_from(["a: b", "# no comment"])),
    "time": st.fixed_dictionaries({"servers": st.lists(st.sampled_from(["192.0.2.1", "192.0.2.2"]), unique=True)}),
    "kubelet": st.fixed_dictionaries({"extraArgs": st.dictionaries(st.just("v"), st.sampled_from(["1", "2"]))}),
}
PATCH = st.fixed_dictionaries({}, optional=FIELDS).map(lambda machine: {"machine": machine} if machine else {})


@settings(max_examples=6, deadline=None)
@given(current=PATCH, desired=PATCH, mode=st.sampled_from(["auto", "no_reboot"]))
def test_a_config_becomes_what_is_wanted(stands: PlayedLab, current: Json, desired: Json, mode: str) -> None:
    def wanted(patch: Json) -> Json:
        return stands.cluster("cp1", patches=[patch] if patch else [], mode=mode)

    assert not stands.run("apply_config", **wanted(current)).get("failed")
    changes = converge(stands, "apply_config", wanted(desired))
    assert {change["action"] for change in changes} <= {"update"} and not [one for one in changes if "note" in one]
    if current == desired:
        assert changes == []
    config = stands.nodes["cp1"].runtime.config
    for name, value in desired.get("machine", {}).items():
        assert _within(value, config.get(f"machine.{name}")), (name, config.get(f"machine.{name}"))


def _within(part: t.Any, whole: t.Any) -> bool:
    if isinstance(part, dict):
        return all(_within(value, (whole or {}).get(key)) for key, value in part.items())
    return part == whole or (not part and not whole)


# -- kubeconfig


def _other(text: str, change: t.Callable[[Json, Json], object]) -> str:
    data = yaml.safe_load(text)
    change(data["clusters"][0]["cluster"], data["users"][0]["user"])
    return yaml.safe_dump(data)


def _signed(secrets: str, left: dt.timedelta) -> Json:
    """For a year, of which so much is left."""
    authority = (
        secrets_bundle.Bundle(yaml.safe_load(secrets)).authority("k8s") if secrets else pki.new_ca(None, "ecdsa")
    )
    begun = dt.datetime.now(dt.UTC) - (365 * DAY - left)
    pair = pki.client_certificate(authority, ["system:masters"], common_name="admin", lifetime=365 * DAY, now=begun)
    encoded = {"client-certificate-data": pair.crt, "client-key-data": pair.key}
    return {name: base64.b64encode(value).decode() for name, value in encoded.items()}


#: What the file says, by what is done to a good one; and whether it stays.
KUBECONFIGS: dict[str, tuple[t.Callable[[str, str], str | None], bool]] = {
    "absent": (lambda good, _: None, False),
    "good": (lambda good, _: good, True),
    "reformatted": (lambda good, _: f"# mine\n{yaml.safe_dump(yaml.safe_load(good))}", True),
    "empty": (lambda good, _: "", False),
    "nonsense": (lambda good, _: "a: [", False),
    "another server": (lambda good, _: good.replace(":6443", ":7443"), False),
    "another cluster's": (
        lambda good, _: _other(good, lambda cluster, _u: cluster.update({"certificate-authority-data": OTHER_CA})),
        False,
    ),
    "another's certificate": (lambda good, _: _other(good, lambda _c, user: user.update(_signed("", 99 * DAY))), False),
    "it ends soon": (lambda good, ours: _other(good, lambda _c, user: user.update(_signed(ours, 29 * DAY))), False),
    "it ends later": (lambda good, ours: _other(good, lambda _c, user: user.update(_signed(ours, 31 * DAY))), True),
}
OTHER_CA = base64.b64encode(pki.new_ca("kubernetes", "ecdsa").crt).decode()


@settings(max_examples=16, deadline=None)
@given(state=st.sampled_from(sorted(KUBECONFIGS)), mode=st.sampled_from([0o600, 0o644]))
def test_a_kubeconfig_becomes_the_cluster_s(stands: PlayedLab, state: str, mode: int) -> None:
    good = (stands.path / "kubeconfig").read_text()
    path = stands.path / "kept" / "kubeconfig"
    path.unlink(missing_ok=True)
    make, stays = KUBECONFIGS[state]
    text = make(good, stands.secrets_path.read_text())
    if text is not None:
        private_files.replace(path, text)
        path.chmod(mode)
    changes = converge(stands, "kubeconfig", {"node": stands.address("cp1"), "dest": str(path)}, path)
    assert [change["action"] for change in changes] == (
        ["create"] if text is None else [] if stays and mode == 0o600 else ["update"]
    )
    assert path.stat().st_mode & 0o777 == 0o600
    assert (path.read_text() == text) == stays
    assert kubeconfig.staleness(path.read_text(), good) == ""


# -- bootstrap


@dataclasses.dataclass
class Twins:
    """Two control planes with their configs, whose etcd has data on none, or on both when one was bootstrapped."""

    lab: PlayedLab
    members: Membership

    def start(self, bootstrapped: str | None) -> None:
        names = ("cp1", "cp2")
        for name in names:
            self.lab.power_off(name)
            self.lab.nodes[name].storage.wipe("EPHEMERAL")
        self.members.members.clear()
        self.members.running.clear()
        self.lab.power_on(*names)
        self.lab.wait_until_serving(*names)
        if bootstrapped:
            address = self.lab.address(bootstrapped)
            assert self.lab.run("bootstrap", node=address, cluster_name="lab")["changed"]
            for name in names:
                self.lab.wait_for_service(name, "etcd")


@pytest.fixture(scope="module")
def twins(
    tmp_path_factory: pytest.TempPathFactory, loop_of_all: asyncio.AbstractEventLoop, secrets_text: str
) -> c.Iterator[Twins]:
    lab = played(tmp_path_factory.mktemp("twins"), loop_of_all, secrets_text, 253)
    made = Twins(lab, share(lab))
    lab.power_on("cp1", "cp2")
    assert not lab.run("apply_config", **lab.cluster("cp1", "cp2")).get("failed")
    yield made
    lab.close()


@settings(max_examples=6, deadline=None)
@given(
    bootstrapped=st.sampled_from([None, "cp1", "cp2"]),
    node=st.sampled_from(["cp1", "cp2"]),
    others=st.sampled_from([[], ["cp2"], ["cp1", "cp2"]]),
)
def test_etcd_is_begun_once(twins: Twins, bootstrapped: str | None, node: str, others: list[str]) -> None:
    lab = twins.lab
    twins.start(bootstrapped)
    params = {"node": lab.address(node), "control_planes": [lab.address(one) for one in others], "cluster_name": "lab"}
    changes = converge(lab, "bootstrap", params)
    created = {"resource": "etcd/lab", "action": "create", "after": {"first member": lab.address(node)}}
    assert changes == ([] if bootstrapped else [created])
    for one in ("cp1", "cp2"):
        lab.wait_for_service(one, "etcd")
    assert sorted(twins.members.members) == ["cp1", "cp2"]
