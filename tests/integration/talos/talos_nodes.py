# SPDX-License-Identifier: GPL-3.0-or-later
"""The Talos nodes that ``test_talos_nodes.py`` is about: played ones, or those of one's own (``README.md``)."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import typing as t

import pytest
import talos_etcd_lab
import yaml
from talos_lab import PlayedLab, run_module

Json = dict[str, t.Any]

ROOT = pathlib.Path(__file__).resolve().parents[3]
#: How long one step may take. A control plane of real nodes fetches its images.
PATIENCE = 900
#: Where the secrets of a cluster of one's own machines are kept: nobody else has its keys, so ``make clean`` leaves it.
STATE = ROOT / ".talos-nodes"


@dataclasses.dataclass
class Nodes:
    """``described`` are nodes as modules take them, control planes first; ``connection`` says who asks.

    ``cluster`` are the options of ``talos_config``, or nothing for a cluster that somebody else has made: then its
    configs are not ours to change. ``kind`` says which of them it is and why, for errors.
    """

    path: pathlib.Path
    described: list[Json]
    connection: Json
    cluster: Json = dataclasses.field(default_factory=dict)
    warned: list[str] = dataclasses.field(default_factory=list)
    played: PlayedLab | None = None
    kind: str = "a played cluster"

    @property
    def control_planes(self) -> list[str]:
        return [one["address"] for one in self.described if one["type"] == "controlplane"]

    @property
    def addresses(self) -> list[str]:
        return [one["address"] for one in self.described]

    def run(self, module: str, *, check: bool = False, **params: t.Any) -> Json:
        """The result of a module."""
        given = {**self.connection, "wait_timeout": PATIENCE, **params}
        if module in ("info", "etcd_info", "secrets", "config"):
            del given["wait_timeout"]
        return run_module(module, given, check, True, lambda _said: None, self.warned.append)[0]

    def made(self, module: str, **params: t.Any) -> Json:
        """The same, of a module that does not fail."""
        result = self.run(module, **params)
        assert not result.get("failed"), f"talos_{module} on {self.kind}: {result}"
        return result

    def look(self, *facts: str) -> list[Json]:
        """What all nodes say, in their order."""
        found = self.made("info", nodes=self.addresses, facts=list(facts), on_error="fail")["nodes"]
        return t.cast("list[Json]", found)

    def ours(self) -> Json:
        """Skips the test when the configs of the cluster are not known."""
        if not self.cluster:
            pytest.skip(f"its configs are not known: this is {self.kind}. Give nodes in maintenance mode instead")
        return self.cluster

    def asked_for(self, variable: str) -> None:
        """Skips the test on nodes of one's own, but for those who have asked for it."""
        if self.played is None and os.environ.get(variable) != "1":
            pytest.skip(f"{variable}=1 was not given")


def of_a_lab(lab: PlayedLab) -> Nodes:
    """One control plane, whose etcd gives snapshots of the real form, and one worker."""
    etcd = talos_etcd_lab.Cluster()
    etcd.add("cp1", lab.address("cp1"))
    lab.settings = dataclasses.replace(lab.settings, kubernetes=talos_etcd_lab.kubernetes(etcd))
    lab.power_on("cp1", "w1")
    given = lab.cluster("cp1", "w1")
    return stood_up(Nodes(lab.path, given["nodes"], {"secrets_path": str(lab.secrets_path)}, given, played=lab))


def of_ones_own(environment: t.Mapping[str, str], path: pathlib.Path) -> Nodes:
    """With ``TALOSCONFIG`` a cluster as it is. Without it one of ours, which is made of nodes in maintenance mode, and
    known again by the secrets in ``TALOS_STATE``."""
    addresses = environment["TALOS"].replace(",", " ").split()
    assert addresses, "TALOS names no node"
    if environment.get("TALOSCONFIG"):
        return _as_it_is(addresses, _file(environment["TALOSCONFIG"]), path)
    secrets = _file(environment.get("TALOS_STATE") or str(STATE)) / "secrets.yaml"
    described = _numbered(addresses, int(environment.get("TALOS_CONTROL_PLANES", "1")))
    versions = {
        option: environment[name]
        for option, name in (("talos_version", "TALOS_VERSION"), ("kubernetes_version", "TALOS_KUBERNETES"))
        if environment.get(name)
    }
    cluster = {"name": "groundwork-test", "endpoint": f"https://{addresses[0]}:6443", "cni": "none", **versions}
    patches = [_file(environment["TALOS_PATCH"]).read_text()] if environment.get("TALOS_PATCH") else []
    given = {"cluster": cluster, "nodes": described, "patches": patches}
    made_of = (
        f"the cluster that was made of them with {secrets}" if secrets.exists() else f"{secrets} does not exist yet"
    )
    kind = f"machines in maintenance mode, as no TALOSCONFIG is given ({made_of})"
    return stood_up(Nodes(path, described, {"secrets_path": str(secrets)}, given, kind=kind))


def _file(given: str) -> pathlib.Path:
    """A path as people type it; modules run elsewhere and know no ``~``."""
    return pathlib.Path(given).expanduser().absolute()


def _as_it_is(addresses: t.Sequence[str], config: pathlib.Path, path: pathlib.Path) -> Nodes:
    nodes = Nodes(path, [], {"talosconfig": str(config)}, kind=f"a cluster as it is, as TALOSCONFIG={config} is given")
    found = nodes.made("info", nodes=list(addresses), facts=["hostname", "type"], on_error="fail")["nodes"]
    named = [{"name": one["hostname"], "address": one["address"], "type": one["type"]} for one in found]
    nodes.described = sorted(named, key=lambda one: str(one["type"]))
    return nodes


def _numbered(addresses: t.Sequence[str], control_planes: int) -> list[Json]:
    return [
        {
            "name": f"{'cp' if index <= control_planes else 'w'}{index}",
            "address": address,
            "type": "controlplane" if index <= control_planes else "worker",
        }
        for index, address in enumerate(addresses, 1)
    ]


def stood_up(nodes: Nodes) -> Nodes:
    """From maintenance mode, or as far as it has come. Pods have no network, so nodes do not become ready."""
    nodes.made("secrets")
    nodes.made("apply_config", **nodes.cluster)
    nodes.made("bootstrap", **bootstrap(nodes))
    nodes.made("health", nodes=nodes.described, node_ready=False)
    return nodes


def bootstrap(nodes: Nodes, **more: t.Any) -> Json:
    """The options of ``talos_bootstrap``."""
    controls = nodes.control_planes
    return {"node": controls[0], "control_planes": controls, "cluster_name": nodes.cluster["cluster"]["name"], **more}


def stands(stage: str, unmet: t.Iterable[Json]) -> bool:
    """Whether a node has come up: without a network plugin, Talos waits for its Kubernetes node for ever."""
    return stage == "running" or (stage == "booting" and {one["name"] for one in unmet} == {"nodeReady"})


def loaded(path: pathlib.Path) -> t.Any:
    assert path.stat().st_mode & 0o777 == 0o600, path
    return yaml.safe_load(path.read_text())
