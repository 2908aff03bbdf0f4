# SPDX-License-Identifier: GPL-3.0-or-later
"""``proxmox_image`` on the played Proxmox VE and a played Image Factory."""

from __future__ import annotations

import hashlib
import pathlib
import typing as t

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pve_lab import DISK, ROLE, Outcome, PveLab

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import InvalidInput
from ansible_collections.groundwork.homelab.plugins.module_utils.image_factory import schematics
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.images import image_apply
from ansible_collections.groundwork.homelab.plugins.modules import proxmox_image
from simlab.mirror import schematic as played

AGENT = {"customization": {"systemExtensions": {"officialExtensions": ["siderolabs/qemu-guest-agent"]}}}
SHA256 = hashlib.sha256(DISK).hexdigest()


def image(lab: PveLab, **more: t.Any) -> dict[str, t.Any]:
    return {"node": "pve1", "storage": "local", "url": f"{lab.web}/talos.qcow2", **more}


def talos(lab: PveLab, **more: t.Any) -> dict[str, t.Any]:
    return {
        "node": "pve1",
        "storage": "local",
        "image_factory": {"url": lab.factory, "version": "v1.13.9", "schematic": AGENT, **more},
    }


def run(lab: PveLab, *wishes: dict[str, t.Any], check: bool = False) -> Outcome:
    return lab.run(proxmox_image, check=check, images=list(wishes))


def truthful(lab: PveLab, *wishes: dict[str, t.Any]) -> Outcome:
    predicted = run(lab, *wishes, check=True)
    assert not predicted.result.get("failed"), predicted.result
    assert (predicted.writes, lab.factory_seen) == ([], [])
    outcome = run(lab, *wishes)
    assert not outcome.result.get("failed"), outcome.result
    assert outcome.changes == predicted.changes
    assert outcome.result["images"] == predicted.result["images"]
    lab.factory_seen.clear()
    again = run(lab, *wishes)
    assert (again.changes, again.writes, again.result["changed"], lab.factory_seen) == ([], [], False, [])
    return outcome


def test_an_image_is_downloaded_with_its_checksum_as_check_mode_said(pve: PveLab) -> None:
    outcome = truthful(pve, image(pve, checksum=f"sha256:{SHA256.upper()}"))
    assert outcome.changes == [
        {
            "resource": "image/pve1/local:import/talos.qcow2",
            "action": "create",
            "after": {"url": f"{pve.web}/talos.qcow2", "checksum": f"sha256:{SHA256}"},
        }
    ]
    assert "local:import/talos.qcow2" in pve.volumes()
    assert outcome.result["images"][0]["volid"] == "local:import/talos.qcow2"


def test_a_talos_image_follows_from_its_schematic_without_asking_anybody(pve: PveLab) -> None:
    outcome = truthful(pve, talos(pve))
    number = "ce4c980550dd2ab1b17bbf2b08801c7eb59418eafe8f279833297925d67c7515"
    name = "talos-ce4c980550dd-v1.13.9-nocloud-amd64.qcow2"
    assert outcome.changes[0]["after"] == {
        "url": f"{pve.factory}/image/{number}/v1.13.9/nocloud-amd64.qcow2",
        "schematic": number,
    }
    assert outcome.result["images"][0]["volid"] == f"local:import/{name}"
    assert f"local:import/{name}" in pve.volumes()


def test_the_schematic_is_registered_just_before_the_download(pve: PveLab) -> None:
    run(pve, talos(pve))
    assert [seen.split("/")[1] for seen in pve.factory_seen] == ["schematics", "image"]


def test_images_of_one_storage_cost_one_list(pve: PveLab) -> None:
    pve.files["second.qcow2"] = DISK
    wishes = [
        image(pve),
        image(pve, url=f"{pve.web}/second.qcow2"),
        image(pve, url=f"{pve.web}/boot.iso", content="iso"),
    ]
    outcome = truthful(pve, *wishes)
    assert len(outcome.changes) == 3
    again = run(pve, *wishes)
    assert [entry.path for entry in again.requests] == ["/nodes/pve1/storage/local/content"]


def test_absent_deletes_what_is_named_and_nothing_else(pve: PveLab) -> None:
    run(pve, image(pve))
    outcome = truthful(pve, {"node": "pve1", "storage": "local", "filename": "talos.qcow2", "state": "absent"})
    assert outcome.actions == ["image/pve1/local:import/talos.qcow2 delete"]
    assert pve.volumes() == ["local:import/there.qcow2"]


def test_a_wrong_checksum_leaves_nothing_and_says_what_came(pve: PveLab) -> None:
    outcome = run(pve, image(pve, checksum="0" * 64))
    assert f"checksum mismatch: got '{SHA256}' != expect '{'0' * 64}'" in outcome.result["msg"]
    assert "Is the checksum that of this file?" in outcome.result["msg"]
    assert pve.volumes() == ["local:import/there.qcow2"]


def test_a_missing_file_is_told_with_the_log(pve: PveLab) -> None:
    outcome = run(pve, image(pve, url=f"{pve.web}/none.qcow2"))
    assert "download failed: exit code 8" in outcome.result["msg"]
    assert "does not give the file: is the url right?" in outcome.result["msg"]
    assert outcome.result["error"]["log"][-1] == "TASK ERROR: download failed: exit code 8"


