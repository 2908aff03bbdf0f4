# SPDX-License-Identifier: GPL-3.0-or-later
"""``proxmox_storage`` on the played Proxmox VE."""

from __future__ import annotations

import base64
import json
import pathlib
import typing as t

import pytest
from pve_lab import Outcome, PveLab

from ansible_collections.groundwork.homelab.plugins.modules import proxmox_storage

SYSTEM = {"AnsibleSystem": ("/", "/storage", "/mapping")}
NFS = {"name": "nas", "type": "nfs", "server": "192.168.30.5", "export": "/volume1", "disable": True}
CIFS = {
    "name": "smb", "type": "cifs", "server": "192.168.30.5", "share": "lab", "username": "u", "disable": True,
}  # fmt: skip


@pytest.fixture
def lab(tmp_path: pathlib.Path) -> t.Iterator[PveLab]:
    with PveLab(tmp_path, also=SYSTEM) as made:
        yield made


def run(lab: PveLab, *storages: dict[str, t.Any], check: bool = False, **more: t.Any) -> Outcome:
    return lab.run(proxmox_storage, check=check, storages=list(storages), **more)


def truthful(lab: PveLab, *storages: dict[str, t.Any], writes: int = 1) -> Outcome:
    """Check mode says what the run does; the run after it has nothing to do."""
    predicted = run(lab, *storages, check=True)
    assert not predicted.result.get("failed"), predicted.result
    assert predicted.writes == []
    outcome = run(lab, *storages)
    assert not outcome.result.get("failed"), outcome.result
    assert (outcome.changes, outcome.result["storages"]) == (predicted.changes, predicted.result["storages"])
    assert len(outcome.writes) == writes
    again = run(lab, *storages)
    assert (again.changes, again.writes, again.result["changed"]) == ([], [], False)
    assert [entry.path for entry in again.requests] == ["/storage"]
    return outcome


def definition(lab: PveLab, name: str) -> dict[str, t.Any]:
    with lab.session() as session:
        found = dict(session.get(f"/storage/{name}"))
    found.pop("digest")
    return found


def names(lab: PveLab) -> list[str]:
    with lab.session() as session:
        return sorted(one["storage"] for one in session.get("/storage"))


def test_storages_of_several_types_are_defined_as_check_mode_said(lab: PveLab) -> None:
    tank = {
        "name": "tank", "type": "dir", "path": "/srv/tank", "content": ["iso", "images"], "nodes": ["pve1"],
        "retention": {"keep_last": 3, "keep_daily": 7},
    }  # fmt: skip
    outcome = truthful(lab, tank, NFS, {"name": "fast", "type": "lvm", "vgname": "nvme"}, writes=3)
    assert outcome.actions == ["storage/tank create", "storage/nas create", "storage/fast create"]
    assert outcome.changes[0]["after"] == {
        "type": "dir",
        "path": "/srv/tank",
        "content": ["images", "iso"],
        "nodes": ["pve1"],
        "retention": {"keep-daily": "7", "keep-last": "3"},
    }
    assert definition(lab, "tank")["prune-backups"] == "keep-daily=7,keep-last=3"
    assert definition(lab, "nas")["disable"] == 1


def test_only_what_differs_is_written_and_the_rest_stays(lab: PveLab) -> None:
    with lab.session() as session:
        form = {"storage": "st1", "type": "dir", "path": "/srv/st1", "content": "iso,images", "shared": 1}
        session.post("/storage", {**form, "max-protected-backups": 5}, asked="define st1")
    wish = {"name": "st1", "type": "dir", "path": "/srv/st1", "content": ["images", "iso"]}
    assert run(lab, wish).changes == []
    outcome = truthful(lab, {**wish, "content": ["images"], "disable": True})
    assert outcome.changes == [
        {
            "resource": "storage/st1",
            "action": "update",
            "before": {"content": ["images", "iso"], "disable": False},
            "after": {"content": ["images"], "disable": True},
        }
    ]
    assert definition(lab, "st1") == {
        "storage": "st1",
        "type": "dir",
        "path": "/srv/st1",
        "content": "images",
        "disable": 1,
        "shared": 1,
        "max-protected-backups": 5,
    }


