# SPDX-License-Identifier: GPL-3.0-or-later
"""Talos's machinery judges the files that people share between tools: secrets bundles and talosconfigs, either way, and
JSON patches, which it refuses.
"""

from __future__ import annotations

import copy
import json
import pathlib
import random
import sys
import typing as t

import pytest
import yaml

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import config_damage
from machinery_cases import CONTRACTS, TYPES, Json, cluster, cluster_of, judged
from oracle import Oracle

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import InvalidInput
from ansible_collections.groundwork.homelab.plugins.module_utils.talos import (
    documents,
    merge,
    pki,
    secrets_bundle,
    talosconfig,
)

BUNDLES, DAMAGED, CONFIGS, PATCHES = 12, 200, 150, 200
#: What Talos takes of a bundle and the collection does not: a part of the message -> why.
STRICTER = {
    "is not 32 bytes in base64": "another length is no key of the cipher, or no identity of a cluster",
    "token of the form 6.16": "kubeadm refuses another form of a token",
    "does not belong to": "a certificate with another one's key signs nothing that is valid",
    "is not a certificate and a key": "the machinery does not read the key",
    "is not a private key": "the machinery does not read the key",
    "needs crt and key": "the machinery does not read the key",
}


@pytest.fixture(scope="module")
def bundle() -> secrets_bundle.Bundle:
    return secrets_bundle.generate()


def problem_of(data: t.Any) -> str:
    try:
        secrets_bundle.checked(data, "It")
    except InvalidInput as error:
        return error.message
    return ""


def test_bundles_are_the_same_file_for_both(machinery: Oracle) -> None:
    wrong = {}
    for number in range(BUNDLES):
        ours = secrets_bundle.dump(secrets_bundle.generate())
        answer = machinery.ask(op="bundle", secrets=ours)
        if answer.get("secrets") != ours:
            wrong[number] = ("ours", answer, ours)
    for number in range(BUNDLES, 2 * BUNDLES):
        theirs = machinery.ask(op="secrets", input={"contract": CONTRACTS[number % 2]})["secrets"]
        data = yaml.safe_load(theirs)
        if problem_of(data) or secrets_bundle.dump(secrets_bundle.Bundle(data)) != theirs:
            wrong[number] = ("theirs", theirs, problem_of(data))
    judged("talos-bundles", "secrets bundles, byte for byte", 2 * BUNDLES, wrong)


def damaged(chance: random.Random, data: Json) -> t.Any:
    data = copy.deepcopy(data)
    for _ in range(chance.randint(1, 2)):
        places = list(config_damage.paths(data))
        path = chance.choice(places)
        parent = data
        for key in path[:-1]:
            parent = parent[key]
        change = chance.choice(["missing", "empty", "other", "cut"])
        if change == "missing":
            del parent[path[-1]]
        elif change == "cut" and isinstance(parent[path[-1]], str):
            parent[path[-1]] = parent[path[-1]][: chance.randint(1, 40)]
        else:
            parent[path[-1]] = "" if change == "empty" else chance.choice(["x", "aGVsbG8=", {}, None, "!"])
    return data


def test_a_damaged_bundle_is_refused_as_talos_refuses_it(machinery: Oracle, bundle: secrets_bundle.Bundle) -> None:
    wrong, explained = {}, []
    for seed in range(DAMAGED):
        data = damaged(random.Random(seed), dict(bundle.data))
        theirs = machinery.ask(op="bundle", secrets=yaml.safe_dump(data, sort_keys=False)).get("error", "")
        ours = problem_of(data)
        reason = next((why for part, why in STRICTER.items() if part in ours), "")
        if (theirs and not ours) or (ours and not theirs and not reason):
            wrong[seed] = ("a damaged bundle", theirs, ours)
        elif ours and not theirs:
            explained.append((f"case {seed}", reason))
    judged("talos-bundle-verdicts", "damaged secrets bundles", DAMAGED, wrong, explained)


def test_talosconfigs_are_the_same_file_for_both(machinery: Oracle, bundle: secrets_bundle.Bundle) -> None:
    wrong = {}
    for seed in range(CONFIGS):
        chance = random.Random(seed)
        name = chance.choice(["homelab", "a-b", "x y", "1e3", "007", "ä", "yes", "true", "a: b"])
        endpoints = chance.sample(["10.0.0.1", "a.example.org", "fd00::5", "10.0.0.2", "1"], chance.randint(0, 4))
        if chance.random() < 0.5:
            client = pki.client_certificate(bundle.authority("os"), ["os:admin"])
            context = talosconfig.Context(name, tuple(endpoints), bundle.authority("os").crt, client)
            ours = talosconfig.render(context)
            theirs = machinery.ask(op="clientconfig", config=ours).get("config")
        else:
            wanted = {"cluster": name, "endpoint": "https://a:6443", "kubernetes": "1.36.3", "endpoints": endpoints}
            question = {"op": "talosconfig", "secrets": secrets_bundle.dump(bundle)}
            theirs = machinery.ask(**question, input={**wanted, "contract": chance.choice(CONTRACTS)})["config"]
            read = talosconfig.parse(theirs, "it")
            valid = pki.issued_by(read.client.crt, bundle.authority("os").crt) and read.name == name
            ours = talosconfig.render(read) if valid and pki.roles(read.client.crt) == ["os:admin"] else "not read"
        if theirs != ours:
            wrong[seed] = (name, theirs, ours)
    judged("talos-talosconfig", "talosconfigs, byte for byte", CONFIGS, wrong)


_PATHS = (
    "/machine/type",
    "/machine/network/hostname",
    "/cluster/network/podSubnets/-",
    "/notThere/x",
    "/machine/certSANs/0",
)


def json_patch(chance: random.Random) -> list[Json]:
    def operation() -> Json:
        op = chance.choice(["add", "replace", "remove", "test", "move", "copy"])
        value: Json = (
            {"from": chance.choice(_PATHS)} if op in ("move", "copy") else {"value": chance.choice(["x", 1, ["a"], {}])}
        )
        return {"op": op, "path": chance.choice(_PATHS), **({} if op == "remove" else value)}

    return [operation() for _ in range(chance.randint(1, 3))]


def test_json_patches_are_refused_as_talos_refuses_them(machinery: Oracle, bundle: secrets_bundle.Bundle) -> None:
    wrong = {}
    for seed in range(PATCHES):
        chance = random.Random(seed)
        config = documents.generated(bundle, cluster(cluster_of(chance)), chance.choice(TYPES))
        patch = json_patch(chance)
        text = json.dumps(patch) if chance.random() < 0.5 else yaml.safe_dump(patch)
        theirs = machinery.ask(op="patch", config=documents.render(config), patches=[text]).get("error", "")
        try:
            ours = str(merge.patches_from([chance.choice([text, patch])], "patches"))
        except InvalidInput as error:
            ours = f"{error.message} {error.hint}"
        if not theirs or "JSON patch" not in ours or "several documents" not in ours:
            wrong[seed] = (patch, theirs, ours)
    judged("talos-json-patches", "JSON patches, all refused", PATCHES, wrong)