def test_a_full_storage_says_so(pve: PveLab) -> None:
    pve.fault("storage-full", verb="POST", path="*download-url")
    outcome = run(pve, image(pve))
    assert "No space left on device" in outcome.result["msg"]
    assert "Free space on the storage local." in outcome.result["msg"]


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"storage": "isoonly"}, "The storage 'isoonly' of node pve1 takes no import, only iso"),
        ({"storage": "nope"}, "storage 'nope' does not exist (node pve1). Check node and storage of the image."),
        ({"node": "pve9"}, "pve9"),
    ],
)
def test_what_is_not_there_is_said_before_anything_is_written(
    pve: PveLab, wish: dict[str, t.Any], message: str
) -> None:
    for check in (True, False):
        outcome = run(pve, image(pve, **wish), check=check)
        assert message in outcome.result["msg"]
        assert outcome.writes == []


def test_a_missing_right_is_named(tmp_path: pathlib.Path) -> None:
    with PveLab(tmp_path, rights=[one for one in ROLE if one != "Datastore.AllocateTemplate"]) as lab:
        outcome = run(lab, image(lab))
        assert outcome.result["error"]["kind"] == "AccessDenied"
        assert "Datastore.AllocateTemplate on /storage/local" in outcome.result["msg"]


# -- the factory -----------------------------------------------------------------------------------------------------


def test_a_factory_that_refuses_is_quoted(pve: PveLab) -> None:
    pve.factory_answers = [(400, "schematic has an extension that nobody knows")]
    outcome = run(pve, talos(pve))
    assert "400 schematic has an extension that nobody knows" in outcome.result["msg"]
    assert outcome.writes == []


def test_a_factory_that_is_busy_is_asked_again(pve: PveLab) -> None:
    pve.factory_answers = [(503, "try later"), (429, "slow down")]
    assert run(pve, talos(pve)).result["changed"]


def test_an_id_that_is_not_ours_stops_before_the_download(pve: PveLab) -> None:
    pve.factory_answers = [(201, '{"id": "0123"}')]
    outcome = run(pve, talos(pve))
    assert "it calls the schematic '0123', it should be ce4c980550dd" in outcome.result["msg"]
    assert outcome.writes == []


def test_a_factory_that_is_not_there_is_named(pve: PveLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "ansible_collections.groundwork.homelab.plugins.module_utils.image_factory.client.PATIENCE", 0.1
    )
    wish = talos(pve)
    wish["image_factory"]["url"] = "http://127.0.0.1:1"
    outcome = run(pve, wish)
    assert "the Image Factory at http://127.0.0.1:1" in outcome.result["msg"]
    assert "Connection refused" in outcome.result["msg"]


kernel_arguments = st.sampled_from(["net.ifnames=0", "a: b", "- c", "-console", "talos.x={}", "# d", "{e}"])
SCHEMATICS = st.fixed_dictionaries(
    {},
    optional={
        "customization": st.fixed_dictionaries(
            {},
            optional={
                "extraKernelArgs": st.lists(kernel_arguments, max_size=3),
                "meta": st.lists(
                    st.fixed_dictionaries(
                        {"key": st.integers(0, 255), "value": st.sampled_from(["foo", "a b", "c: d"])}
                    ),
                    max_size=2,
                ),
                "systemExtensions": st.fixed_dictionaries(
                    {},
                    optional={
                        "officialExtensions": st.lists(
                            st.sampled_from(["siderolabs/i915", "siderolabs/zfs"]), max_size=2
                        )
                    },
                ),
                "bootloader": st.sampled_from(["sd-boot", ""]),
                "secureboot": st.fixed_dictionaries({}, optional={"includeWellKnownCertificates": st.booleans()}),
            },
        ),
        "overlay": st.fixed_dictionaries({"image": st.just("siderolabs/sbc"), "name": st.just("rpi_generic")}),
    },
)


@given(SCHEMATICS)
def test_our_canonical_yaml_is_that_of_the_played_factory(schematic: dict[str, t.Any]) -> None:
    """Two implementations by two people from one description."""
    assert schematics.canonical(schematic) == played.canonical(yaml.safe_dump(schematic).encode())


@pytest.mark.parametrize(
    ("schematic", "problem"),
    [
        (
            {"customisation": {}},
            "schematic has the unknown key customisation. The factory knows: owner, overlay, customization.",
        ),
        ({"customization": []}, None),
        ({"customization": {"extraKernelArgs": "quiet"}}, "schematic.customization.extraKernelArgs is no list"),
        ({"customization": {"meta": [{"key": 300}]}}, "schematic.customization.meta[0] is no META value"),
        ({"customization": "x"}, "schematic.customization is no mapping but str"),
    ],
)
def test_a_schematic_that_a_factory_would_refuse_is_refused_here(
    schematic: dict[str, t.Any], problem: str | None
) -> None:
    if problem is None:
        assert schematics.schematic_id(schematic) == schematics.schematic_id({})
        return
    with pytest.raises(InvalidInput) as caught:
        schematics.canonical(schematic)
    assert problem in caught.value.message


# -- cut-offs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["drop-before", "drop-after", "cut", "garbage"])
def test_a_lost_answer_is_looked_after_in_the_same_run(pve: PveLab, fault: str) -> None:
    pve.fault(fault, verb="POST", path="*download-url")
    outcome = run(pve, image(pve))
    assert outcome.result["changed"], outcome.result
    assert "local:import/talos.qcow2" in pve.volumes()


def test_a_download_that_an_earlier_run_began_is_waited_for(pve: PveLab, monkeypatch: pytest.MonkeyPatch) -> None:
    pve.fault("drop-after", verb="POST", path="*download-url")
    with monkeypatch.context() as patch:
        patch.setattr(image_apply, "ATTEMPTS", 1)
        assert run(pve, image(pve)).result["failed"]
    again = run(pve, image(pve))
    assert not again.result.get("failed"), again.result
    assert [write for write in again.writes if "download-url" in write] == []
    assert "local:import/talos.qcow2" in pve.volumes()
