# SPDX-License-Identifier: GPL-3.0-or-later
"""A secrets bundle that is taken over, encrypted at rest, and the certificates that are made of it."""

from __future__ import annotations

import copy
import datetime as dt
import os
import pathlib
import typing as t

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from talos_room import DATA, Outcome, options, run, validated

from ansible_collections.groundwork.homelab.plugins.module_utils import private_files
from ansible_collections.groundwork.homelab.plugins.module_utils.sops import age
from ansible_collections.groundwork.homelab.plugins.module_utils.talos import (
    documents,
    inputs,
    pki,
    secrets_bundle,
    secrets_import,
    talosconfig,
)
from ansible_collections.groundwork.homelab.plugins.module_utils.task import Task
from ansible_collections.groundwork.homelab.plugins.modules import talos_secrets

OURS, OTHER = age.Identity.generate(), age.Identity.generate()


class Room:
    """A folder with a bundle's path and an age key file; the module is run twice each time, first in check mode."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.path = folder / "secrets" / "talos-secrets.yaml"
        self.keys = folder / "age.txt"
        private_files.replace(self.keys, f"{OURS.text}\n")

    def once(self, *, check: bool = False, **params: t.Any) -> Outcome:
        given = {"path": str(self.path), "age_key_file": str(self.keys), **params}
        return run("talos_secrets", {key: value for key, value in given.items() if value is not None}, check=check)

    def run(self, **params: t.Any) -> Outcome:
        """Predicted, made, and made once: the second run changes nothing and writes nothing."""
        before = _files(self.folder)
        predicted = self.once(check=True, **params)
        assert _files(self.folder) == before
        made = self.once(**params)
        assert (made["changes"], made.get("diff")) == (predicted["changes"], predicted.get("diff"))
        if not made.get("failed"):
            after = _files(self.folder)
            again = self.once(**params)
            assert again["changes"] == [] and _files(self.folder) == after
            assert again["certificates"] == made["certificates"]
        return made


def _files(folder: pathlib.Path) -> dict[str, tuple[bytes, int, int]]:
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mode, path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def room(tmp_path: pathlib.Path) -> Room:
    return Room(tmp_path)


def config_of(bundle: secrets_bundle.Bundle, kind: str = "controlplane") -> str:
    cluster = inputs.cluster_from(validated("talos_config", {**options(), "dest": "/nowhere"}))
    return documents.render(documents.generated(bundle, cluster, kind))


# -- taken over --------------------------------------------------------------------------------------------------------


def test_the_bundle_of_a_machine_config_is_that_of_its_cluster(room: Room, bundle: secrets_bundle.Bundle) -> None:
    config = room.folder / "controlplane.yaml"
    private_files.replace(config, config_of(bundle))
    made = room.run(import_from=str(config))
    assert made["changes"][0]["note"] == f"taken over from {config}"
    assert secrets_bundle.load(room.path).data == bundle.data


@pytest.mark.parametrize("version", ["v1.12", "v1.13"])
def test_the_places_are_those_of_a_machine_config_of_talosctl(version: str) -> None:
    """Its secrets are crossed out in the recording."""
    text = (DATA / version / "controlplane.yaml").read_text()
    document = next(one for one in documents.parse(text) if "machine" in one)
    missing = [path for path in secrets_import.PLACES.values() if not secrets_import._at(document, path)]
    assert missing == [("cluster", "aescbcEncryptionSecret")]


def test_a_bundle_of_talosctl_is_taken_over_also_where_it_is_encrypted(
    room: Room, bundle: secrets_bundle.Bundle
) -> None:
    source = room.folder / "secrets.yaml"
    private_files.replace(source, secrets_bundle.dump(bundle))
    room.run(import_from=str(source))
    assert secrets_bundle.load(room.path).data == bundle.data
    room.path.unlink()
    private_files.replace(source, secrets_bundle.encrypted(bundle, [OURS.recipient]))
    room.run(import_from=str(source))
    assert secrets_bundle.load(room.path).data == bundle.data


def test_another_clusters_bundle_is_refused_and_nothing_is_overwritten(
    room: Room, bundle: secrets_bundle.Bundle
) -> None:
    source = room.folder / "secrets.yaml"
    private_files.replace(source, secrets_bundle.dump(bundle))
    room.once()
    before = _files(room.folder)
    failed = room.once(import_from=str(source))
    assert failed["msg"] == (
        f"The secrets bundle {room.path} is not that of {source}. "
        "It is never overwritten. Remove it if its cluster is gone, or give another path."
    )
    assert _files(room.folder) == before


def _config(bundle: secrets_bundle.Bundle, change: t.Callable[[t.Any], object]) -> str:
    found = copy.deepcopy(documents.parse(config_of(bundle)))
    change(next(one for one in found if "machine" in one))
    return documents.render(found)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            lambda bundle: config_of(bundle, "worker"),
            "is that of a worker, which has no keys of authorities. Take that of",
        ),
        (
            lambda bundle: _config(bundle, lambda one: one["machine"].pop("type")),
            "is that of a machine without a type",
        ),
        (
            lambda bundle: _config(bundle, lambda one: one["machine"]["ca"].pop("key")),
            "is not valid: certs.os needs crt and key. Take the config of a control plane node, with its keys.",
        ),
        (
            lambda bundle: _config(bundle, lambda one: one["cluster"].pop("secret")),
            "cluster.secret is not 32 bytes in base64",
        ),
        (lambda _: "- a\n", "is neither a secrets bundle nor a machine config"),
        (lambda _: "a: [\n", "is neither a secrets bundle nor a machine config"),
        (lambda _: "version: v1alpha1\n", "is not valid: cluster.id is not 32 bytes"),
        (lambda _: "", "is not valid: it is not a mapping"),
    ],
)
def test_what_is_no_source_of_a_bundle_is_said(
    room: Room, bundle: secrets_bundle.Bundle, text: t.Callable[[secrets_bundle.Bundle], str], message: str
) -> None:
    source = room.folder / "source.yaml"
    private_files.replace(source, text(bundle))
    failed = room.once(import_from=str(source))
    assert message in failed["msg"] and str(source) in failed["msg"]
    assert not room.path.exists()


def test_a_source_that_others_can_read_is_refused(room: Room, bundle: secrets_bundle.Bundle) -> None:
    source = room.folder / "controlplane.yaml"
    source.write_text(config_of(bundle))
    source.chmod(0o644)
    assert "others than its owner can get at it" in room.once(import_from=str(source))["msg"]


# -- encrypted at rest -------------------------------------------------------------------------------------------------


def test_a_new_bundle_is_encrypted_for_its_recipients(room: Room) -> None:
    made = room.run(recipients=[OTHER.recipient, OURS.recipient])
    text = room.path.read_text()
    assert made["changes"][0]["after"] == {
        "mode": "0600",
        "secrets": "(hidden)",
        "recipients": [OTHER.recipient, OURS.recipient],
    }
    assert made["recipients"] == [OTHER.recipient, OURS.recipient]
    for identity in (OURS, OTHER):
        data = secrets_bundle.load(room.path, lambda one=identity: [one]).data  # type: ignore[misc]
        assert not [value for value in secrets_bundle.Bundle(data).secret_values() if value in text]
    assert room.path.stat().st_mode & 0o777 == 0o600


def test_a_bundle_in_the_clear_is_encrypted_in_place_and_stays_the_same(room: Room) -> None:
    room.once(age_key_file=None)
    before = secrets_bundle.load(room.path)
    made = room.run(recipients=[OURS.recipient])
    assert made["changes"] == [
        {
            "resource": f"talos-secrets/{room.path}",
            "action": "update",
            "before": {"recipients": []},
            "after": {"recipients": [OURS.recipient]},
            "note": "it was in the clear: copies of it still are",
        }
    ]
    assert secrets_bundle.load(room.path, lambda: [OURS]).data == before.data


def test_recipients_come_and_go_and_values_keep_their_texts(room: Room) -> None:
    room.run(recipients=[OURS.recipient])
    before = yaml.safe_load(room.path.read_text())
    made = room.run(recipients=[OTHER.recipient, OURS.recipient])
    after = yaml.safe_load(room.path.read_text())
    assert made["changes"][0]["after"] == {"recipients": [OTHER.recipient, OURS.recipient]}
    assert {key: value for key, value in after.items() if key != "sops"} == {
        key: value for key, value in before.items() if key != "sops"
    }
    assert room.run(recipients=[OURS.recipient])["changed"]
    assert room.run()["recipients"] == [OURS.recipient]


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    current=st.sampled_from([None, [], [OURS.recipient], [OTHER.recipient, OURS.recipient]]),
    desired=st.sampled_from([None, [OURS.recipient], [OURS.recipient, OTHER.recipient]]),
    dest=st.booleans(),
)
def test_the_plan_is_what_is_there_afterwards(
    tmp_path_factory: pytest.TempPathFactory,
    bundle: secrets_bundle.Bundle,
    current: list[str] | None,
    desired: list[str] | None,
    dest: bool,
) -> None:
    room = Room(tmp_path_factory.mktemp("room"))
    if current is not None:
        text = secrets_bundle.encrypted(bundle, current) if current else secrets_bundle.dump(bundle)
        private_files.replace(room.path, text)
    more = {"talosconfig_dest": str(room.folder / "talosconfig"), "cluster_name": "lab"} if dest else {}
    made = room.run(recipients=desired, **more)
    assert not made.get("failed"), made
    stored = secrets_bundle.stored(room.path, lambda: [OURS])
    assert set(stored.recipients) == set(desired if desired is not None else current or [])
    if current is not None:
        assert stored.bundle.data == bundle.data
    assert (room.folder / "talosconfig").exists() == dest


def test_every_module_reads_an_encrypted_bundle(room: Room) -> None:
    room.once(recipients=[OURS.recipient])
    given = {**options(), "secrets_path": str(room.path), "dest": str(room.folder / "configs")}
    made = run("talos_config", {**given, "age_key_file": str(room.keys)})
    assert made["changed"] and not made.get("failed")
    failed = run("talos_config", given)
    assert failed["msg"] == (
        f"The secrets bundle {room.path} is encrypted, and no age identity was given to read it with. "
        "Give age_key_file, or set the environment variable SOPS_AGE_KEY_FILE."
    )


def test_the_environment_names_the_age_key_file(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOPS_AGE_KEY_FILE", str(room.keys))
    assert not room.run(age_key_file=None, recipients=[OURS.recipient]).get("failed")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"recipients": []}, "recipients is empty. Leave it out to keep the bundle as it is."),
        ({"recipients": ["age1nobody"]}, "age1nobody"),
        (
            {"recipients": [OTHER.recipient]},
            f"could not read the bundle. Add {OURS.recipient} to recipients.",
        ),
        (
            {"recipients": [OURS.recipient], "age_key_file": None},
            "None of the recipients is of age_key_file, so the next task could not read the bundle. Give age_key_file.",
        ),
        ({"age_key_file": "/nowhere", "recipients": [OURS.recipient]}, "There is no age key file at /nowhere"),
        ({"talosconfig_dest": "/x"}, "talosconfig_dest needs cluster_name. It is the name of the context."),
        ({"renew_before": 0}, "renew_before is 0. Certificates are made for 365 days."),
        ({"renew_before": 365}, "renew_before is 365."),
        ({"endpoints": ["10.0.0.1:50000"]}, "endpoints[0] is '10.0.0.1:50000', which is neither an IP address"),
        ({"import_from": "/nowhere"}, "There is no secrets bundle or machine config at /nowhere"),
        ({"import_node": "10.0.0.1:50000"}, "import_node is '10.0.0.1:50000', which is neither"),
        ({"import_node": "10.0.0.1"}, "import_node needs talosconfig. It says who asks the node."),
        ({"import_from": "/x", "import_node": "10.0.0.1"}, "mutually exclusive: import_from|import_node"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(
    room: Room, params: dict[str, t.Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TALOSCONFIG", raising=False)
    monkeypatch.delenv("SOPS_AGE_KEY_FILE", raising=False)
    for check in (True, False):
        assert message in room.once(check=check, **params)["msg"]
    assert os.listdir(room.folder) == ["age.txt"]


def test_an_encrypted_bundle_of_somebody_else_is_told_from_a_broken_one(
    room: Room, bundle: secrets_bundle.Bundle
) -> None:
    private_files.replace(room.path, secrets_bundle.encrypted(bundle, [OTHER.recipient]))
    said = room.once()["msg"]
    assert f"The secrets bundle {room.path} cannot be decrypted: it is encrypted for {OTHER.recipient}, not for" in said
    text = secrets_bundle.encrypted(bundle, [OURS.recipient])
    broken = yaml.safe_load(text)
    broken["cluster"]["id"], broken["cluster"]["secret"] = broken["cluster"]["secret"], broken["cluster"]["id"]
    private_files.replace(room.path, yaml.safe_dump(broken))
    assert f"The secrets bundle {room.path} cannot be decrypted" in room.once()["msg"]


# -- certificates ------------------------------------------------------------------------------------------------------


def test_the_result_says_when_certificates_end(room: Room) -> None:
    made = room.run(talosconfig_dest=str(room.folder / "talosconfig"), cluster_name="lab", endpoints=["10.0.0.1"])
    ends = {one["name"]: one["days_left"] for one in made["certificates"]}
    assert ends == {"etcd": 3649, "k8s": 3649, "k8saggregator": 3649, "os": 3649, "talosconfig": 364}
    assert all(dt.datetime.fromisoformat(one["not_after"]) for one in made["certificates"])
    context = talosconfig.load(room.folder / "talosconfig", None)
    assert (context.name, context.endpoints) == ("lab", ("10.0.0.1",))


def _talosconfig(bundle: secrets_bundle.Bundle, days: float) -> str:
    authority = bundle.authority("os")
    client = pki.client_certificate(authority, ["os:admin"], lifetime=dt.timedelta(days=days))
    return talosconfig.render(talosconfig.Context("lab", ("10.0.0.1",), authority.crt, client))


@pytest.mark.parametrize(
    ("days", "renew_before", "renewed"), [(31, 30, False), (29, 30, True), (29, 10, False), (0.01, 30, True)]
)
def test_a_client_certificate_is_renewed_before_it_ends(
    room: Room, bundle: secrets_bundle.Bundle, days: float, renew_before: int, renewed: bool
) -> None:
    private_files.replace(room.path, secrets_bundle.dump(bundle))
    dest = room.folder / "talosconfig"
    private_files.replace(dest, _talosconfig(bundle, days))
    made = room.run(talosconfig_dest=str(dest), cluster_name="lab", endpoints=["10.0.0.1"], renew_before=renew_before)
    assert made["changed"] is renewed
    if renewed:
        (change,) = made["changes"]
        assert (change["resource"], change["note"]) == (f"talosconfig/{dest}", "its certificate ends soon")
    left = {one["name"]: one["days_left"] for one in made["certificates"]}["talosconfig"]
    assert left == (364 if renewed else days - 1)


def test_the_talosconfig_of_another_cluster_is_replaced(room: Room, bundle: secrets_bundle.Bundle) -> None:
    dest = room.folder / "talosconfig"
    private_files.replace(dest, _talosconfig(bundle, 300))
    made = room.run(talosconfig_dest=str(dest), cluster_name="lab", endpoints=["10.0.0.1"])
    assert [change.get("note") for change in made["changes"]] == [None, "it is of another cluster"]


def test_an_authority_that_ends_soon_is_warned_of(room: Room, bundle: secrets_bundle.Bundle) -> None:
    past = dt.datetime.now(dt.timezone.utc) - pki.CA_LIFETIME + dt.timedelta(days=100)
    old = pki.new_ca("etcd", "ecdsa", now=past)
    data = copy.deepcopy(dict(bundle.data))
    data["certs"]["etcd"] = secrets_bundle._encoded(old)
    private_files.replace(room.path, secrets_bundle.dump(secrets_bundle.Bundle(data)))
    said: list[str] = []
    given = validated("talos_secrets", {"path": str(room.path)})
    talos_secrets.run(Task(given, warn=said.append))
    assert len(said) == 1 and said[0].startswith("The authority certs.etcd ends on ")


def test_nothing_secret_is_in_a_result_of_any_kind(room: Room, bundle: secrets_bundle.Bundle) -> None:
    source = room.folder / "controlplane.yaml"
    private_files.replace(source, config_of(bundle))
    dest = str(room.folder / "talosconfig")
    made = room.run(import_from=str(source), recipients=[OURS.recipient], talosconfig_dest=dest, cluster_name="lab")
    public = {bundle.pair(name)["crt"] for name in secrets_bundle.AUTHORITIES}
    text = str(dict(made))
    assert not [value for value in bundle.secret_values() - public if value in text]
    key = talosconfig.load(pathlib.Path(dest), None).client.key.decode()
    assert key not in text and OURS.text not in text
    assert (bundle.secret_values() - public - {bundle.data["cluster"]["id"]}) <= made.task.secrets


def test_the_file_of_talos_config_is_the_same(room: Room, bundle: secrets_bundle.Bundle) -> None:
    """Both modules keep a talosconfig, and neither writes what the other has written."""
    private_files.replace(room.path, secrets_bundle.dump(bundle))
    dest = str(room.folder / "talosconfig")
    room.run(talosconfig_dest=dest, cluster_name="lab", endpoints=["10.77.0.11"])
    given = {**options(), "secrets_path": str(room.path), "talosconfig_dest": dest}
    assert run("talos_config", given)["changes"] == []
