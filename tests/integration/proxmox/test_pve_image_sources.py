# SPDX-License-Identifier: GPL-3.0-or-later
"""Where images come from besides a url: uploads, Proxmox's own list, compressed files; shared storages, sizes, many nodes."""

from __future__ import annotations

import bz2
import collections.abc
import dataclasses
import gzip
import hashlib
import os
import pathlib
import resource
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from playing import play, tasks_of, without_ways
from pve_lab import DISK, ROLE, Outcome, PveLab

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import InvalidInput
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.api.multipart import Multipart
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.images import image_spec, images
from ansible_collections.groundwork.homelab.plugins.modules import proxmox_image
from simlab.proxmox.config import AclConfig, NodeConfig, StorageConfig

ISO = b"\1" * 70000
TEMPLATE = "debian-13-standard_13.1-2_amd64.tar.zst"


@pytest.fixture
def pair(tmp_path: pathlib.Path) -> collections.abc.Iterator[PveLab]:
    """Two nodes with a storage of their own each, and one that they share."""
    lab = PveLab(tmp_path)
    who = ("ansible@pve", "ansible@pve!groundwork")
    lab.config = dataclasses.replace(
        lab.config,
        nodes=(NodeConfig(cores=8), NodeConfig("pve2", address="10.66.0.3")),
        storages=(
            *lab.config.storages,
            StorageConfig("nfs", content=("iso", "import"), path="/mnt/pve/nfs", shared=True),
        ),
        acls=(*lab.config.acls, *(AclConfig("/nodes/pve2", "AnsibleGuests", one) for one in who)),
    )
    with lab:
        yield lab


