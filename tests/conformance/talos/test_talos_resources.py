# SPDX-License-Identifier: GPL-3.0-or-later
"""Talos's own Go types judge what the played node tells as COSI resources: each spec is read as its type, no field is
unknown to that, none is missing or looks otherwise when the type writes it again; where there is one in protobuf, it is
byte for byte the type's."""

from __future__ import annotations

import base64
import collections.abc as c
import pathlib
import sys
import typing as t

import pytest
import yaml

HERE = pathlib.Path(__file__).parent
TESTS = HERE.parents[1]
sys.path[:0] = [str(HERE), str(HERE.parent), str(TESTS / "simulator" / "talos"), str(TESTS / "integration" / "talos")]

from machinery_cases import differences, judged
from oracle import Oracle
from talos_lab import PlayedLab, running_loop
from test_talos_life import build

from ansible_collections.groundwork.homelab.plugins.module_utils import private_files
from ansible_collections.groundwork.homelab.plugins.module_utils.talos import secrets_bundle
from simlab.talos.resources import Resource

#: Types that are no plain records, each with its reason.
OTHERS = {
    "MachineConfigs.config.talos.dev": "its spec is the config's text",
    "MachineTypes.config.talos.dev": "it writes its YAML, one word, and reads none",
    "Manifests.kubernetes.talos.dev": "its spec is a list of Kubernetes objects",
    "StaticPodStatuses.kubernetes.talos.dev": "it writes the status alone, and reads none",
    "StaticPods.kubernetes.talos.dev": "it writes the pod alone, and reads none",
}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> c.Iterator[list[Resource]]:
    """All resources of a machine in maintenance mode, of a control plane and of a worker."""
    with running_loop() as loop:
        lab = PlayedLab(tmp_path_factory.mktemp("told"), loop, "127.63.7")
        private_files.replace(lab.secrets_path, secrets_bundle.dump(secrets_bundle.generate()))
        lab.power_on("w2")
        build(lab, "cp1", "w1")
        found = [one for node in lab.nodes.values() for one in list(node.runtime.resources._kept.values())]
        yield found
        lab.close()


def test_resources_are_what_their_types_are(machinery: Oracle, told: list[Resource]) -> None:
    wrong: dict[int, tuple[t.Any, t.Any, t.Any]] = {}
    seen: set[tuple[str, tuple[str, ...]]] = set()  # the same twice says nothing more
    asked = [one for one in told if one.type not in OTHERS]
    assert len({one.type for one in asked}) > 15
    for number, one in enumerate(asked):
        answer = machinery.ask(op="resource", type=one.type, config=one.text)
        theirs: t.Any = f"error: {answer['error']}" if answer.get("error") else yaml.safe_load(answer["config"])
        ours = yaml.safe_load(one.text)
        where = tuple(line.partition(":")[0] for line in differences(theirs, ours))
        if where and (one.type, where) not in seen:
            wrong[number] = (f"{one.type} {one.id}", theirs, ours)
        elif one.message and base64.b64decode(answer["proto"]) != one.message:
            wrong[number] = (f"{one.type} {one.id} in protobuf", answer["proto"], base64.b64encode(one.message))
        seen.add((one.type, where))
    explained = [(kind, why) for kind, why in OTHERS.items() if any(one.type == kind for one in told)]
    judged("talos-resources", "COSI resources of the played node", len(asked), wrong, explained)