def test_each_of_several_changes_of_the_file_is_guarded_by_its_digest(lab: PveLab) -> None:
    """The first write makes the digest of the list old: the second one looks again."""
    wishes = [{"name": name, "type": "dir", "path": f"/srv/{name}"} for name in ("one", "two")]
    run(lab, *wishes)
    outcome = truthful(lab, *({**wish, "disable": True} for wish in wishes), writes=2)
    asked = [f"{entry.verb} {entry.path}" for entry in outcome.requests if entry.path.startswith("/storage")]
    assert asked == ["GET /storage", "PUT /storage/one", "GET /storage", "PUT /storage/two"]


def test_what_somebody_else_changes_between_two_writes_is_not_overwritten_unseen(lab: PveLab) -> None:
    wishes = [{"name": name, "type": "dir", "path": f"/srv/{name}", "content": ["images"]} for name in ("one", "two")]
    run(lab, *wishes)
    definitions = lab.server.cluster.storages.definitions
    wishes[1]["content"] = wishes[0]["content"] = ["iso"]
    change = dict(definitions["two"])
    lab.server.cluster.storages.define("two", change)

    class Meddling(dict[str, t.Any]):
        """Changes the second storage as soon as the first one is written."""

        def __setitem__(self, name: str, options: t.Any) -> None:
            super().__setitem__(name, options)
            if name == "one" and "preallocation" not in change:
                change["preallocation"] = "off"

    lab.server.cluster.storages.definitions = Meddling(definitions)
    outcome = run(lab, *wishes)
    assert not outcome.result.get("failed"), outcome.result
    assert any("somebody else has changed it meanwhile" in line for line in outcome.progress)
    assert definition(lab, "two")["content"] == "iso"
    assert definition(lab, "two")["preallocation"] == "off"


def test_an_empty_value_takes_an_option_away(lab: PveLab) -> None:
    wish = {"name": "tank", "type": "dir", "path": "/srv/tank"}
    run(lab, {**wish, "nodes": ["pve1"], "retention": {"keep_last": 3}, "preallocation": "off"})
    outcome = truthful(lab, {**wish, "nodes": [], "retention": {}, "preallocation": "metadata"})
    assert outcome.changes[0]["before"] == {
        "nodes": ["pve1"],
        "retention": {"keep-last": "3"},
        "preallocation": "off",
    }
    assert {"nodes", "prune-backups"} & definition(lab, "tank").keys() == set()


def test_a_default_that_is_wished_for_is_no_change(lab: PveLab) -> None:
    wish = {"name": "tank", "type": "dir", "path": "/srv/tank"}
    run(lab, wish)
    defaults = {
        "content": ["rootdir", "images"], "disable": False, "shared": False, "create_base_path": True, "nodes": [],
        "is_mountpoint": "no", "preallocation": "metadata", "retention": {},
    }  # fmt: skip
    assert run(lab, {**wish, **defaults}).changes == []


def test_a_definition_is_removed_and_its_files_are_there_again(lab: PveLab) -> None:
    local = {"name": "local", "type": "dir", "path": "/var/lib/vz", "content": ["images", "iso", "import"]}
    before = lab.volumes()
    outcome = truthful(lab, {"name": "local", "state": "absent"})
    assert outcome.changes[0]["before"]["path"] == "/var/lib/vz"
    assert names(lab) == ["isoonly"]
    run(lab, local)
    assert lab.volumes() == before


# -- secrets ---------------------------------------------------------------------------------------------------------


def test_a_password_is_sent_once_and_shown_nowhere(lab: PveLab) -> None:
    wish = {**CIFS, "password": "cifs-not-a-secret"}
    outcome = truthful(lab, wish)
    assert outcome.changes[0]["after"]["password"] == "(hidden)"
    assert "cifs-not-a-secret" not in str(outcome.result) + str(outcome.progress)
    assert lab.server.cluster.storages.definitions["smb"]["password"] == "cifs-not-a-secret"
    assert run(lab, {**wish, "password": "other-not-a-secret"}).changes == []


