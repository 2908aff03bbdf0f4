# SPDX-License-Identifier: GPL-3.0-or-later
"""``talos_image``: names that follow from the input, and what a played Image Factory is asked."""

from __future__ import annotations

import collections.abc as c
import pathlib
import typing as t

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from talos_factory_lab import Bad, FactoryLab, cuts, drops, says, sleeps, tls
from talos_lab import PlayedLab
from test_talos_both_ways import play, without_ways

from ansible_collections.groundwork.homelab.plugins.module_utils.image_factory import client
from ansible_collections.groundwork.homelab.plugins.module_utils.plan import HIDDEN
from ansible_collections.groundwork.homelab.plugins.modules import talos_image

AGENT = "ce4c980550dd2ab1b17bbf2b08801c7eb59418eafe8f279833297925d67c7515"
PLAIN = "376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba"
AGENT_IMAGE = {"extensions": ["siderolabs/qemu-guest-agent"]}


@pytest.fixture
def factory() -> c.Iterator[FactoryLab]:
    with FactoryLab() as made:
        yield made


# -- names -----------------------------------------------------------------------------------------------------------


def test_everything_is_named_without_asking_anybody(factory: FactoryLab) -> None:
    done = factory.run(AGENT_IMAGE, factory_url="https://factory.talos.dev")
    base = f"https://factory.talos.dev/image/{AGENT}/v1.13.9"
    assert done["images"] == [
        {
            "name": "",
            "schematic": AGENT,
            "version": "v1.13.9",
            "platform": "nocloud",
            "arch": "amd64",
            "secureboot": False,
            "installer": f"factory.talos.dev/nocloud-installer/{AGENT}:v1.13.9",
            "disk_image_url": f"{base}/nocloud-amd64.qcow2",
            "disk_image_filename": "talos-ce4c980550dd-v1.13.9-nocloud-amd64.qcow2",
            "iso_url": f"{base}/nocloud-amd64.iso",
            "iso_filename": "talos-ce4c980550dd-v1.13.9-nocloud-amd64.iso",
            "kernel_url": f"{base}/kernel-amd64",
            "initramfs_url": f"{base}/initramfs-amd64.xz",
            "cmdline_url": f"{base}/cmdline-nocloud-amd64",
            "uki_url": f"{base}/nocloud-amd64-uki.efi",
            "pxe_url": f"https://factory.talos.dev/pxe/{AGENT}/v1.13.9/nocloud-amd64",
        }
    ]
    assert (done["changes"], factory.seen) == ([], [])


def test_secureboot_platform_and_architecture_are_in_the_names(factory: FactoryLab) -> None:
    image = {
        "platform": "metal",
        "arch": "arm64",
        "secureboot": True,
        "version": "1.14.0-rc.1",
        "disk_format": "raw.xz",
    }
    (named,) = factory.run(image, factory_url="https://factory.lab.test:8443/mirror/")["images"]
    assert named["installer"] == f"factory.lab.test:8443/mirror/metal-installer-secureboot/{PLAIN}:v1.14.0-rc.1"
    assert named["disk_image_filename"] == "talos-376567988ad3-v1.14.0-rc.1-metal-arm64-secureboot.raw.xz"
    assert named["iso_url"].endswith(f"/mirror/image/{PLAIN}/v1.14.0-rc.1/metal-arm64-secureboot.iso")


def test_short_options_are_a_schematic(factory: FactoryLab) -> None:
    short = {"extensions": ["siderolabs/zfs"], "kernel_args": ["-console", "a=b"]}
    customization = {"systemExtensions": {"officialExtensions": ["siderolabs/zfs"]}}
    whole = {"schematic": {"customization": {**customization, "extraKernelArgs": ["-console", "a=b"]}}}
    mixed = {"kernel_args": ["-console", "a=b"], "schematic": {"customization": customization}}
    assert len({image["schematic"] for image in factory.run(short, whole, mixed)["images"]}) == 1


# -- the factory -----------------------------------------------------------------------------------------------------