@pytest.fixture
def iso(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "rescue.iso"
    path.write_bytes(ISO)
    return path


@pytest.fixture
def offered(pve: PveLab) -> list[dict[str, str]]:
    """Proxmox's list has two versions of one template; the newer one can be fetched."""
    pve.files[TEMPLATE] = b"\x28\xb5\x2f\xfd" + b"\0" * 5000
    entries = [
        {
            "template": f"debian-13-standard_{version}_amd64.tar.zst",
            "package": "debian-13-standard",
            "version": version,
            "type": "lxc",
            "location": f"{pve.web}/debian-13-standard_{version}_amd64.tar.zst",
            "sha512sum": hashlib.sha512(pve.files[TEMPLATE]).hexdigest(),
        }
        for version in ("13.1-2", "13.1-1", "9.9-9")
    ]
    pve.config.appliances = tuple(entries)
    return entries


def run(lab: PveLab, *wishes: dict[str, t.Any], check: bool = False) -> Outcome:
    return lab.run(proxmox_image, check=check, images=[{"storage": "local", **wish} for wish in wishes])


def truthful(lab: PveLab, *wishes: dict[str, t.Any]) -> Outcome:
    predicted = run(lab, *wishes, check=True)
    assert not predicted.result.get("failed"), predicted.result
    assert predicted.writes == []
    outcome = run(lab, *wishes)
    assert not outcome.result.get("failed"), outcome.result
    assert (outcome.changes, outcome.result["images"]) == (predicted.changes, predicted.result["images"])
    again = run(lab, *wishes)
    assert (again.changes, again.writes, again.result["changed"]) == ([], [], False)
    return outcome


# -- uploads ---------------------------------------------------------------------------------------------------------


def test_a_file_is_uploaded_with_its_checksum(pve: PveLab, iso: pathlib.Path) -> None:
    outcome = truthful(pve, {"node": "pve1", "content": "iso", "src": str(iso)})
    assert outcome.changes == [
        {"resource": "image/pve1/local:iso/rescue.iso", "action": "create", "after": {"src": str(iso)}}
    ]
    assert outcome.writes == ["POST /nodes/pve1/storage/local/upload"]
    assert (pve.config.root / "pve1" / "local" / "template" / "iso" / "rescue.iso").read_bytes() == ISO
    with pve.session() as session:
        upid = next(one["upid"] for one in session.get("/nodes/pve1/tasks") if one["type"] == "imgcopy")
        log = [line["t"] for line in session.get(f"/nodes/pve1/tasks/{upid}/log")]
    assert "calculating checksum...OK, checksum verified" in log


def test_a_file_of_another_size_is_uploaded_again(pve: PveLab, iso: pathlib.Path) -> None:
    wish = {"node": "pve1", "content": "iso", "src": str(iso)}
    truthful(pve, wish)
    iso.write_bytes(ISO + b"more")
    outcome = truthful(pve, wish)
    assert outcome.changes == [
        {
            "resource": "image/pve1/local:iso/rescue.iso",
            "action": "update",
            "before": {"size": len(ISO)},
            "after": {"src": str(iso), "size": len(ISO) + 4},
        }
    ]
    assert outcome.writes == ["POST /nodes/pve1/storage/local/upload"]


def test_a_file_that_is_not_what_its_checksum_says_is_not_sent(pve: PveLab, iso: pathlib.Path) -> None:
    got = hashlib.sha256(ISO).hexdigest()
    for check in (True, False):
        outcome = run(pve, {"node": "pve1", "content": "iso", "src": str(iso), "checksum": "0" * 64}, check=check)
        assert f"The sha256 checksum of {iso} is {got}, not {'0' * 64}. Nothing was uploaded." in outcome.result["msg"]
        assert outcome.writes == []


def test_a_file_that_is_no_image_is_told_with_the_log(pve: PveLab, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "no.qcow2"
    path.write_bytes(b"not an image")
    outcome = run(pve, {"node": "pve1", "src": str(path)})
    assert "Image is not in qcow2 format" in outcome.result["msg"]
    assert "not of the format that its name says" in outcome.result["msg"]
    assert "TASK ERROR" in outcome.result["error"]["log"][-1]


@pytest.mark.parametrize("fault", ["drop-before", "drop-after", "cut", "garbage"])
def test_an_upload_whose_answer_is_lost_is_looked_after(pve: PveLab, iso: pathlib.Path, fault: str) -> None:
    pve.fault(fault, verb="POST", path="*/upload")
    outcome = run(pve, {"node": "pve1", "content": "iso", "src": str(iso)})
    assert not outcome.result.get("failed"), outcome.result
    assert (pve.config.root / "pve1" / "local" / "template" / "iso" / "rescue.iso").read_bytes() == ISO


@pytest.mark.parametrize("fault", [{"status": 429, "text": "slow down"}, {"status": 500, "text": "got no worker upid"}])
def test_a_busy_server_gets_the_whole_file_again(pve: PveLab, iso: pathlib.Path, fault: dict[str, t.Any]) -> None:
    pve.fault("answer", verb="POST", path="*/upload", **fault)
    outcome = run(pve, {"node": "pve1", "content": "iso", "src": str(iso)})
    assert outcome.result["changed"], outcome.result
    assert (pve.config.root / "pve1" / "local" / "template" / "iso" / "rescue.iso").read_bytes() == ISO


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            {"status": 401, "text": "Authentication failed!"},
            "401 Authentication failed!, asked as ansible@pve!groundwork",
        ),
        ({"status": 302, "text": "Found"}, "the answer is a redirect"),
        ({"status": 400, "text": "Bad Request"}, "Could not upload local:iso/rescue.iso to node pve1"),
    ],
)
def test_an_upload_that_is_refused_is_told(
    pve: PveLab, iso: pathlib.Path, fault: dict[str, t.Any], message: str
) -> None:
    pve.fault("answer", verb="POST", path="*/upload", times=0, **fault)
    outcome = run(pve, {"node": "pve1", "content": "iso", "src": str(iso)})
    assert message in outcome.result["msg"]
    assert outcome.result["changes"] == []


def test_an_upload_is_not_read_into_memory(tmp_path: pathlib.Path) -> None:
    big = tmp_path / "big.iso"
    with big.open("wb") as file:
        file.truncate(300 << 20)
    form = Multipart({"content": "iso"}, str(big), "big.iso")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    total = 0
    for _again in range(2):
        body = form.open()
        total = 0
        while piece := body.read(16384):
            assert len(piece) <= 16384
            total += len(piece)
        body.close()
    assert total == len(form.open())
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30_000


def test_a_password_login_uploads_too(pve: PveLab, iso: pathlib.Path) -> None:
    outcome = pve.run(
        proxmox_image, as_root=True, images=[{"node": "pve1", "storage": "local", "content": "iso", "src": str(iso)}]
    )
    assert outcome.result["changed"], outcome.result


# -- Proxmox's own list ----------------------------------------------------------------------------------------------


def test_the_newest_version_of_a_template_is_taken(pve: PveLab, offered: list[dict[str, str]]) -> None:
    outcome = truthful(pve, {"node": "pve1", "appliance": "debian-13-standard"})
    assert outcome.changes == [
        {"resource": f"image/pve1/local:vztmpl/{TEMPLATE}", "action": "create", "after": {"appliance": TEMPLATE}}
    ]
    assert outcome.writes == ["POST /nodes/pve1/aplinfo"]
    assert f"local:vztmpl/{TEMPLATE}" in pve.volumes()