def test_secrets_are_sent_again_on_request(lab: PveLab) -> None:
    run(lab, {**CIFS, "password": "cifs-not-a-secret"})
    outcome = run(lab, {**CIFS, "password": "other-not-a-secret"}, update_secrets="always")
    assert outcome.changes == [{"resource": "storage/smb", "action": "update", "after": {"password": "(hidden)"}}]
    assert lab.server.cluster.storages.definitions["smb"]["password"] == "other-not-a-secret"


PEM = "-----BEGIN PUBLIC KEY-----\nbm90IGEga2V5\n-----END PUBLIC KEY-----\n"
KEY = json.dumps({"kdf": None, "data": "bm90IGEga2V5", "fingerprint": "ab:cd"})
PBS = {"name": "pbs", "type": "pbs", "server": "p", "datastore": "d", "disable": True}


def test_a_master_key_is_sent_as_the_server_reads_it(lab: PveLab) -> None:
    """In base64: it decodes whatever comes, and a PEM text that is decoded is no key that anybody could restore with."""
    truthful(lab, {**PBS, "encryption_key": KEY, "master_pubkey": PEM})
    kept = lab.server.cluster.storages.definitions["pbs"]
    assert base64.b64decode(kept["master-pubkey"]).decode() == PEM.rstrip("\n")
    assert (definition(lab, "pbs")["encryption-key"], definition(lab, "pbs")["master-pubkey"]) == ("ab:cd", "1")
    encoded = base64.b64encode(PEM.encode()).decode()
    run(lab, {**PBS, "master_pubkey": encoded}, update_secrets="always")
    assert lab.server.cluster.storages.definitions["pbs"]["master-pubkey"] == encoded


def test_that_a_key_of_backups_goes_with_the_definition_is_warned_of(lab: PveLab) -> None:
    run(lab, {**PBS, "encryption_key": KEY}, {**PBS, "name": "open"})
    for check in (True, False):
        outcome = run(lab, *({"name": name, "state": "absent"} for name in ("pbs", "open")), check=check)
        assert outcome.warnings == [
            "storage pbs: its encryption key is deleted from the nodes with it; who has no copy of it cannot read its backups"
        ]


# -- said before anything is written ---------------------------------------------------------------------------------

