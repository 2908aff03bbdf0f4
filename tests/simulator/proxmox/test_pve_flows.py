# SPDX-License-Identifier: GPL-3.0-or-later
"""What other clients do from begin to end, with one of them (proxmoxer), against the server that ``make simulated-proxmox`` starts."""

from __future__ import annotations

import pathlib
import time
import typing as t
import urllib.parse

import asked
import proxmoxer
import pytest

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ6Yq0u2Tn0p9qM3m0o1m2Zp0oYvG2VnN0gk4yTt1oXk a@b"
TEMPLATE = "local:vztmpl/mini_1.0_amd64.tar.gz"
DISK = "local:1,format=qcow2"


class Pve:
    """A client, its node, and waiting for tasks."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.api = self.as_("root@pam", password=asked.PASSWORD)
        self.node = self.api.nodes("pve1")

    def as_(self, user: str, **login: str) -> t.Any:
        return proxmoxer.ProxmoxAPI("127.0.0.1", port=self.port, user=user, verify_ssl=False, timeout=20, **login)

    def ends(self, upid: str) -> str:
        """The exit status of a task."""
        for _ in range(1000):
            state = self.node.tasks(upid).status.get()
            if state["status"] == "stopped":
                return str(state["exitstatus"])
            time.sleep(0.01)
        raise AssertionError(f"{upid} does not end")

    def done(self, upid: str) -> None:
        status = self.ends(upid)
        assert status == "OK", (status, self.node.tasks(upid).log.get())

    def vm(self, vmid: int, **options: t.Any) -> t.Any:
        self.done(self.node.qemu.post(vmid=vmid, **{"memory": 256, "kvm": 0, "scsi0": DISK, **options}))
        return self.node.qemu(vmid)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[int]:
    with asked.listening(tmp_path_factory.mktemp("proxmox")) as port:
        yield port


@pytest.fixture
def pve(port: int) -> Pve:
    return Pve(port)


def refused(what: t.Callable[[], t.Any]) -> str:
    with pytest.raises(proxmoxer.ResourceException) as error:
        what()
    return str(error.value)


pytestmark = pytest.mark.filterwarnings("ignore:Unverified HTTPS request")


def test_a_vm_from_a_cloud_image(pve: Pve) -> None:
    store = pve.node.storage("local")
    wanted = {"content": "import", "filename": "cloud.qcow2", "url": "http://127.0.0.1:9000/dl.qcow2"}
    pve.done(store("download-url").post(**wanted, **{"verify-certificates": 0}))
    vm = pve.vm(
        int(pve.api.cluster.nextid.get()), name="web", cores=2, machine="q35", bios="ovmf", agent="enabled=1",
        efidisk0="local:0,efitype=4m,pre-enrolled-keys=0,format=qcow2", tpmstate0="local:1,version=v2.0",
        scsihw="virtio-scsi-single", scsi0="local:0,import-from=local:import/cloud.qcow2,discard=on,iothread=1",
        ide2="local:cloudinit", boot="order=scsi0", net0="virtio,bridge=vmbr0", serial0="socket", vga="serial0",
        ciuser="ops", cipassword="pw12345", sshkeys=urllib.parse.quote(KEY, safe=""), ipconfig0="ip=10.0.0.5/24,gw=10.0.0.1",
    )  # fmt: skip
    pve.done(vm.resize.put(disk="scsi0", size="20G"))
    assert "size=20G" in vm.config.get()["scsi0"]
    vm.cloudinit.put()
    assert "ops" in vm.cloudinit.dump.get(type="user")
    pve.done(vm.status.start.post())
    assert vm.status.current.get()["status"] == "running"
    assert "QEMU guest agent is not running" in refused(vm.agent("network-get-interfaces").get)
    assert len(vm.rrddata.get(timeframe="hour")) > 1
    assert pve.ends(vm.status.shutdown.post(timeout=1)) == "VM quit/powerdown failed - got timeout"
    pve.done(vm.status.shutdown.post(timeout=1, forceStop=1))
    pve.done(vm.delete(purge=1, **{"destroy-unreferenced-disks": 1}))
    pve.done(store.content("local:import/cloud.qcow2").delete())


def test_templates_full_and_linked_clones(pve: Pve) -> None:
    template = pve.vm(
        900, scsi0="local:0,import-from=local:import/test.qcow2", net0="virtio,bridge=vmbr0", ide2="local:cloudinit"
    )
    pve.done(template.template.post())
    pve.done(template.clone.post(newid=901, name="full", full=1, storage="local"))
    pve.done(template.clone.post(newid=902, name="linked"))
    linked = pve.node.qemu(902)
    assert linked.config.get()["scsi0"].startswith("local:900/base-900-disk-0.qcow2/902/")
    pve.done(linked.status.start.post())
    assert "still in use by linked cloned" in pve.ends(template.delete())
    pve.done(linked.status.stop.post())
    for vmid in (902, 901, 900):
        pve.done(pve.node.qemu(vmid).delete())


def test_snapshots(pve: Pve) -> None:
    vm = pve.vm(910)
    pve.done(vm.snapshot.post(snapname="s1", description="one"))
    vm.config.put(cores=2)
    pve.done(vm.snapshot.post(snapname="s2"))
    assert [(one["name"], one.get("parent")) for one in vm.snapshot.get()][:2] == [("s1", None), ("s2", "s1")]
    pve.done(vm.snapshot("s1").rollback.post(start=1))
    assert "cores" not in vm.config.get() and vm.status.current.get()["status"] == "running"
    pve.done(vm.snapshot("s2").delete())
    pve.done(vm.status.stop.post())
    pve.done(vm.delete())


def test_a_container_from_its_template_to_its_end(pve: Pve) -> None:
    wanted = {
        "vmid": 920, "ostemplate": TEMPLATE, "hostname": "ct1", "password": "secret12", "rootfs": "local:2",
        "memory": 256, "net0": "name=eth0,bridge=vmbr0,ip=dhcp", "features": "nesting=1", "start": 1,
        "ssh-public-keys": KEY,
    }  # fmt: skip
    pve.done(pve.node.lxc.post(**wanted))
    ct = pve.node.lxc(920)
    assert ct.status.current.get()["status"] == "running"
    assert [one["name"] for one in ct.interfaces.get()] == ["lo", "eth0"]
    ct.config.put(mp0="local:1,mp=/data")
    pve.done(ct.resize.put(disk="rootfs", size="+1G"))
    pve.done(ct.status.stop.post())
    pve.done(ct.clone.post(newid=921, hostname="copy", full=1))
    pve.done(ct.move_volume.post(volume="rootfs", storage="dir2"))
    for vmid in (921, 920):
        pve.done(pve.node.lxc(vmid).delete(purge=1, force=1))


def test_backup_and_restore(pve: Pve) -> None:
    vm = pve.vm(940, net0="virtio,bridge=vmbr0", description="the original")
    pve.done(pve.node.vzdump.post(vmid=940, storage="local", compress="zstd", **{"notes-template": "{{guestname}}"}))
    store = pve.node.storage("local")
    volid = store.content.get(content="backup", vmid=940)[0]["volid"]
    assert "memory: 256" in pve.node.vzdump.extractconfig.get(volume=volid)
    pve.done(pve.node.qemu.post(vmid=941, archive=volid, storage="dir2", unique=1))
    copy, original = pve.node.qemu(941).config.get(), vm.config.get()
    assert copy["description"] == "the original" and copy["scsi0"].startswith("dir2:941/vm-941-disk-0.")
    assert copy["net0"] != original["net0"] and copy["vmgenid"] != original["vmgenid"]
    assert "VM 940 already exists on node 'pve1'" in refused(lambda: pve.node.qemu.post(vmid=940, archive=volid))
    vm.config.put(memory=512)
    pve.done(pve.node.qemu.post(vmid=940, archive=volid, force=1))
    assert vm.config.get()["memory"] == "256" and vm.config.get()["net0"] == original["net0"]
    store.content(volid).put(protected=1)
    assert [one["mark"] for one in store.prunebackups.get(**{"prune-backups": "keep-last=1"})] == ["protected"]
    store.content(volid).put(protected=0)
    assert [one["mark"] for one in store.prunebackups.get(**{"prune-backups": "keep-daily=1"})] == ["keep"]
    pve.done(store.content(volid).delete())
    for vmid in (940, 941):
        pve.done(pve.node.qemu(vmid).delete())


def test_pools_with_their_members(pve: Pve) -> None:
    pve.api.pools.post(poolid="lab", comment="c")
    vm = pve.vm(930, pool="lab")
    pve.api.pools("lab").put(storage="dir2")
    members = pve.api.pools.get(poolid="lab")[0]["members"]
    assert sorted(one["id"] for one in members) == ["qemu/930", "storage/pve1/dir2"]
    assert "is not empty" in refused(pve.api.pools("lab").delete)
    pve.api.pools("lab").put(storage="dir2", delete=1)
    pve.done(vm.delete())
    pve.api.pools("lab").delete()


def test_a_user_a_role_a_token_and_its_end(pve: Pve) -> None:
    access = pve.api.access
    access.roles.post(
        roleid="Lab", privs="VM.Audit,VM.Allocate,VM.Config.Disk,Datastore.AllocateSpace,VM.Config.Options"
    )
    access.users.post(userid="bob@pve", password="longpassword")
    access.acl.put(path="/vms", roles="Lab", users="bob@pve")
    access.acl.put(path="/storage/local", roles="Lab", users="bob@pve")
    token = access.users("bob@pve").token("ci").post(privsep=0)
    bobs = pve.as_("bob@pve", token_name="ci", token_value=token["value"])
    pve.done(bobs.nodes("pve1").qemu.post(vmid=960, scsi0=DISK))
    bobs.nodes("pve1").qemu(960).config.put(name="bobs")
    assert "(/vms/960, VM.Config.Memory)" in refused(lambda: bobs.nodes("pve1").qemu(960).config.put(memory=1024))
    access.users("bob@pve").token("ci").delete()
    assert "401" in refused(bobs.version.get)
    pve.done(pve.node.qemu(960).delete())
    access.users("bob@pve").delete()
    access.roles("Lab").delete()
    assert not [one for one in access.acl.get() if one["ugid"].startswith("bob@pve")]


def test_disks_are_moved_reassigned_and_pending_values_reverted(pve: Pve) -> None:
    vm = pve.vm(990, scsi1="local:1")
    pve.done(vm.move_disk.post(disk="scsi1", storage="dir2", delete=1))
    pve.done(vm.move_disk.post(disk="scsi0", storage="local", format="raw"))
    vm.unlink.put(idlist="unused0", force=1)
    pve.done(vm.status.start.post())
    vm.config.put(memory=1024, cores=2)
    assert sorted(one["key"] for one in vm.pending.get() if "pending" in one) == ["cores", "memory"]
    vm.config.put(revert="memory,cores")
    assert not [one for one in vm.pending.get() if "pending" in one]
    pve.done(vm.status.stop.post())
    other = pve.vm(991, scsi0="none,media=cdrom")
    pve.done(vm.move_disk.post(disk="scsi1", **{"target-vmid": 991, "target-disk": "scsi1"}))
    assert other.config.get()["scsi1"].startswith("dir2:991/")
    for one in (vm, other):
        pve.done(one.delete())


def test_firewall_of_the_datacenter_the_node_and_a_vm(pve: Pve) -> None:
    vm = pve.vm(970)
    for scope in (pve.api.cluster.firewall, pve.node.firewall, vm.firewall):
        scope.rules.post(type="in", action="ACCEPT", proto="tcp", dport="22", enable=1, comment="ssh")
        scope.rules(0).put(dport="2222")
        assert scope.rules(0).get()["dport"] == "2222"
        scope.rules(0).delete()
    sets = pve.api.cluster.firewall.ipset
    sets.post(name="lan")
    sets("lan").post(cidr="10.0.0.0/24")
    sets("lan")("10.0.0.0/24").delete()  # with its slash, as clients send it
    assert sets("lan").get() == []
    sets("lan").delete()
    pve.done(vm.delete())


def test_a_task_is_watched_and_stopped(pve: Pve) -> None:
    vm = pve.vm(980)
    upid = pve.node.vzdump.post(vmid=980, storage="local")
    pve.node.tasks(upid).delete()
    assert pve.ends(upid) in ("interrupted by signal", "OK")
    assert upid in [one["upid"] for one in pve.node.tasks.get(vmid=980)]
    assert any(upid in one["msg"] for one in pve.api.cluster.log.get(max=500))
    pve.done(vm.delete())


def test_mappings_and_a_vm_that_uses_them(pve: Pve) -> None:
    mapping = pve.api.cluster.mapping
    mapping.pci.post(id="gpu", map=["node=pve1,path=0000:01:00.0,id=10de:1234"])
    mapping.usb.post(id="stick", map=["node=pve1,id=10c4:ea60"])
    vm = pve.vm(995, hostpci0="mapping=gpu", usb0="mapping=stick", machine="q35")
    assert vm.config.get()["hostpci0"] == "mapping=gpu"
    pve.done(vm.delete())
    mapping.pci("gpu").delete()
    mapping.usb("stick").delete()


def test_ha_resources_and_rules(pve: Pve) -> None:
    vm, ha = pve.vm(971), pve.api.cluster.ha
    ha.resources.post(sid="vm:971", state="stopped")
    ha.rules.post(rule="near", type="node-affinity", resources="vm:971", nodes="pve1:2", strict=1)
    ha.rules("near").put(type="node-affinity", comment="c")
    assert ha.rules("near").get()["comment"] == "c"
    assert "vm:971" in [one.get("sid") for one in ha.status.current.get()]
    assert "migrated to rules" in refused(lambda: ha.groups.post(group="g1", nodes="pve1"))
    assert "used in HA resources" in refused(vm.delete)
    ha.rules("near").delete()
    pve.done(vm.delete(purge=1))
    assert ha.resources.get() == []


def test_a_storage_with_an_upload_and_a_bridge(pve: Pve, tmp_path: pathlib.Path) -> None:
    pve.api.storage.post(storage="extra", type="dir", path="/mnt/extra", content="iso")
    iso = tmp_path / "up.iso"
    iso.write_bytes(b"\0" * 40000)
    with iso.open("rb") as file:
        pve.done(pve.node.storage("extra").upload.post(content="iso", filename=file))
    assert [one["volid"] for one in pve.node.storage("extra").content.get()] == ["extra:iso/up.iso"]
    pve.api.storage("extra").delete()
    pve.node.network.post(iface="vmbr9", type="bridge", autostart=1, cidr="10.9.0.1/24")
    assert "vmbr9" in [one["iface"] for one in pve.node.network.get(type="bridge")]
    pve.done(pve.node.network.put())
    vm = pve.vm(997, net0="virtio,bridge=vmbr9")
    pve.done(vm.status.start.post())
    pve.done(vm.status.stop.post())
    pve.done(vm.delete())
    pve.node.network("vmbr9").delete()
    pve.node.network.delete()  # back to what runs
    assert pve.node.network("vmbr9").get()["address"] == "10.9.0.1"
