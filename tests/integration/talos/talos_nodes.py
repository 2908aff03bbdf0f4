# SPDX-License-Identifier: GPL-3.0-or-later
"""The Talos nodes that ``test_talos_nodes.py`` is about: played ones, or those of one's own (``README.md``)."""

from __future__ import annotations

import dataclasses
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


@dataclasses.dataclass
class Nodes:
    """``described`` are nodes as modules take them, control planes first; ``connection`` says who asks.

    ``cluster`` are the options of ``talos_config``, or nothing for a cluster that somebody else has made: then its
    configs are not ours to change.
    """

    path: pathlib.Path
    described: list[Json]
    connection: Json
    cluster: Json = dataclasses.field(default_factory=dict)
    warned: list[str] = dataclasses.field(default_factory=list)
    played: PlayedLab | None = None

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
        assert not result.get("failed"), result
        return result

    def ours(self) -> Json:
        """Skips the test when the configs of the cluster are not known."""
        if not self.cluster:
            pytest.skip("the cluster's configs were made by somebody else; give nodes in maintenance mode instead")
        return self.cluster


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
    if environment.get("TALOSCONFIG"):
        asked = Nodes(path, [], {"talosconfig": environment["TALOSCONFIG"]})
        found = asked.made("info", nodes=addresses, facts=["hostname", "type"], on_error="fail")["nodes"]
        named = [{"name": one["hostname"], "address": one["address"], "type": one["type"]} for one in found]
        asked.described = sorted(named, key=lambda one: str(one["type"]))
        return asked
    state = pathlib.Path(environment.get("TALOS_STATE") or ROOT / ".cache" / "talos-nodes")
    number = int(environment.get("TALOS_CONTROL_PLANES", "1"))
    described = [
        {
            "name": f"{'cp' if index <= number else 'w'}{index}",
            "address": address,
            "type": "controlplane" if index <= number else "worker",
        }
        for index, address in enumerate(addresses, 1)
    ]
    versions = {
        option: environment[name]
        for option, name in (("talos_version", "TALOS_VERSION"), ("kubernetes_version", "TALOS_KUBERNETES"))
        if environment.get(name)
    }
    cluster = {"name": "groundwork-test", "endpoint": f"https://{addresses[0]}:6443", "cni": "none", **versions}
    patches = [pathlib.Path(environment["TALOS_PATCH"]).read_text()] if environment.get("TALOS_PATCH") else []
    given = {"cluster": cluster, "nodes": described, "patches": patches}
    return stood_up(Nodes(path, described, {"secrets_path": str(state / "secrets.yaml")}, given))


def stood_up(nodes: Nodes) -> Nodes:
    """From maintenance mode, or as far as it has come. Pods have no network, so nodes do not become ready."""
    first = nodes.control_planes[0]
    nodes.made("secrets")
    nodes.made("apply_config", **nodes.cluster)
    bootstrap = {
        "node": first,
        "control_planes": nodes.control_planes,
        "cluster_name": nodes.cluster["cluster"]["name"],
    }
    nodes.made("bootstrap", **bootstrap)
    nodes.made("health", nodes=nodes.described, node_ready=False)
    return nodes


def loaded(path: pathlib.Path) -> t.Any:
    assert path.stat().st_mode & 0o777 == 0o600, path
    return yaml.safe_load(path.read_text())