def test_a_whole_name_asks_for_no_list(pve: PveLab, offered: list[dict[str, str]]) -> None:
    wish = {"node": "pve1", "appliance": TEMPLATE}
    truthful(pve, wish)
    assert [entry.path for entry in run(pve, wish).requests] == ["/nodes/pve1/storage/local/content"]
    assert truthful(pve, {**wish, "state": "absent"}).actions == [f"image/pve1/local:vztmpl/{TEMPLATE} delete"]


def test_a_template_that_nobody_offers_is_said_before_anything_is_written(
    pve: PveLab, offered: list[dict[str, str]]
) -> None:
    outcome = run(pve, {"node": "pve1", "appliance": "debian-99-standard"}, check=True)
    assert "Node pve1 knows no container template 'debian-99-standard'. It knows " in outcome.result["msg"]
    assert "pveam update" in outcome.result["msg"]


def test_a_template_that_can_be_two_is_asked_for_more_closely(pve: PveLab, offered: list[dict[str, str]]) -> None:
    offered[0]["package"] = "debian-13-standard-two"
    outcome = run(pve, {"node": "pve1", "appliance": "debian-13"}, check=True)
    assert "can be debian-13-standard or debian-13-standard-two. Write more of it." in outcome.result["msg"]


# -- urls ------------------------------------------------------------------------------------------------------------


def test_a_compressed_iso_is_decompressed_by_the_node(pve: PveLab) -> None:
    pve.files["fw.iso.gz"] = gzip.compress(ISO)
    wish = {"node": "pve1", "content": "iso", "url": f"{pve.web}/fw.iso.gz", "compression": "gz"}
    outcome = truthful(pve, wish)
    assert outcome.changes[0]["resource"] == "image/pve1/local:iso/fw.iso"
    assert (pve.config.root / "pve1" / "local" / "template" / "iso" / "fw.iso").read_bytes() == ISO


def test_what_is_not_compressed_as_it_says_is_told(pve: PveLab) -> None:
    pve.files["fw.iso.gz"] = bz2.compress(ISO)
    wish = {"node": "pve1", "content": "iso", "url": f"{pve.web}/fw.iso.gz", "compression": "gz"}
    assert "Is the file compressed as compression says?" in run(pve, wish).result["msg"]


def test_a_file_that_is_replaced_under_its_address_is_followed(pve: PveLab) -> None:
    pve.files["latest.iso"] = ISO
    wish = {"node": "pve1", "content": "iso", "url": f"{pve.web}/latest.iso", "compare": "size"}
    truthful(pve, wish)
    pve.files["latest.iso"] = ISO + b"\2"
    outcome = truthful(pve, wish)
    assert outcome.actions == ["image/pve1/local:iso/latest.iso update"]
    assert (
        outcome.writes
        == [
            "DELETE /nodes/pve1/storage/local/content/local:iso%2Flatest.iso",
            "POST /nodes/pve1/storage/local/download-url",
        ]
        or len(outcome.writes) == 2
    )
    assert run(pve, {**wish, "compare": "name"}).changes == []


def test_a_server_that_does_not_answer_for_the_size_changes_nothing(pve: PveLab) -> None:
    pve.files["latest.iso"] = ISO
    wish = {"node": "pve1", "content": "iso", "url": f"{pve.web}/latest.iso", "compare": "size"}
    truthful(pve, wish)
    del pve.files["latest.iso"]
    outcome = run(pve, wish)
    assert "invalid server response: '404" in outcome.result["msg"]
    assert "compare=name does not ask" in outcome.result["msg"]
    assert outcome.writes == []


def test_another_checksum_is_another_file_when_the_name_has_it(pve: PveLab) -> None:
    digest = hashlib.sha256(DISK).hexdigest()
    wish = {"node": "pve1", "url": f"{pve.web}/talos.qcow2", "checksum": digest, "checksum_in_name": True}
    outcome = truthful(pve, wish)
    assert outcome.result["images"][0]["volid"] == f"local:import/talos-{digest[:12]}.qcow2"
    other = run(pve, {**wish, "checksum": "ab" * 32}, check=True)
    assert other.actions == ["image/pve1/local:import/talos-abababababab.qcow2 create"]


# -- nodes and storages ----------------------------------------------------------------------------------------------


def test_a_shared_storage_gets_a_file_once(pair: PveLab) -> None:
    wish = {"nodes": ["pve1", "pve2"], "storage": "nfs", "url": f"{pair.web}/talos.qcow2"}
    outcome = truthful(pair, wish)
    assert outcome.actions == ["image/pve1/nfs:import/talos.qcow2 create"]
    assert [(one["node"], one["changed"]) for one in outcome.result["images"]] == [("pve1", True), ("pve2", False)]
    gone = truthful(pair, {**wish, "url": None, "filename": "talos.qcow2", "state": "absent"})
    assert gone.actions == ["image/pve1/nfs:import/talos.qcow2 delete"]


