# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a task's parameters to the configs that the nodes shall have."""

from __future__ import annotations

import dataclasses

from ..task import Task
from ..waiting import Deadline
from . import apply, compare, credentials, documents, inputs, right_machine, secrets_bundle, validate
from .node import Connector


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What a task wants of a cluster."""

    cluster: inputs.Cluster
    configs: list[apply.Desired]
    bundle: secrets_bundle.Bundle
    discretion: compare.Discretion


def from_task(task: Task) -> Wanted:
    """Check the input, render every node's config and check that too. Nothing is written and nobody is called."""
    cluster = inputs.cluster_from(task.params)
    nodes = inputs.nodes_from(task.params["nodes"])
    bundle = _bundle(task)
    discretion = compare.Discretion(frozenset(bundle.secret_values()))
    configs = []
    for node in nodes:
        config = documents.node_config(bundle, cluster, node)
        task.secret(*discretion.secrets_in(config))
        validate.config(config, node=node.name, machine_type=node.type, talos=cluster.talos)
        configs.append(apply.Desired(node, config))
    everything = [document for one in configs for document in one.documents]
    for node in nodes:
        right_machine.require_own_address(node, everything)
    return Wanted(cluster, configs, bundle, discretion)


def rollout(task: Task, wanted: Wanted) -> apply.Rollout:
    seconds = inputs.positive(task.params["wait_timeout"], "wait_timeout")
    timeout = inputs.positive(task.params["timeout"], "timeout")
    return apply.Rollout(
        Connector(credentials.from_bundle(wanted.bundle), timeout),
        task.params["mode"],
        wanted.discretion,
        Deadline(seconds),
        progress=task.progress,
        warn=task.warn,
    )


def _bundle(task: Task) -> secrets_bundle.Bundle:
    """The cluster's bundle. In check mode, when an earlier task would have made it, one that nobody keeps."""
    path = credentials.required_bundle_path(task.params)
    if task.check_mode and not path.exists():
        bundle = secrets_bundle.generate()
        credentials.keep_secret(bundle, task)
        return bundle
    return credentials.load_bundle(path, task)
