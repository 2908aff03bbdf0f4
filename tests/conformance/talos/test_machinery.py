# SPDX-License-Identifier: GPL-3.0-or-later
"""Talos's own machinery judges what we generate and merge, over random input. A failure prints the seed of its case."""

from __future__ import annotations

import pathlib
import random
import sys
import typing as t

import pytest
import yaml

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import document_words
import patch_words
from machinery_cases import TYPES, Json, cluster, cluster_of, judged
from oracle import Oracle

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import InvalidInput
from ansible_collections.groundwork.homelab.plugins.module_utils.talos import documents, identity, merge, secrets_bundle

CASES = 1000
#: What the machinery fails at, and we do as it was meant: text of its error -> why.
MEANT = {
    "InstallDiskSizeMatcher.condition: merge not possible": "two patches that set install.diskSelector.size",
    "RoutingRuleConfigV1Alpha1.RuleSrc": "two patches of one rule that set its networks: the later one counts",
    "RoutingRuleConfigV1Alpha1.RuleDst": "two patches of one rule that set its networks: the later one counts",
    "merge type mismatch": "a free mapping's value of another type than before: the later patch counts",
}
#: The same as yaml.safe_load, eight times as fast.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@pytest.fixture(scope="module")
def bundle() -> secrets_bundle.Bundle:
    return secrets_bundle.generate()


def ask_to_generate(bundle: secrets_bundle.Bundle, options: Json, machine_type: str) -> Json:
    wanted = {
        "cluster": options["name"],
        "endpoint": options["endpoint"],
        "kubernetes": options["kubernetes_version"],
        "contract": options["contract"],
        "install_disk": options["install_disk"],
        "install_image": cluster(options).installer_image,
        "dns_domain": options["dns_domain"],
        "sans": options["cert_sans"],
        "scheduling": options["allow_scheduling_on_control_planes"],
        "cni": "none" if options["cni"] == "none" else "",
        "pods": options["pod_subnets"],
        "services": options["service_subnets"],
    }
    return {"op": "generate", "secrets": secrets_bundle.dump(bundle), "type": machine_type, "input": wanted}


def parsed(answer: Json) -> t.Any:
    """Documents, or the error."""
    if answer.get("error"):
        return f"error: {answer['error']}"
    return [document for document in yaml.load_all(answer["config"], LOADER) if document is not None]


def generated_by(machinery: Oracle, bundle: secrets_bundle.Bundle, options: Json, machine_type: str) -> Json:
    """Talos's generator knows no inline manifests: they are a patch of control planes."""
    answer = machinery.ask(**ask_to_generate(bundle, options, machine_type))
    manifests = options["inline_manifests"]
    if answer.get("error") or not manifests or machine_type == "worker":
        return answer
    patch = documents.render([{"cluster": {"inlineManifests": manifests}}])
    return machinery.ask(op="patch", config=answer["config"], patches=[patch])


def test_what_is_generated_is_what_talosctl_generates(machinery: Oracle, bundle: secrets_bundle.Bundle) -> None:
    wrong = {}
    for seed in range(CASES // 2):
        chance = random.Random(seed)
        options, machine_type = cluster_of(chance), chance.choice(TYPES)
        ours = documents.render(documents.generated(bundle, cluster(options), machine_type))
        theirs = parsed(generated_by(machinery, bundle, options, machine_type))
        same = parsed(machinery.ask(op="decode", config=ours))
        if same != theirs:
            wrong[seed] = (options, theirs, same)
    judged("talos-generate", "configs generated for contracts 1.12 and 1.13", CASES // 2, wrong)


def test_what_is_merged_is_what_the_machinery_merges(machinery: Oracle, bundle: secrets_bundle.Bundle) -> None:
    wrong, explained = {}, []
    for seed in range(CASES):
        chance = random.Random(seed)
        options, machine_type = cluster_of(chance), chance.choice(TYPES)
        config = documents.generated(bundle, cluster(options), machine_type)
        patches = [patch_of(chance, machine_type, config) for _ in range(chance.randint(1, 4))]
        if chance.random() < 0.3:
            patches += document_words.patches(chance, chance.randint(2, 4))
        texts = in_texts(chance, patches)
        theirs = without_marks(parsed(machinery.ask(op="patch", config=documents.render(config), patches=texts)))
        ours = merged(machinery, config, patches)
        meant = next((why for what, why in MEANT.items() if isinstance(theirs, str) and what in theirs), "")
        if meant and not isinstance(ours, str):
            explained.append((f"case {seed}", meant))
        elif theirs != ours and not (isinstance(theirs, str) and isinstance(ours, str)):
            wrong[seed] = (patches, theirs, ours)
    judged("talos-merge", "strategic merge patches", CASES, wrong, explained)


def in_texts(chance: random.Random, patches: list[Json]) -> list[str]:
    """A patch's text may have several documents, each of its own. In one text, Talos takes each document once."""
    texts: list[list[Json]] = []
    for patch in patches:
        names = {identity.document_id(one) for one in texts[-1]} if texts else set()
        alone = "$patch" in str(patch) or (texts and "$patch" in str(texts[-1]))
        if texts and not alone and identity.document_id(patch) not in names and chance.random() < 0.4:
            texts[-1].append(patch)
        else:
            texts.append([patch])
    return [documents.render(text) for text in texts]


def without_marks(documents: t.Any) -> t.Any:
    """A mark that deletes a document that is not there becomes a document of its own in theirs: ``{}``."""
    return documents if isinstance(documents, str) else [document for document in documents if document != {}]


def patch_of(chance: random.Random, machine_type: str, config: t.Sequence[Json]) -> Json:
    kind = chance.random()
    if kind < 0.2:
        return patch_words.deletion(chance, config)
    return document_words.document_patch(chance) if kind < 0.5 else patch_words.main_patch(chance, machine_type)


def merged(machinery: Oracle, config: list[Json], patches: list[Json]) -> t.Any:
    try:
        result = merge.merged(config, merge.patches_from(patches, "patches"))
    except InvalidInput as error:
        return f"error: {error}"
    return parsed(machinery.ask(op="decode", config=documents.render(result)))
