# SPDX-License-Identifier: GPL-3.0-or-later
"""sealed_secrets_key: made once, rotated when due, backed up and restored; nothing private in what is said."""

from __future__ import annotations

import base64
import dataclasses
import datetime
import json
import pathlib
import typing as t

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from secrets_room import contents, run

from ansible_collections.groundwork.homelab.plugins.module_utils.secrets import key_pairs, yaml_text
from ansible_collections.groundwork.homelab.plugins.module_utils.sops import age
from ansible_collections.groundwork.homelab.plugins.modules import sealed_secrets_key as module

NOW = datetime.datetime.now(datetime.timezone.utc)
OLD = key_pairs.generate("sealed-secrets-keyab12c", "sealed-secrets", 2048, 3650, NOW - datetime.timedelta(days=40))
SECOND = key_pairs.generate("sealed-secrets-keyde34f", "sealed-secrets", 2048, 3650, NOW - datetime.timedelta(days=10))
OWNER, STRANGER = age.Identity.generate(), age.Identity.generate()


@pytest.fixture
def given(tmp_path: pathlib.Path) -> pathlib.Path:
    """Keys that a controller made, an age key; and the folder that they are in."""
    write(tmp_path / "controller.yaml", yaml_text.text_of([OLD.manifest(), SECOND.manifest()]))
    write(tmp_path / "age.txt", f"# a key\n{OWNER.text}\n")
    return tmp_path


def write(path: pathlib.Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o600)


def params(folder: pathlib.Path, **more: t.Any) -> dict[str, t.Any]:
    return {"path": str(folder / "keys.yaml"), "certificate_file": str(folder / "keys.crt"), "key_size": 2048, **more}


def twice(**options: t.Any) -> dict[str, t.Any]:
    """In check mode, for good, and again: the same changes, then none and nothing written."""
    folder = pathlib.Path(options["path"]).parent
    before = contents(folder)
    planned = run(module, True, **options)
    assert contents(folder) == before
    done = run(module, **options)
    assert not done.get("failed"), done["msg"]
    assert planned["changes"] == done["changes"]
    after = contents(folder)
    again = run(module, **options)
    assert (again["changes"], contents(folder)) == ([], after)
    assert "PRIVATE" not in json.dumps({key: done.get(key) for key in ("changes", "diff", "names")})
    return done


def test_a_key_is_made_once_before_the_controller(tmp_path: pathlib.Path) -> None:
    done = twice(**params(tmp_path))
    assert done["names"] == ["sealed-secrets-key-1"]
    (made,) = yaml.safe_load_all((tmp_path / "keys.yaml").read_text())
    assert made["type"] == "kubernetes.io/tls"
    assert made["metadata"] == {
        "name": "sealed-secrets-key-1",
        "namespace": "kube-system",
        "labels": {key_pairs.LABEL: "active"},
    }
    assert base64.b64decode(made["data"]["tls.crt"]).decode() == (tmp_path / "keys.crt").read_text()
    assert contents(tmp_path)["keys.yaml"][1] == 0o600 and contents(tmp_path)["keys.crt"][1] == 0o644


def test_rotation_keeps_the_old_key_and_puts_the_new_certificate_first(given: pathlib.Path) -> None:
    options = params(given, src=[str(given / "controller.yaml")], namespace="sealed-secrets")
    assert twice(**options)["names"] == [OLD.name, SECOND.name]
    assert not run(module, **options, rotate_after=30)["changed"]
    assert twice(**options, rotate_after=9)["names"] == [OLD.name, SECOND.name, "sealed-secrets-key-1"]
    certificates = (given / "keys.crt").read_text()
    assert certificates.endswith(SECOND.certificate_pem + OLD.certificate_pem)
    assert not certificates.startswith(SECOND.certificate_pem)


def test_backup_and_restore(given: pathlib.Path) -> None:
    backup = params(given, path=str(given / "backup.age"), src=[str(given / "controller.yaml")], generate=False)
    backup["recipients"] = [OWNER.recipient]
    assert len(twice(**backup)["changes"]) == 3
    assert (given / "backup.age").read_text().startswith("-----BEGIN AGE ENCRYPTED FILE-----")
    restore = {"path": str(given / "restored.yaml"), "src": [str(given / "backup.age")], "generate": False}
    assert "Give age_key_file" in run(module, **restore)["msg"]
    twice(**restore, age_key_file=str(given / "age.txt"))
    assert (given / "restored.yaml").read_text() == (given / "controller.yaml").read_text()


def test_a_backup_for_somebody_else_is_known_by_its_certificates(given: pathlib.Path) -> None:
    write(given / "first.yaml", yaml_text.text_of([OLD.manifest()]))
    backup = params(given, path=str(given / "backup.age"), recipients=[STRANGER.recipient], generate=False)
    twice(**backup, src=[str(given / "first.yaml")])
    assert len(twice(**backup, src=[str(given / "controller.yaml")])["changes"]) == 2
    assert "holds keys that src does not" in run(module, **backup, src=[str(given / "first.yaml")])["msg"]
    (given / "keys.crt").unlink()
    assert "cannot be told" in run(module, **backup, src=[str(given / "controller.yaml")])["msg"]


