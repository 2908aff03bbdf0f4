# SPDX-License-Identifier: GPL-3.0-or-later
"""``proxmox_mapping`` on the played Proxmox VE."""

from __future__ import annotations

import dataclasses
import pathlib
import typing as t

import pytest
from pve_lab import Outcome, PveLab

from ansible_collections.groundwork.homelab.plugins.modules import proxmox_mapping
from simlab.proxmox.config import NodeConfig

SYSTEM = {"AnsibleSystem": ("/", "/storage", "/mapping")}
GPU = {"name": "gpu", "type": "pci", "devices": [{"node": "pve1", "path": "0000:00:02.0", "id": "8086:46D1"}]}
FILMS = {"name": "films", "type": "dir", "devices": [{"node": "pve1", "path": "/srv/films"}]}


@pytest.fixture
def lab(tmp_path: pathlib.Path) -> t.Iterator[PveLab]:
    made = PveLab(tmp_path, also=SYSTEM)
    made.config = dataclasses.replace(
        made.config,
        nodes=(
            NodeConfig(cores=8, directories=("/srv", "/srv/a", "/srv/films")),
            NodeConfig("pve2", address="10.0.0.2"),
        ),
    )
    with made:
        yield made


def run(lab: PveLab, *mappings: dict[str, t.Any], check: bool = False) -> Outcome:
    return lab.run(proxmox_mapping, check=check, mappings=list(mappings))


def truthful(lab: PveLab, *mappings: dict[str, t.Any], writes: int = 1) -> Outcome:
    predicted = run(lab, *mappings, check=True)
    assert not predicted.result.get("failed"), predicted.result
    assert predicted.writes == []
    outcome = run(lab, *mappings)
    assert not outcome.result.get("failed"), outcome.result
    assert (outcome.changes, outcome.result["mappings"]) == (predicted.changes, predicted.result["mappings"])
    assert len(outcome.writes) == writes
    again = run(lab, *mappings)
    assert (again.changes, again.writes, again.result["changed"]) == ([], [], False)
    assert {entry.verb for entry in again.requests} == {"GET"}
    return outcome


def of(lab: PveLab, kind: str, name: str) -> dict[str, t.Any]:
    return dict(lab.server.cluster.extras[f"mapping-{kind}"][name])


def test_mappings_of_all_kinds_are_made(lab: PveLab) -> None:
    usb = {"name": "gpu", "type": "usb", "description": "stick", "devices": [{"node": "pve1", "id": "10c4:ea60"}]}
    outcome = truthful(lab, GPU, usb, FILMS, writes=3)
    assert outcome.actions == ["mapping/pci/gpu create", "mapping/usb/gpu create", "mapping/dir/films create"]
    assert outcome.changes[0]["after"] == {"devices": [{"id": "8086:46d1", "node": "pve1", "path": "0000:00:02.0"}]}
    assert of(lab, "pci", "gpu")["map"] == ["node=pve1,id=8086:46d1,path=0000:00:02.0"]


def test_devices_of_several_nodes_are_one_mapping_and_their_order_means_nothing(lab: PveLab) -> None:
    devices = [{"node": "pve2", "path": "/srv/b"}, {"node": "pve1", "path": "/srv/a"}]
    truthful(lab, {**FILMS, "devices": devices})
    assert of(lab, "dir", "films")["map"] == ["node=pve1,path=/srv/a", "node=pve2,path=/srv/b"]
    assert run(lab, {**FILMS, "devices": devices[::-1]}).changes == []


def test_a_mapping_made_by_hand_in_another_spelling_is_the_same(lab: PveLab) -> None:
    with lab.session() as session:
        form = {"id": "gpu", "map": "path=0000:00:02.0,id=8086:46d1,node=pve1"}
        session.post("/cluster/mapping/pci", form, asked="make a mapping")
    assert run(lab, GPU).changes == []


def test_a_change_of_the_description_carries_the_devices(lab: PveLab) -> None:
    run(lab, {**GPU, "description": "old", "mediated": True})
    outcome = truthful(lab, {"name": "gpu", "type": "pci", "description": "new"})
    assert outcome.changes == [
        {
            "resource": "mapping/pci/gpu",
            "action": "update",
            "before": {"description": "old"},
            "after": {"description": "new"},
        }
    ]
    assert of(lab, "pci", "gpu")["mdev"] == "1"
    truthful(lab, {"name": "gpu", "type": "pci", "description": "", "mediated": False})
    assert of(lab, "pci", "gpu").keys() == {"map", "mdev"}


