# SPDX-License-Identifier: GPL-3.0-or-later
"""Talos's machinery judges our judgements of configs with random damage: the played node says the same in the same
words; the collection refuses whatever Talos refuses, and names the place.
"""

from __future__ import annotations

import pathlib
import random
import sys

import pytest

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import config_damage
import patch_words
from machinery_cases import TYPES, Json, cluster, cluster_of, judged
from oracle import Oracle

from ansible_collections.groundwork.homelab.plugins.module_utils.talos import (
    documents,
    merge,
    secrets_bundle,
    validate,
    versions,
)
from simlab.talos import documents as node_documents
from simlab.talos import validation
from simlab.talos.versions import Version

CASES = 500
TALOS = "v1.13.9"
MODES = ("metal", "cloud", "container")
#: Where the collection is stricter than Talos: a part of its message -> why.
STRICTER = {
    "machine.token is missing": "a node without it cannot join",
    "cluster.token is missing": "a node without it cannot join",
    "cluster.ca.": "Kubernetes would have no authority",
    "cluster.secretboxEncryptionSecret is missing": "Secrets would lie in etcd in the clear",
    "cluster.serviceAccount.key": "no service account could log in",
    "cluster.aggregatorCA": "the API server would not start",
    "cluster.etcd.ca": "etcd would not start",
    "cluster.id is missing": "discovery would mix clusters up",
    "cluster.secret is missing": "discovery would mix clusters up",
    "machine.ca.": "a node whose authority is no certificate locks its owner out",
    "Subnets[": "pods or services would have no network",
    "cluster.network.cni": "checked on workers, too: their config says it as the control plane's does",
    "cluster.discovery": "the same with a URL that has no host, or another scheme",
    "nameservers[": "the node would not resolve names",
    "version is not v1alpha1": "Talos takes any version",
    "machine.type": "the config must be that of the node's own kind",
    "HostnameConfig: hostname": "no host name by DNS's rules",
    "and not text": "a true or false, where Talos wants a word, is mostly forgotten quotes",
    "and not true or false": "YAML 1.1 would read another value than 1.2",
    "cluster.controlPlane.endpoint": "clients of Kubernetes need a URL with http or https",
    "dnsDomain": "no DNS name by its rules",
    "does not say its version": "checked on workers, too",
    "machine.install": "the installer's config is checked on virtual machines, too",
    "machine.registries": "a registry whose certificate is not in base64",
    "which Kubernetes does not allow": "the rule of Kubernetes to the letter",
}


@pytest.fixture(scope="module")
def bundle() -> secrets_bundle.Bundle:
    return secrets_bundle.generate()


def case(seed: int, bundle: secrets_bundle.Bundle, most: int) -> tuple[list[Json], str, str, list[tuple[object, ...]]]:
    """A config with some good patches and some damage, its machine type, the mode of the platform, the damaged places."""
    chance = random.Random(seed)
    machine_type = chance.choice(TYPES)
    config = documents.generated(bundle, cluster(cluster_of(chance)), machine_type)
    if most > 1 and chance.random() < 0.3:
        config = merge.merged(config, merge.patches_from([patch_words.main_patch(chance, machine_type)], "patches"))
    places = config_damage.damage(chance, config, most)
    return config, machine_type, chance.choice(MODES), places


def verdict(answer: Json) -> tuple[str, ...]:
    return (str(answer["error"]),) if answer.get("error") else tuple(answer.get("warnings") or ())


def of_the_node(text: str, mode: str) -> tuple[str, ...]:
    try:
        return validation.validate(node_documents.load(text.encode()), Version(TALOS), mode)
    except (node_documents.ConfigError, validation.Invalid) as error:
        return (str(error),)


def test_the_played_node_judges_as_talos_does(machinery: Oracle, bundle: secrets_bundle.Bundle) -> None:
    wrong = {}
    for seed in range(CASES):
        config, _type, mode, _places = case(seed, bundle, 3)
        text = documents.render(config)
        theirs, ours = verdict(machinery.ask(op="validate", config=text, mode=mode)), of_the_node(text, mode)
        if theirs != ours:
            wrong[seed] = (mode, theirs, ours)
    judged("talos-node-verdicts", "the played node's verdicts and messages on damaged configs", CASES, wrong)


def test_the_collection_refuses_what_talos_refuses(machinery: Oracle, bundle: secrets_bundle.Bundle) -> None:
    wrong, explained = {}, []
    for seed in range(CASES):
        config, machine_type, _mode, places = case(seed, bundle, 1)
        answer = machinery.ask(op="validate", config=documents.render(config), mode="metal")
        ours = list(validate.problems(config, machine_type=machine_type, talos=versions.parse(TALOS, "talos")))
        if answer.get("error"):
            if not any(named(place, ours) for place in places):
                wrong[seed] = (places, answer["error"], ours)
        elif ours:
            unexplained = [problem for problem in ours if not any(part in problem for part in STRICTER)]
            if unexplained:
                wrong[seed] = (places, "accepted", unexplained)
            explained += [(f"case {seed}", why) for part, why in STRICTER.items() if part in ours[0]][:1]
    judged("talos-verdicts", "the collection's verdicts on damaged configs", CASES, wrong, explained)


def named(place: tuple[object, ...], problems: list[str]) -> bool:
    """Whether a problem names the damaged place, or the one that it stands in."""
    if place[-1] in ("kind", "apiVersion"):
        return bool(problems)  # what it is then is another document
    keys = [str(key) for key in place if isinstance(key, str)][-2:]
    return any(key in problem for key in keys for problem in problems)