def test_a_plain_file_becomes_an_encrypted_one(given: pathlib.Path) -> None:
    options = params(given, age_key_file=str(given / "age.txt"))
    twice(**options)
    changes = twice(**options, recipients=[OWNER.recipient])["changes"]
    assert [(change["before"], change["after"]) for change in changes] == [({"encrypted": False}, {"encrypted": True})]
    twice(**options)
    assert (given / "keys.yaml").read_text().startswith("---")


WRONG: dict[str, tuple[dict[str, t.Any], str]] = {
    "recipient": ({"recipients": ["age1nonsense"]}, "is not an age recipient"),
    "a private recipient": ({"recipients": [OWNER.text]}, "it is a private key"),
    "size": ({"key_size": 1024}, "key_size is 1024"),
    "days": ({"valid_days": 0}, "valid_days is 0"),
    "rotation": ({"rotate_after": 0}, "rotate_after is 0"),
    "namespace": ({"namespace": ""}, "namespace is empty"),
    "no keys": ({"generate": False}, "There are no keys"),
    "no such file": ({"src": ["missing.yaml"]}, "There is no key file at"),
    "the same file": ({"certificate_file": "same", "path": "same"}, "must be different files"),
    "no age key file": ({"age_key_file": "missing.txt"}, "There is no age key file"),
    "no path": ({"path": None}, "missing required arguments: path"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said_and_nothing_is_written(tmp_path: pathlib.Path, name: str) -> None:
    more, message = WRONG[name]
    done = run(module, **{key: value for key, value in params(tmp_path, **more).items() if value is not None})
    assert done["failed"] and message in done["msg"], done["msg"]
    assert OWNER.text not in done["msg"]
    assert contents(tmp_path) == {}


TEXTS = {
    "kind: Secret": "holds no key of a sealed-secrets controller",
    "kind: [": "is not valid YAML",
    OLD.certificate_pem: "holds 0 private keys",
    OLD.private_pem: "without its certificate",
    OLD.private_pem + SECOND.certificate_pem: "does not belong to the private key",
    OLD.private_pem.replace("MII", "MIX") + OLD.certificate_pem: "cannot be read",
    "kind: Secret\ndata: {tls.key: '!'}": "is not base64",
    "- a": "something else than Kubernetes objects",
}


@pytest.mark.parametrize("text", TEXTS)
def test_files_that_hold_no_keys(tmp_path: pathlib.Path, text: str) -> None:
    write(tmp_path / "src", text)
    done = run(module, **params(tmp_path, src=[str(tmp_path / "src")]))
    assert done["failed"] and TEXTS[text] in done["msg"], done["msg"]
    assert list(contents(tmp_path)) == ["src"]


def test_keys_that_others_can_read(given: pathlib.Path) -> None:
    (given / "controller.yaml").chmod(0o644)
    assert "others than its owner" in run(module, **params(given, src=[str(given / "controller.yaml")]))["msg"]


def labelled(pair: key_pairs.KeyPair, **labels: str) -> dict[str, t.Any]:
    made = pair.manifest()
    made["metadata"]["labels"] = labels
    return made


def states(folder: pathlib.Path) -> dict[str, str]:
    metas = [one["metadata"] for one in yaml.safe_load_all((folder / "keys.yaml").read_text())]
    return {meta["name"]: meta["labels"][key_pairs.LABEL] for meta in metas}


def test_a_compromised_key_stays_so_and_nothing_is_sealed_for_it(tmp_path: pathlib.Path) -> None:
    """A restored file made it active again, and put its certificate first."""
    compromised = labelled(SECOND, **{key_pairs.LABEL: "compromised"})
    write(tmp_path / "src.yaml", yaml_text.text_of([compromised, OLD.manifest()]))
    options = params(tmp_path, src=[str(tmp_path / "src.yaml")], generate=False)
    twice(**options)
    assert states(tmp_path) == {OLD.name: "active", SECOND.name: "compromised"}
    note = f"# {key_pairs.LABEL}: compromised\n"
    assert (tmp_path / "keys.crt").read_text() == OLD.certificate_pem + note + SECOND.certificate_pem
    write(tmp_path / "src.yaml", yaml_text.text_of([SECOND.manifest()]))
    assert not run(module, **options)["changed"], "an older copy does not make it active again"


def test_a_key_that_was_retired_since_is_retired_in_the_file(tmp_path: pathlib.Path) -> None:
    write(tmp_path / "src.yaml", yaml_text.text_of([OLD.manifest(), SECOND.manifest()]))
    options = params(tmp_path, src=[str(tmp_path / "src.yaml")], generate=False)
    twice(**options)
    write(tmp_path / "src.yaml", yaml_text.text_of([labelled(SECOND, **{key_pairs.LABEL: "compromised"})]))
    change, _certificates = twice(**options)["changes"]
    assert (change["before"], change["after"]) == ({"state": "active"}, {"state": "compromised"})
    assert states(tmp_path)[SECOND.name] == "compromised"


@pytest.mark.parametrize("retired", [OLD, SECOND], ids=["the older", "the newest"])
def test_a_key_that_was_retired_since_is_retired_in_a_backup_that_cannot_be_opened(
    given: pathlib.Path, retired: key_pairs.KeyPair
) -> None:
    backup = params(given, path=str(given / "backup.age"), recipients=[STRANGER.recipient], generate=False)
    twice(**backup, src=[str(given / "controller.yaml")])
    state = {OLD.name: "active", SECOND.name: "active", retired.name: "compromised"}
    secrets = [dataclasses.replace(pair, state=state[pair.name]).manifest() for pair in (OLD, SECOND)]
    write(given / "retired.yaml", yaml_text.text_of(secrets))
    changes = twice(**backup, src=[str(given / "retired.yaml")])["changes"]
    assert changes[0]["after"] == {"state": "compromised"}
    write(given / "stranger.txt", STRANGER.text)
    restore = {"path": str(given / "restored.yaml"), "src": [str(given / "backup.age")], "generate": False}
    twice(**restore, age_key_file=str(given / "stranger.txt"))
    restored = yaml.safe_load_all((given / "restored.yaml").read_text())
    assert {one["metadata"]["name"]: one["metadata"]["labels"][key_pairs.LABEL] for one in restored} == state
    # It stays so, whatever another copy of it says.
    assert not run(module, **backup, src=[str(given / "controller.yaml")])["changed"]


def test_without_an_active_key_there_is_a_new_one(tmp_path: pathlib.Path) -> None:
    write(tmp_path / "src.yaml", yaml_text.text_of([labelled(OLD, **{key_pairs.LABEL: "compromised"})]))
    options = params(tmp_path, src=[str(tmp_path / "src.yaml")])
    assert "No key is active" in run(module, **options, generate=False)["msg"]
    assert twice(**options)["names"] == [OLD.name, "sealed-secrets-key-1"]
    assert (tmp_path / "keys.crt").read_text().endswith(OLD.certificate_pem)


def test_other_tls_secrets_beside_the_keys_are_no_keys(tmp_path: pathlib.Path) -> None:
    """As ``kubectl get secret -o yaml`` of a namespace has them; one alone is a key that somebody brings along."""
    write(tmp_path / "src.yaml", yaml_text.text_of([labelled(OLD, app="web"), SECOND.manifest()]))
    options = params(tmp_path, src=[str(tmp_path / "src.yaml")], generate=False)
    assert twice(**options)["names"] == [SECOND.name]
    write(tmp_path / "src.yaml", yaml_text.text_of([labelled(OLD)]))
    assert twice(**options)["names"] == [SECOND.name, OLD.name]


def test_of_several_certificates_the_keys_own_is_sealed_for(tmp_path: pathlib.Path) -> None:
    write(tmp_path / "src.pem", OLD.private_pem + OLD.certificate_pem + SECOND.certificate_pem)
    backup = params(tmp_path, src=[str(tmp_path / "src.pem")], generate=False, recipients=[STRANGER.recipient])
    twice(**backup)
    assert (tmp_path / "keys.crt").read_text() == OLD.certificate_pem


def test_forms_in_which_people_have_their_keys(tmp_path: pathlib.Path) -> None:
    lines, plain, odd = OLD.manifest(), SECOND.manifest(), OLD.manifest()
    lines["data"] = {k: base64.encodebytes(base64.b64decode(text)).decode() for k, text in lines["data"].items()}
    plain["stringData"] = {k: base64.b64decode(text).decode() for k, text in plain.pop("data").items()}
    odd["metadata"] = ["no mapping"]
    texts = [
        yaml_text.text_of([lines]),
        yaml_text.text_of([plain]),
        yaml_text.text_of([odd]),
        "Bag Attributes\n  friendlyName: x\n" + OLD.private_pem + OLD.certificate_pem,
        "\ufeff" + OLD.private_pem + OLD.certificate_pem,
        (OLD.private_pem + OLD.certificate_pem).replace("\n", "\r\n"),
    ]
    for number, text in enumerate(texts):
        write(tmp_path / f"{number}.src", text)
        options = {
            "path": str(tmp_path / f"{number}.yaml"),
            "src": [str(tmp_path / f"{number}.src")],
            "generate": False,
        }
        assert len(twice(**options)["names"]) == 1


def test_a_private_key_with_a_passphrase_is_refused_by_that(tmp_path: pathlib.Path) -> None:
    form = serialization.PrivateFormat.PKCS8
    key = OLD.key.private_bytes(serialization.Encoding.PEM, form, serialization.BestAvailableEncryption(b"words"))
    write(tmp_path / "src.pem", key.decode() + OLD.certificate_pem)
    assert "has a passphrase" in run(module, **params(tmp_path, src=[str(tmp_path / "src.pem")]))["msg"]