def test_space_around_a_description_is_not_kept(lab: PveLab) -> None:
    truthful(lab, {**GPU, "description": " of the board \n"})
    assert of(lab, "pci", "gpu")["description"] == "of the board"


def test_devices_of_other_nodes_stay_when_the_list_is_not_exclusive(lab: PveLab) -> None:
    run(lab, FILMS)
    other = {**FILMS, "devices": [{"node": "pve2", "path": "/tank/films"}], "exclusive": False}
    truthful(lab, other)
    assert of(lab, "dir", "films")["map"] == ["node=pve1,path=/srv/films", "node=pve2,path=/tank/films"]
    truthful(lab, {**other, "exclusive": True})
    assert of(lab, "dir", "films")["map"] == ["node=pve2,path=/tank/films"]


def test_absent_removes_what_is_named_and_nothing_else(lab: PveLab) -> None:
    run(lab, GPU, FILMS)
    outcome = truthful(lab, {"name": "gpu", "type": "pci", "state": "absent"})
    assert outcome.changes[0]["before"]["devices"][0]["path"] == "0000:00:02.0"
    assert of(lab, "dir", "films")


BAD: dict[str, tuple[dict[str, t.Any], str]] = {
    "name": ({**GPU, "name": "1x"}, "'1x' is no name of a mapping."),
    "no devices": ({**GPU, "name": "new", "devices": []}, "pci mapping new: devices is empty."),
    "nothing given": ({"name": "new", "type": "usb"}, "usb mapping new does not exist, and to create it devices must be given."),
    "no id": ({**GPU, "devices": [{"node": "pve1", "path": "0000:00:02.0"}]}, "pci mapping gpu: the device of node pve1 has no id."),
    "no path": ({**FILMS, "devices": [{"node": "pve1"}]}, "dir mapping films: the device of node pve1 has no path."),
    "id of a directory": ({**FILMS, "devices": [{"node": "pve1", "path": "/x", "id": "1:2"}]}, "dir mapping films: a device of this kind has no id."),
    "bad id": ({**GPU, "devices": [{"node": "pve1", "path": "0000:00:02.0", "id": "8086"}]}, "pci mapping gpu: id '8086' is none of a pci device. For example: 8086:1912"),
    "bad address": ({**GPU, "devices": [{"node": "pve1", "path": "2", "id": "8086:46d1"}]}, "pci mapping gpu: path '2' is none of a pci device. For example: 0000:00:02.0"),
    "relative": ({**FILMS, "devices": [{"node": "pve1", "path": "srv"}]}, "dir mapping films: path 'srv' is none of a dir device. For example: /srv/media"),
    "two directories": ({**FILMS, "devices": [{"node": "pve1", "path": "/a"}, {"node": "pve1", "path": "/b"}]}, "dir mapping films: node pve1 has two directories."),
    "same device": ({**GPU, "devices": GPU["devices"] * 2}, "pci mapping gpu: node pve1 has the same device twice."),
    "mediated": ({**FILMS, "mediated": True}, "dir mapping films: mediated is for PCI devices only."),
    "two lines": ({**GPU, "description": "one\ntwo"}, "pci mapping gpu: description has more than one line."),
    "unknown node": ({**FILMS, "devices": [{"node": "pve9", "path": "/x"}]}, "dir mapping films names the node 'pve9', which does not exist. There are: pve1, pve2."),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_said_before_anything_is_written(lab: PveLab, case: str) -> None:
    wish, message = BAD[case]
    for check in (True, False):
        outcome = run(lab, {**FILMS, "name": "good"}, wish, check=check)
        assert message in outcome.result["msg"], outcome.result
        assert outcome.result["error"]["kind"] == "InvalidInput"
        assert outcome.writes == []


def test_a_missing_right_is_named_with_its_path_and_role(pve: PveLab) -> None:
    outcome = run(pve, GPU)
    assert "Mapping.Modify on /mapping/pci (create pci mapping gpu)" in outcome.result["msg"]
    assert "AnsibleSystem" in outcome.result["msg"]
    assert outcome.writes == []