def test_a_schematic_is_registered_once(factory: FactoryLab) -> None:
    images = [AGENT_IMAGE, {**AGENT_IMAGE, "platform": "metal"}, {}]
    check = factory.run(*images, register=True, check=True)
    assert factory.writes == []
    made = factory.run(*images, register=True)
    assert made["changes"] == check["changes"] and made["diff"] == check["diff"]
    assert [change["resource"] for change in made["changes"]] == [f"schematic/{AGENT}", f"schematic/{PLAIN}"]
    assert made["changes"][0]["after"]["schematic"]["customization"]["systemExtensions"] == {
        "officialExtensions": ["siderolabs/qemu-guest-agent"]
    }
    factory.seen.clear()
    again = factory.run(*images, register=True)
    assert (again["changed"], factory.seen) == (False, [f"GET /schematics/{AGENT}", f"GET /schematics/{PLAIN}"])


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from(["i915", "zfs", "xe", "mei", "spin"]), unique=True),
    st.lists(st.sampled_from(["i915", "zfs", "xe", "mei", "spin"]), unique=True),
)
def test_what_is_predicted_is_what_the_factory_knows_afterwards(
    factory: FactoryLab, current: list[str], desired: list[str]
) -> None:
    factory.factory._schematics.clear()

    def images(names: list[str]) -> list[dict[str, t.Any]]:
        return [{"extensions": [f"siderolabs/{name}"]} for name in names]

    factory.run(*images(current), register=True)
    before = set(factory.factory._schematics)
    check = factory.run(*images(desired), register=True, check=True)
    assert set(factory.factory._schematics) == before
    made = factory.run(*images(desired), register=True)
    assert made["changes"] == check["changes"]
    predicted = {change["resource"].removeprefix("schematic/") for change in check["changes"]}
    assert set(factory.factory._schematics) == before | predicted
    factory.seen.clear()
    assert factory.run(*images(desired), register=True)["changes"] == []
    assert factory.writes == []


def test_what_is_wanted_is_looked_for_before_and_after_registration(factory: FactoryLab) -> None:
    verify = ["version", "extensions", "disk_image", "iso"]
    done = factory.run(AGENT_IMAGE, register=True, verify=verify)
    assert not done.get("failed"), done
    image = f"/image/{AGENT}/v1.13.9/nocloud-amd64"
    assert factory.seen == [
        "GET /versions",
        "GET /version/v1.13.9/extensions/official",
        f"GET /schematics/{AGENT}",
        "POST /schematics",
        f"HEAD {image}.qcow2",
        f"HEAD {image}.iso",
    ]


def test_check_mode_asks_for_no_image_of_what_is_not_registered(factory: FactoryLab) -> None:
    done = factory.run(AGENT_IMAGE, register=True, verify=["iso"], check=True)
    assert done["changed"] and factory.seen == [f"GET /schematics/{AGENT}"]


@pytest.mark.parametrize(
    ("image", "verify", "message"),
    [
        (
            {"version": "v1.13.99"},
            ["version"],
            "Could not find the version v1.13.99 (the Image Factory at {url}): it does not have it (images[0]). "
            "Near to it: v1.13.9",
        ),
        (
            {"extensions": ["siderolabs/qemu-agent"]},
            ["extensions"],
            "Could not find the extension siderolabs/qemu-agent for Talos v1.13.9 (the Image Factory at {url}): it does "
            "not have it (images[0]). Near to it: siderolabs/qemu-guest-agent",
        ),
        ({"platform": "toaster"}, ["iso"], '400 invalid platform: "toaster"'),
    ],
)
@pytest.mark.parametrize("check", [True, False])
def test_what_the_factory_does_not_have_is_said(
    factory: FactoryLab, image: dict[str, t.Any], verify: list[str], message: str, check: bool
) -> None:
    factory.run({}, register=True)
    factory.seen.clear()
    failed = factory.run(image, verify=verify, check=check)
    assert message.format(url=factory.url) in failed["msg"]
    assert factory.writes == []


def test_an_image_of_a_schematic_that_nobody_registered_is_not_there(factory: FactoryLab) -> None:
    failed = factory.run(AGENT_IMAGE, verify=["disk_image"])
    assert f'404 schematic ID "{AGENT}" not found' in failed["msg"]
    assert failed["error"]["kind"] == "NotFound"


