# SPDX-License-Identifier: GPL-3.0-or-later
"""The suite on a server of a person's own: here a played one stands for it. What it makes there goes, and only that."""

from __future__ import annotations

import pathlib
import re
import signal
import ssl
import subprocess
import sys
import time
import typing as t

import judgement
import pve_external
import pytest
from pve_lab import ENVIRONMENT, PveLab
from pve_names import IDS, TOKEN, Names
from pve_passage import Account, Passage

from ansible_collections.groundwork.homelab.plugins.modules import proxmox_snapshot, proxmox_vm
from simlab.faults import Faults
from simlab.ledger import Ledger

pytestmark = pytest.mark.needs_played("another one stands for the person's")

SMALL = {"node": "pve1", "state": "stopped", "memory": 256}
TEMPLATE = {**SMALL, "vmid": 200, "name": "golden", "template": True, "disks": [{"storage": "local", "size": "1G"}]}
COPY = {**SMALL, "vmid": 201, "name": "copy", "clone": {"vmid": 200}}


@pytest.fixture
def server(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[PveLab]:
    (tmp_path / "server").mkdir()
    (tmp_path / "suite").mkdir()
    with PveLab(tmp_path / "server", also={"AnsiblePools": ("/pool",)}) as lab:
        monkeypatch.setitem(ENVIRONMENT, "PVE", f"https://127.0.0.1:{lab.port}")
        monkeypatch.setitem(ENVIRONMENT, "PROXMOX_CA_PATH", lab.ca_path)
        monkeypatch.setattr(pve_external.ExternalPve, "unfit", "")
        yield lab


@pytest.fixture
def root(server: PveLab, monkeypatch: pytest.MonkeyPatch) -> PveLab:
    monkeypatch.setitem(ENVIRONMENT, "PROXMOX_USER", "root@pam")
    monkeypatch.setitem(ENVIRONMENT, "PROXMOX_PASSWORD", "root-not-a-secret")
    return server


def suite(tmp_path: pathlib.Path, **more: t.Any) -> PveLab:
    """As a test makes it."""
    return PveLab(tmp_path / "suite", **more)


def left(server: PveLab) -> tuple[list[int], list[str], list[str]]:
    with server.session() as session:
        pools = [one["poolid"] for one in session.get("/pools")]
    return server.vmids(), pools, [one for one in server.volumes() if one != "local:import/there.qcow2"]


def test_a_copy_and_its_template_go_after_the_test(root: PveLab, tmp_path: pathlib.Path) -> None:
    root.do("/nodes/pve1/qemu", vmid=9001, name="of-the-person")
    with suite(tmp_path) as lab:
        for wish in (TEMPLATE, COPY):
            outcome = lab.run(proxmox_vm, vms=[wish])
            assert not outcome.result.get("failed"), outcome.result
        assert lab.vmids() == [200, 201]
        assert root.vmids()[0] == 9001 and len(root.vmids()) == 3
    assert left(root) == ([9001], [], [])


def test_the_next_test_takes_other_ids(root: PveLab, tmp_path: pathlib.Path) -> None:
    seen: list[int] = []
    for _test in range(2):
        with suite(tmp_path) as lab:
            lab.do("/nodes/pve1/qemu", vmid=200, name="small")
            seen += root.vmids()
            with lab.session() as session:
                tasks = session.get("/nodes/pve1/tasks", {"vmid": 200, "source": "all"})
            assert [task["type"] for task in tasks] == ["qmcreate"]
    assert len(set(seen)) == 2


def test_a_lost_answer_of_the_tests_token_is_found_by_its_task(root: PveLab, tmp_path: pathlib.Path) -> None:
    """The person's account is another one, and the tests must not see that."""
    with suite(tmp_path) as lab:
        lab.do("/nodes/pve1/qemu", vmid=200, name="small", scsi0="local:1,format=qcow2")
        lab.do("/nodes/pve1/qemu/200/snapshot", snapname="one")
        lab.fault("drop-after", verb="POST", path="*/rollback")
        outcome = lab.run(proxmox_snapshot, snapshots=[{"vmid": 200, "name": "one", "state": "rolled_back"}])
        assert (outcome.result.get("failed"), len(outcome.writes)) == (None, 1), outcome.result


def test_a_token_alone_with_the_documented_roles_is_enough(
    server: PveLab, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENVIRONMENT, "PROXMOX_TOKEN_ID", TOKEN)
    monkeypatch.setitem(ENVIRONMENT, "PROXMOX_TOKEN_SECRET", "token-not-a-secret")
    with suite(tmp_path) as lab:
        lab.do("/nodes/pve1/qemu", vmid=200, name="small")
        assert not lab.run(proxmox_vm, vms=[{**SMALL, "vmid": 200, "name": "small"}]).result.get("failed")
        assert (lab.vmids(), lab.beyond) == ([200], "")
        assert lab.run(proxmox_vm, as_root=True, vms=[{**SMALL, "vmid": 200, "name": "small"}]).result["failed"]
        assert "no password of root@pam was given" in lab.beyond
    with suite(tmp_path, also={"AnsiblePools": ("/pool", "/pool/lab")}) as lab:
        assert lab.vmids() == []
    with pytest.raises(pytest.skip.Exception, match="a token with the role AnsibleSystem on /,"):
        suite(tmp_path, also={"AnsibleSystem": ("/",)}).__enter__()
    assert left(server) == ([], [], [])


def test_a_node_that_cannot_fetch_from_here_is_said_once(
    root: PveLab, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENVIRONMENT, "PVE_WEB", "127.0.0.9")
    monkeypatch.setattr(pve_external.ExternalPve, "listen", staticmethod(PveLab.listen))
    for _test in range(2):
        with pytest.raises(RuntimeError, match="cannot fetch http://127.0.0.9:.*PVE_WEB"):
            suite(tmp_path).__enter__()
    with root.session() as session:
        downloads = session.get("/nodes/pve1/tasks", {"typefilter": "download", "source": "all"})
    assert len(downloads) == 1


def test_a_storage_without_images_is_said(
    root: PveLab, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENVIRONMENT, "PVE_STORAGE", "isoonly")
    with pytest.raises(RuntimeError, match="isoonly .PVE_STORAGE. may not hold images, import, rootdir, vztmpl"):
        suite(tmp_path).__enter__()


# -- names -----------------------------------------------------------------------------------------------------------


def named(vmid: int = 200) -> Names:
    names = Names("pve1", {"local": "local"})
    assert names.there(vmid) == 9001
    return names


def test_only_what_is_an_id_is_taken_for_one() -> None:
    names = named()
    upid = "UPID:pve1:000A9001:0F9001AB:6B02490A:qmstart:9001:root@pam:"
    here = names.data_here({"digest": "a9001b", "upid": upid, "volid": "local:9001/vm-9001-disk-0.raw"})
    assert here == {
        "digest": "a9001b",
        "upid": "UPID:pve1:000A9001:0F9001AB:6B02490A:qmstart:200:root@pam:",
        "volid": "local:200/vm-200-disk-0.raw",
    }
    assert names.path_there(f"/nodes/pve1/tasks/{here['upid']}/status") == f"/nodes/pve1/tasks/{upid}/status"
    backup = "nas:backup/vzdump-qemu-200-2026_01_01-00_00_00.vma.zst"
    assert names.value_there("archive", backup) == backup.replace("-200-", "-9001-")


def test_the_last_id_is_followed_by_the_first() -> None:
    names = Names("pve1", {}, first=IDS[-1])
    assert (names.next, names.there(200), names.next) == (IDS[-1], IDS[-1], IDS[0])
    assert (names.there(201), names.next) == (IDS[0], IDS[1])


def test_the_persons_template_shows_when_a_test_has_put_one_there() -> None:
    names = named()
    names.template = "local:vztmpl/debian.tar.zst"
    passage = Passage("", names, Account(), ssl.create_default_context(), Ledger(), Faults())
    entry = {"volid": names.template, "content": "vztmpl"}
    passage.before = {names.template}
    assert not passage._is_ours("/nodes/pve1/storage/local/content", entry)
    names.template_here = "local:vztmpl/mine.tar.zst"
    assert passage._is_ours("/nodes/pve1/storage/local/content", entry)


def test_nothing_else_of_the_persons_server_is_seen() -> None:
    names = Names("red", {"local": "tank", "isoonly": "files"}, bridge="vmbr7")
    names.contents = {"local": ("images", "iso"), "isoonly": ("iso",)}
    passage = Passage("", names, Account(), ssl.create_default_context(), Ledger(), Faults())

    def seen(path: str, *entries: dict[str, t.Any]) -> list[dict[str, t.Any]]:
        return [names.data_here(entry) for entry in entries if passage._is_ours(path, entry)]

    assert seen("/nodes", {"node": "red"}, {"node": "blue"}) == [{"node": "pve1"}]
    bridges = [{"iface": name, "type": "bridge"} for name in ("vmbr0", "vmbr7")]
    assert seen("/nodes/pve1/network", *bridges) == [{"iface": "vmbr0", "type": "bridge"}]
    storages = [{"storage": name, "content": "backup,iso,images"} for name in ("tank", "files", "local")]
    assert seen("/nodes/pve1/storage", *storages) == [
        {"storage": "local", "content": "images,iso"},
        {"storage": "isoonly", "content": "iso"},
    ]


def test_who_has_no_storage_without_images_sees_those_tests_skipped(
    server: PveLab, root: PveLab, tmp_path: pathlib.Path
) -> None:
    with server.session() as session:
        session.delete("/storage/isoonly", asked="as on a new node")
    with suite(tmp_path) as lab, pytest.raises(pytest.skip.Exception, match="PVE_ISO_STORAGE"):
        lab.run(proxmox_vm, vms=[{**SMALL, "vmid": 200, "name": "a", "disks": [{"storage": "isoonly", "size": "1G"}]}])


# -- Ctrl-C ----------------------------------------------------------------------------------------------------------

SUITE = pathlib.Path(__file__).with_name("test_pve_vm.py")


@pytest.mark.parametrize(
    ("slow", "moment"),
    [("*/download-url", lambda found: found[1]), ("/nodes/pve1/qemu", lambda found: found[0])],
    ids=["while a test is prepared", "in the middle of a test"],
)
def test_what_was_made_goes_when_the_suite_is_interrupted(
    root: PveLab, slow: str, moment: t.Callable[[tuple[list[int], list[str], list[str]]], bool]
) -> None:
    """One Ctrl-C, as soon as there is a pool, or a guest, of the tests' own; the task that made it still runs."""
    root.fault("task-time", verb="POST", path=slow, times=0, seconds=1.0)
    child = interrupted(root, moment)
    output = child.communicate(timeout=180)[0]
    assert child.returncode == pytest.ExitCode.INTERRUPTED, output
    assert "KeyboardInterrupt" in output
    assert not re.search("Traceback|Error", output), output
    assert left(root) == ([], [], [])


def interrupted(
    root: PveLab, moment: t.Callable[[tuple[list[int], list[str], list[str]]], bool]
) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(SUITE)]
    environment = {key: value for key, value in ENVIRONMENT.items() if key != judgement.VARIABLE}
    child = subprocess.Popen(
        command,
        env={**environment, "PVE_KVM": "0", "PVE_ISO_STORAGE": "isoonly"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # Who was started in the background of a shell ignores it, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    end = time.monotonic() + 180
    while not moment(left(root)):
        assert child.poll() is None and time.monotonic() < end, child.communicate()[0]
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    return child