def test_nodes_work_side_by_side_and_one_that_fails_stops_no_other(pair: PveLab) -> None:
    wish = {"nodes": ["pve1", "pve2"], "url": f"{pair.web}/talos.qcow2"}
    pair.fault("task-error", verb="POST", path="/nodes/pve2/*download-url", text="download failed: exit code 8")
    outcome = run(pair, wish)
    assert outcome.result["failed"]
    assert outcome.result["changed"]
    assert [change["resource"] for change in outcome.result["changes"]] == ["image/pve1/local:import/talos.qcow2"]
    again = run(pair, wish)
    assert again.actions == ["image/pve2/local:import/talos.qcow2 create"]


# -- before anything is written --------------------------------------------------------------------------------------


def test_rights_are_those_of_what_is_done(tmp_path: pathlib.Path, iso: pathlib.Path) -> None:
    """An upload needs no access to the network; replacing a download needs the right to delete."""
    few = [one for one in ROLE if one not in ("Sys.AccessNetwork", "Datastore.Allocate")]
    with PveLab(tmp_path / "lab", rights=few) as lab:
        assert run(lab, {"node": "pve1", "content": "iso", "src": str(iso)}).result["changed"]
        outcome = run(lab, {"node": "pve1", "url": f"{lab.web}/talos.qcow2"}, check=True)
        assert "Sys.AccessNetwork or Sys.Modify on /nodes/pve1" in outcome.result["msg"]
        absent = {"node": "pve1", "content": "iso", "filename": "rescue.iso", "state": "absent"}
        outcome = run(lab, absent)
        assert "Datastore.Allocate on /storage/local" in outcome.result["msg"]
        assert outcome.writes == []


def test_a_file_that_does_not_fit_is_not_sent(tmp_path: pathlib.Path, iso: pathlib.Path) -> None:
    lab = PveLab(tmp_path / "lab")
    small = StorageConfig("local", content=("iso",), path="/var/lib/vz", capacity=50000, used=0)
    lab.config = dataclasses.replace(lab.config, storages=(small,))
    with lab:
        outcome = run(lab, {"node": "pve1", "content": "iso", "src": str(iso)}, check=True)
        assert f"{iso} has 70000 bytes, but the storage local of node pve1 only " in outcome.result["msg"]


BAD: list[tuple[dict[str, t.Any], str]] = [
    ({"node": "pve1", "nodes": ["pve2"], "url": "http://x.test/a.qcow2"}, "node and nodes are both given"),
    ({"url": "http://x.test/a.qcow2"}, "node is missing. Give node, or nodes for several."),
    ({"nodes": ["pve1", "a/b"], "url": "http://x.test/a.qcow2"}, "node 'a/b' is not valid"),
    ({"node": "pve1", "content": "snippets", "src": "/etc/hostname"}, "The API of Proxmox VE takes no snippets, neither by upload nor from a url. Put it into"),
    ({"node": "pve1", "src": "/none/there.iso", "content": "iso"}, "src /none/there.iso is no file that can be read, or is empty."),
    ({"node": "pve1", "src": "/tmp", "filename": "a.iso", "content": "iso"}, "src /tmp is no file that can be read, or is empty."),
    ({"node": "pve1", "src": "/etc/hostname", "url": "http://x.test/a.iso"}, "url and src are given. Only one of them"),
    ({"node": "pve1", "appliance": "debian", "content": "iso"}, "appliance is a container template. Set content to vztmpl"),
    ({"node": "pve1", "appliance": "debian 12"}, "appliance 'debian 12' is not valid"),
    ({"node": "pve1", "appliance": "debian", "checksum": "0" * 64}, "checksum is given with appliance"),
    ({"node": "pve1", "appliance": "debian", "state": "absent"}, "To delete one, write its whole name."),
    ({"node": "pve1", "url": "http://x.test/a.qcow2.gz", "compression": "gz"}, "Nodes decompress images of content iso only."),
    ({"node": "pve1", "url": "http://x.test/a.iso", "content": "iso", "compression": "xz"}, "value of compression must be one of: gz, lzo, zst, bz2, got: xz"),
    ({"node": "pve1", "url": "http://x.test/a.qcow2", "checksum_in_name": True}, "checksum_in_name needs a checksum and a url or src, and no filename"),
    ({"node": "pve1", "url": "http://x.test/a.iso.gz", "content": "iso", "compression": "gz", "compare": "size"}, "compare is size, but the size of what is decompressed"),
    ({"node": "pve1", "url": "http://x.test/a.qcow2", "compare": "checksum"}, "value of compare must be one of: name, size, got: checksum"),
]  # fmt: skip