def test_an_image_that_is_somewhere_else_is_there(factory: FactoryLab) -> None:
    factory.bad = [says(302, "", Location="https://cdn.test/x.iso")]
    assert not factory.run({}, verify=["iso"]).get("failed")


# -- faults ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad", [says(503, "try later"), says(429, "slow down"), drops, cuts], ids=["503", "429", "dropped", "cut"]
)
@pytest.mark.parametrize("nth", [0, 1])
def test_what_passes_is_asked_again(factory: FactoryLab, bad: Bad, nth: int) -> None:
    factory.bad = [factory.factory.handle] * nth + [bad]
    done = factory.run(AGENT_IMAGE, register=True)
    assert done.get("changed") and not done.get("failed"), done
    assert list(factory.factory._schematics) == [AGENT]


@pytest.mark.parametrize(
    ("bad", "kind", "message"),
    [
        (says(201, '{"id": "0123"}'), "Refused", f"it calls the schematic '0123', it should be {AGENT}"),
        (says(201, "<html>"), "Refused", "it calls the schematic None"),
        (says(400, "unknown extension"), "Refused", "400 unknown extension. Does this factory know every extension"),
        (says(307, "", Location="/elsewhere"), "Refused", "307 Temporary Redirect. Is url the address of a Talos"),
        (says(402, "enterprise only"), "Refused", "402 enterprise only"),
    ],
)
def test_what_does_not_pass_is_told_and_the_next_run_goes_on(
    factory: FactoryLab, bad: Bad, kind: str, message: str
) -> None:
    factory.bad = [factory.factory.handle] * 2 + [bad]
    failed = factory.run(AGENT_IMAGE, {}, register=True)
    assert failed["msg"].startswith("Could not register the schematic ce4c980550dd… (the Image Factory at http")
    assert message in failed["msg"] and failed["error"]["kind"] == kind
    assert len(factory.run(AGENT_IMAGE, {}, register=True)["changes"]) == 2


def test_what_was_registered_before_a_failure_is_said(factory: FactoryLab) -> None:
    real = factory.factory.handle
    factory.bad = [real, real, real, says(400, "no")]
    failed = factory.run(AGENT_IMAGE, {}, register=True)
    assert [change["resource"] for change in failed["changes"]] == [f"schematic/{AGENT}"]
    assert failed["changed"]
    assert [one["resource"] for one in factory.run(AGENT_IMAGE, {}, register=True)["changes"]] == [f"schematic/{PLAIN}"]


@pytest.mark.parametrize("text", ["<html>", '{"a": 1}', "[1]"])
@pytest.mark.parametrize("verify", ["version", "extensions"])
def test_lists_of_another_form_are_refused(
    factory: FactoryLab, monkeypatch: pytest.MonkeyPatch, text: str, verify: str
) -> None:
    monkeypatch.setattr(client, "PATIENCE", 0.1)
    factory.bad = [says(200, text)] * 9
    failed = factory.run(AGENT_IMAGE, verify=[verify])
    assert "an answer of another form. Is url the address of a Talos Image Factory?" in failed["msg"]


def test_a_silent_factory_is_not_waited_for_long(factory: FactoryLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "PATIENCE", 0.1)
    factory.bad = [sleeps] * 9
    failed = factory.run({}, verify=["version"], timeout=1)
    assert "no answer within 1 s. timeout is the limit." in failed["msg"]
    assert failed["error"]["kind"] == "Unreachable"


def test_a_factory_that_is_not_there_is_named(factory: FactoryLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "PATIENCE", 0.1)
    failed = factory.run({}, verify=["version"], factory_url="http://127.0.0.1:1")
    assert "(the Image Factory at http://127.0.0.1:1)" in failed["msg"] and "Connection refused" in failed["msg"]


def test_a_certificate_that_does_not_verify_is_told_once(tmp_path: pathlib.Path) -> None:
    context, authority = tls(tmp_path)
    with FactoryLab(context) as factory:
        failed = factory.run({}, verify=["version"])
        assert "the certificate does not verify" in failed["msg"]
        assert "Give the authority that signed it as ca_path of the factory." in failed["msg"]
        assert not factory.run({}, verify=["version"], ca_path=authority).get("failed")
        assert not factory.run({}, verify=["version"], validate_certs=False).get("failed")


