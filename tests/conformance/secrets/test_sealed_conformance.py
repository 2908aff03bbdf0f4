# SPDX-License-Identifier: GPL-3.0-or-later
"""sealed-secrets: what we seal its code opens, as its controller does; what it seals we open; keys both ways."""

from __future__ import annotations

import base64
import datetime
import json
import os
import pathlib
import random
import sys
import typing as t

import pytest
import yaml

sys.path[:0] = [str(pathlib.Path(__file__).parents[1]), str(pathlib.Path(__file__).parent)]

import judges
from judgement import Judgement
from oracle import Oracle

from ansible_collections.groundwork.homelab.plugins.module_utils.secrets import (
    key_pairs,
    sealed_secrets,
    sealing,
    yaml_text,
)

CASES = 120
NOW = datetime.datetime.now(datetime.timezone.utc)
PAIRS = [key_pairs.generate(f"key-{bits}", "kube-system", bits, 30, NOW) for bits in (2048, 4096)]
ENTRY: dict[str, t.Any] = dict.fromkeys(
    ("name", "namespace", "contents", "definition", "scope", "type", "immutable", "labels", "annotations", "path")
)


def secret(chance: random.Random, number: int) -> dict[str, t.Any]:
    """One entry as the module takes it: values of all kinds and lengths, in any scope."""
    texts = [
        "",
        "a",
        "grüße, 世界 🔑",
        "line\nline\n",
        "\x00\x01",
        "x" * chance.choice([100, 65_536, 240_000 if number % 40 == 0 else 10]),
    ]
    names = chance.sample(["password", "tls.crt", ".dockerconfigjson", "a-b_c", "UPPER", "0"], chance.randint(1, 4))
    kind = chance.choice([None, "Opaque", "kubernetes.io/tls"])
    names = [*dict.fromkeys([*names[:2], "tls.crt", "tls.key"])] if kind == "kubernetes.io/tls" else names
    return ENTRY | {
        "name": chance.choice(["db", "a.b-c", "x" * 63]),
        "namespace": chance.choice(["media", "kube-system"]),
        "scope": chance.choice(sealing.SCOPES),
        "contents": {name: chance.choice(texts) for name in names},
        "type": kind,
        "immutable": chance.choice([None, True, False]),
        "labels": chance.choice([None, {"app": "x"}]),
        "annotations": chance.choice([None, {"note": "grüße"}]),
    }  # fmt: skip


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize("derived", [False, True])
def test_what_we_seal_the_controllers_code_opens(sealed_oracle: Oracle, derived: bool) -> None:
    chance, wrong = random.Random(11 + derived), []
    for number in range(CASES):
        given, pair = secret(chance, number), chance.choice(PAIRS)
        wanted = sealed_secrets.wanted(given, "secret")
        means = sealed_secrets.Means(pair.certificate, os.urandom(32) if derived else b"")
        text = yaml_text.text_of([sealed_secrets.document(wanted, means, None)])
        document = json.dumps(yaml.safe_load(text))
        keys = [one.private_pem for one in PAIRS]
        said = sealed_oracle.ask(op="unseal", data=encoded(document), keys=keys)
        if said.get("error"):
            wrong.append(f"{number}: {said['error']}")
            continue
        opened = json.loads(base64.b64decode(said["data"]))
        values = {name: base64.b64decode(text or "") for name, text in opened["data"].items()}
        same = values == dict(wanted.contents) and opened.get("type") == given["type"]
        same = (
            same
            and opened["metadata"].get("labels") == given["labels"]
            and opened.get("immutable") == given["immutable"]
        )
        if not same:
            wrong.append(f"{number}: the Secret is another one")
        elsewhere = yaml.safe_load(text)
        elsewhere["metadata"]["name"] = "elsewhere"
        refused = "error" in sealed_oracle.ask(op="unseal", data=encoded(json.dumps(elsewhere)), keys=keys)
        if refused != (given["scope"] == sealing.STRICT):
            wrong.append(f"{number}: under another name it should {'not ' * refused}open in the scope {given['scope']}")
    _judged("derived" if derived else "random", CASES, wrong)


def test_what_kubeseal_seals_we_open_and_keep(sealed_oracle: Oracle) -> None:
    chance, wrong = random.Random(13), []
    for number in range(CASES):
        given, pair = secret(chance, number), chance.choice(PAIRS)
        wanted = sealed_secrets.wanted(given, "secret")
        scope = sealed_secrets.document(wanted, sealed_secrets.Means(pair.certificate), None)["metadata"]
        plain = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": scope,
            "stringData": given["contents"],
        }
        made = sealed_oracle.ask(op="seal", plain=encoded(json.dumps(plain)), certificate=encoded(pair.certificate_pem))
        document = {
            "apiVersion": "bitnami.com/v1alpha1",
            "kind": "SealedSecret",
            **json.loads(base64.b64decode(made["data"])),
        }
        names = sealed_secrets.check(document, PAIRS, "file")
        target = sealed_secrets.target_of(document)
        texts = document["spec"]["encryptedData"]
        values = {name: sealing.unseal(texts[name], target, [pair.key]) for name in names}
        kept = sealed_secrets.document(wanted, sealed_secrets.Means(pair.certificate, b"", PAIRS), document)
        if target != wanted.target or values != dict(wanted.contents) or kept["spec"]["encryptedData"] != texts:
            wrong.append(str(number))
    _judged("kubeseal", CASES, wrong)


def test_keys_that_the_controller_made_are_read_and_certificates_of_ours_are_sealed_for(
    sealed_oracle: Oracle, tmp_path: pathlib.Path
) -> None:
    for number in range(3):
        made = sealed_oracle.ask(op="key-pair")
        pieces = {name: base64.b64decode(data).decode() for name, data in made["files"].items()}
        path = tmp_path / f"{number}.pem"
        path.write_text(pieces["tls.key"] + pieces["tls.crt"])
        path.chmod(0o600)
        (pair,) = key_pairs.load(path, [])
        assert pair.fingerprint == pair.certificate.fingerprint == made["text"]
        target = sealing.Target("media", "db")
        assert sealing.unseal(sealing.seal(b"x", target, pair.certificate), target, [pair.key]) == b"x"


def _judged(name: str, cases: int, wrong: list[str]) -> None:
    Judgement(
        f"sealed-secrets-{name}",
        "sealed-secrets",
        judges.SEALED_VERSION,
        "sealing and opening, all scopes",
        cases,
        unexplained=wrong,
    ).write()
    assert not wrong, "\n".join(wrong)