@pytest.mark.parametrize(("wish", "message"), BAD, ids=[str(number) for number in range(len(BAD))])
def test_bad_input_is_said_and_asks_nobody(pve: PveLab, wish: dict[str, t.Any], message: str) -> None:
    mark = pve.ledger.mark()
    try:
        text = run(pve, wish).result["msg"]
    except AssertionError as error:
        text = str(error)
    assert message in text
    assert pve.ledger.entries(mark) == []


# -- the plan, without a network -------------------------------------------------------------------------------------

SIZES = st.sampled_from([1, 5, 9])
WISHES = st.lists(
    st.fixed_dictionaries(
        {
            "nodes": st.lists(st.sampled_from(["n1", "n2"]), min_size=1, max_size=2, unique=True),
            "storage": st.sampled_from(["own", "nfs"]),
            "filename": st.sampled_from(["a.iso", "b.iso", "c.iso"]),
            "url": st.just("http://x.test/file.iso"),
            "content": st.just("iso"),
            "state": st.sampled_from(["present", "absent"]),
            "compare": st.sampled_from(["name", "size"]),
        }
    ),
    min_size=1,
    max_size=4,
)
PLACES = [(node, storage) for node in ("n1", "n2") for storage in ("own", "nfs")]
STORAGES = {(node, storage): {"shared": int(storage == "nfs")} for node, storage in PLACES}


@settings(max_examples=60, deadline=None)
@given(WISHES, st.dictionaries(st.sampled_from(["a.iso", "b.iso", "c.iso"]), SIZES), SIZES)
def test_what_is_planned_is_what_will_be(wishes: list[dict[str, t.Any]], there: dict[str, int], upstream: int) -> None:
    try:
        wanted = image_spec.wanted(wishes)
    except InvalidInput:
        return  # one file wanted in two ways
    states = {(image.storage == "nfs" or image.node, image.volid): image.state for image in wanted}
    if any(states[(image.storage == "nfs" or image.node, image.volid)] != image.state for image in wanted):
        return  # the same on a shared storage, which is not known before it is read
    contents = {
        (node, storage): {f"{storage}:iso/{name}": size for name, size in there.items()} for node, storage in PLACES
    }
    sizes = {(image.node, image.url): upstream for image in wanted}
    made = images.once(images.plan(wanted, contents, sizes), STORAGES)
    for change in made:
        image = change.operation
        nodes = ("n1", "n2") if image.storage == "nfs" else (image.node,)
        for node in nodes:
            place = contents[(node, image.storage)]
            if change.action == "delete":
                assert place.pop(image.volid) == change.before["size"]
            else:
                assert (image.volid in place) == (change.action == "update")
                place[image.volid] = upstream
    for image in wanted:
        assert (image.volid in contents[image.place]) == (image.state == "present")
    assert not images.plan(wanted, contents, sizes)


def test_the_examples_run_the_same_in_both_ways(pair: PveLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pair.root)
    (pair.root / "files").mkdir()
    (pair.root / "files" / "rescue.iso").write_bytes(ISO)
    pair.files |= {"debian-13-amd64.qcow2": DISK, "firewall.iso.gz": gzip.compress(ISO), "latest.qcow2": DISK}
    entry = {
        "template": TEMPLATE.replace("13", "12"),
        "package": "debian-12-standard",
        "version": "12.1",
        "location": f"{pair.web}/template",
        "sha512sum": hashlib.sha512(b"x" * 99).hexdigest(),
    }
    pair.files["template"] = b"x" * 99
    examples = proxmox_image.EXAMPLES.replace("https://cloud.example.org", pair.web)
    examples = examples.replace("files/rescue.iso", str(pair.root / "files" / "rescue.iso"))
    pair.config.appliances = (entry,)
    (pair.config.root / "pve1" / "local" / "import" / "debian-12-amd64.qcow2").write_bytes(DISK)
    tasks = tasks_of(pair, examples)
    here, there = (play(pair, tasks, "--check", "--diff", in_process=way) for way in (True, False))
    assert [without_ways(one) for one in here] == [without_ways(one) for one in there]
    results = play(pair, tasks, in_process=False)
    assert [one.get("msg") for one in results if one.get("failed")] == []
    assert [one["changes"] for one in results] == [one["changes"] for one in here]
    assert all(one["changed"] for one in results)
    assert os.listdir(pair.config.root / "pve2" / "local" / "template" / "cache") == [entry["template"]]