# -- input and secrets -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "more", "message"),
    [
        ({"version": "latest"}, {}, "images[1]: version 'vlatest' is no version of Talos. Write for example v1.13.9."),
        ({"platform": "no cloud"}, {}, "images[1]: platform 'no cloud' is not valid"),
        ({"arch": "riscv"}, {}, "value of arch must be one of: amd64, arm64, got: riscv"),
        ({"disk_format": "vhd"}, {}, "value of disk_format must be one of: qcow2, raw, raw.xz, got: vhd"),
        ({"extensions": ["zfs"]}, {}, "images[1]: 'zfs' is not the name of an official extension"),
        ({"extensions": ["siderolabs/zfs"] * 2}, {}, "images[1]: The extension siderolabs/zfs is given twice"),
        ({"schematic": {"customisation": {}}}, {}, "images[1]: schematic has the unknown key customisation"),
        (
            {"kernel_args": ["a"], "schematic": {"customization": {"extraKernelArgs": ["b"]}}},
            {},
            "images[1]: kernel_args and the schematic's customization.extraKernelArgs are both given. Leave one out.",
        ),
        (
            {"extensions": ["a/b"], "schematic": {"customization": []}},
            {},
            "images[1]: customization of the schematic is no mapping but list",
        ),
        ({"schematic": {"customization": {"systemExtensions": {"officialExtensions": "a/b"}}}}, {}, "is no list"),
        (
            {},
            {"factory_url": "factory.talos.dev"},
            "'factory.talos.dev' is no http or https address of an Image Factory",
        ),
        ({}, {"ca_path": "/nowhere.pem"}, "ca_path /nowhere.pem of the Image Factory cannot be read"),
        ({}, {"verify": ["everything"]}, "value of verify must be one or more of"),
    ],
)
def test_bad_input_is_named_and_nobody_is_asked(
    factory: FactoryLab, image: dict[str, t.Any], more: dict[str, t.Any], message: str
) -> None:
    failed = factory.run(AGENT_IMAGE, image, register=True, **more)
    assert message in failed["msg"]
    assert factory.seen == []


def test_every_problem_is_said_at_once(factory: FactoryLab) -> None:
    failed = factory.run({"version": "x"}, {}, {"platform": "/"})
    assert "images[0]: " in failed["msg"] and "images[2]: " in failed["msg"]


def test_an_embedded_machine_config_is_a_secret(factory: FactoryLab) -> None:
    text = "machine:\n  token: not-for-anybody\n"
    schematic = {"customization": {"embeddedMachineConfiguration": text}}
    done = factory.run({"schematic": schematic}, register=True)
    assert done["changes"][0]["after"]["schematic"] == {"customization": {"embeddedMachineConfiguration": HIDDEN}}
    assert "not-for-anybody" not in yaml.safe_dump(done)
    assert text in factory.task.secrets


# -- as people run it ------------------------------------------------------------------------------------------------


def test_the_examples_run_both_ways_with_the_same_result(lab: PlayedLab) -> None:
    results = []
    for in_process in (True, False):
        with FactoryLab() as factory:
            tasks = yaml.safe_load(talos_image.EXAMPLES)
            for task in tasks:
                if "groundwork.homelab.talos_image" in task:
                    task["groundwork.homelab.talos_image"]["factory_url"] = factory.url
            made = play(lab, tasks, "-vvv", "--diff", in_process=in_process)
            assert [result.get("msg") for result in made if result.get("failed")] == []
            assert [result["changed"] for result in made] == [False, False, True]
            assert made[1]["msg"] == made[0]["images"][0]["installer"]
            again = play(lab, tasks, in_process=in_process)
            assert [result["changed"] for result in again] == [False, False, False]
            port = factory.url.rpartition(":")[2]
            results.append([yaml.safe_dump(without_ways(result)).replace(port, "PORT") for result in made])
    assert results[0] == results[1]