BAD: dict[str, tuple[dict[str, t.Any], str]] = {
    "name": ({"name": "1st", "type": "dir", "path": "/x"}, "'1st' is no name of a storage."),
    "one letter": ({"name": "x", "type": "dir", "path": "/x"}, "'x' is no name of a storage. Write two or more letters"),
    "no type": ({"name": "new", "path": "/x"}, "storage new has no type. Choose one of: btrfs, cephfs, cifs, dir"),
    "required": ({"name": "new", "type": "nfs", "server": "nas"}, "storage new does not exist, and to create it export must be given."),
    "other type": ({"name": "new", "type": "dir", "path": "/x", "vgname": "v", "krbd": True}, "storage new: the type dir has no krbd and no vgname. It has: bandwidth_limits"),
    "content": ({"name": "new", "type": "lvmthin", "vgname": "v", "thinpool": "t", "content": ["iso"]}, "storage new: the type lvmthin cannot hold iso. It can hold: images, rootdir."),
    "no content": ({"name": "new", "type": "dir", "path": "/x", "content": []}, "storage new: content is empty. Use disable"),
    "relative path": ({"name": "new", "type": "dir", "path": "srv"}, "storage new: path 'srv' is no absolute path."),
    "retention": ({"name": "new", "type": "dir", "path": "/x", "retention": {"keep_all": True, "keep_last": 1}}, "storage new: retention says keep_all and other things besides."),
    "port": ({"name": "new", "type": "pbs", "server": "p", "datastore": "d", "port": 70000}, "storage new: port 70000 is no port."),
    "generated key": ({"name": "new", "type": "pbs", "server": "p", "datastore": "d", "encryption_key": "autogen"}, "an encryption key that the server makes is told only once, and would be lost here"),
    "empty secret": ({"name": "new", "type": "cifs", "server": "p", "share": "d", "password": ""}, "storage new: password is empty. Leave it out to keep what is there."),
    "changed type": ({"name": "local", "type": "btrfs", "path": "/var/lib/vz"}, "storage local is of the type dir and cannot become btrfs. Choose another name"),
    "fixed": ({"name": "local", "type": "dir", "path": "/other"}, "path of storage local is '/var/lib/vz' and cannot become '/other': it is fixed when the storage is created. Give it the value that it has"),
    "no key": ({**PBS, "encryption_key": "abc"}, "storage pbs: encryption_key is no key. It is the JSON text that"),
    "no public key": ({**PBS, "encryption_key": KEY, "master_pubkey": "abc"}, "storage pbs: master_pubkey is no public key. It is a PEM text"),
    "master key alone": ({**PBS, "master_pubkey": PEM}, "storage pbs does not exist, and to create it with master_pubkey, encryption_key must be given."),
    "chain of volumes": ({"name": "local", "type": "dir", "path": "/var/lib/vz", "snapshot_as_volume_chain": True}, "snapshot_as_volume_chain of storage local is False and cannot become True: it is fixed"),
    "unknown node": ({"name": "new", "type": "dir", "path": "/x", "nodes": ["pve1", "pve9"]}, "storage new is to be on node 'pve9', which does not exist. There are: pve1."),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_said_before_anything_is_written(lab: PveLab, case: str) -> None:
    wish, message = BAD[case]
    good = {"name": "good", "type": "dir", "path": "/srv/good"}
    for check in (True, False):
        outcome = run(lab, good, wish, check=check)
        assert message in outcome.result["msg"], outcome.result
        assert outcome.result["error"]["kind"] == "InvalidInput"
        assert outcome.writes == []


def test_a_storage_that_is_named_twice_is_refused(lab: PveLab) -> None:
    outcome = run(lab, NFS, {"name": "nas", "state": "absent"})
    assert outcome.result["msg"] == "storage nas is named twice. Put what you want of it into one entry."
    assert outcome.requests == []


def test_a_missing_right_is_named_with_its_path_and_role(pve: PveLab) -> None:
    pve.server.cluster.access.roles["AnsibleGuests"] -= {"Datastore.Allocate"}
    for check in (True, False):
        outcome = run(pve, NFS, check=check)
        assert outcome.result["error"]["kind"] == "AccessDenied"
        assert "Datastore.Allocate on /storage (create storage nas)" in outcome.result["msg"]
        assert outcome.writes == []


# -- what the server says --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wish", "text", "hint"),
    [
        ({**NFS, "disable": False}, "storage 'nas' is not online", "Does the server answer the node"),
        (
            {"name": "thin", "type": "lvmthin", "vgname": "pve", "thinpool": "data"},
            "no such logical volume pve/data",
            "Make the volume group and the thin pool on the node first",
        ),
        ({"name": "tank", "type": "zfspool", "pool": "rpool/data"}, "zfs error", "Make the ZFS pool on the node first"),
        (
            {"name": "pbs", "type": "pbs", "server": "192.168.30.6", "datastore": "lab"},
            "error fetching datastores",
            "Are server, port, datastore, username, password and fingerprint right?",
        ),
        (
            {"name": "dir", "type": "dir", "path": "/none", "create_base_path": False},
            "directory '/none' does not exist or is unreachable",
            "Make the directory on the node first",
        ),
    ],
)
def test_a_refusal_of_the_backend_is_quoted_with_what_to_try(
    lab: PveLab, wish: dict[str, t.Any], text: str, hint: str
) -> None:
    outcome = run(lab, wish)
    assert text in outcome.result["msg"]
    assert hint in outcome.result["msg"]
    assert wish["name"] not in names(lab)


def test_what_was_made_before_a_refusal_is_told_and_the_next_run_goes_on(lab: PveLab) -> None:
    good = {"name": "good", "type": "dir", "path": "/srv/good"}
    outcome = run(lab, good, {**NFS, "disable": False})
    assert [change["resource"] for change in outcome.changes] == ["storage/good"]
    assert outcome.result["changed"]
    assert run(lab, good, NFS).actions == ["storage/nas create"]
