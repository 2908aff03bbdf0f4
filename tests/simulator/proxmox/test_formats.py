# SPDX-License-Identifier: GPL-3.0-or-later
"""Property strings, sizes, volume ids and parameter checks, as the real server reads and writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simlab.proxmox import formats, handlers, schema
from simlab.proxmox.errors import Failure
from simlab.proxmox.qemu import drives, options
from simlab.proxmox.sizes import format_size, parse_size
from simlab.proxmox.storage import names

handlers.load()
CREATE = schema.load().paths["/nodes/{node}/qemu"]["POST"]["parameters"]


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("virtio,bridge=vmbr0,rate=12.5,mtu=1", "virtio=M,bridge=vmbr0,mtu=1,rate=12.5"),
        ("model=e1000,macaddr=bc:24:11:aa:bb:cc,bridge=vmbr0", "e1000=bc:24:11:aa:bb:cc,bridge=vmbr0"),
        ("virtio=bc:24:11:00:00:0a,tag=5,bridge=vmbr0", "virtio=bc:24:11:00:00:0a,bridge=vmbr0,tag=5"),
        ("virtio,bridge=vmbr0,firewall=0", "virtio=M,bridge=vmbr0,firewall=0"),
    ],
)
def test_a_network_card_is_kept_with_model_and_mac_first_then_sorted(sent: str, kept: str) -> None:
    made = drives.with_mac("net0", sent, "BC:24:11")
    if "=M," in kept:
        mac = drives.parse_net("net0", made)["macaddr"]
        assert mac.startswith("BC:24:11:")
        made = made.replace(mac, "M")
    assert made == kept


@pytest.mark.parametrize(
    ("slot", "sent", "kept"),
    [
        (
            "scsi0",
            "local:101/vm-101-disk-0.raw,ssd=1,discard=on,size=2G",
            "local:101/vm-101-disk-0.raw,discard=on,size=2G,ssd=1",
        ),
        ("scsi0", "file=local:101/vm-101-disk-0.raw,iothread=on", "local:101/vm-101-disk-0.raw,iothread=1"),
        ("ide2", "none,media=cdrom", "none,media=cdrom"),
        (
            "efidisk0",
            "local:1/vm-1-disk-0.raw,pre-enrolled-keys=1,efitype=4m",
            "local:1/vm-1-disk-0.raw,efitype=4m,pre-enrolled-keys=1",
        ),
    ],
)
def test_a_drive_is_kept_with_its_volume_first_then_sorted(slot: str, sent: str, kept: str) -> None:
    assert drives.render(slot, drives.parse(slot, sent)) == kept


def test_a_changed_copy_of_a_drive_does_not_change_what_is_read_next() -> None:
    drives.parse("scsi0", "local:1/vm-1-disk-0.raw")["file"] = "changed"
    assert drives.parse("scsi0", "local:1/vm-1-disk-0.raw")["file"] == "local:1/vm-1-disk-0.raw"


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("net0", "virtio,bridge=vmbr0,tag=5000", "format error\nnet0.tag: value must have a maximum value of 4094\n"),
        ("net0", "bridge=vmbr0", "format error\nnet0.model: property is missing and it is not optional\n"),
        ("numa0", "foo", "value without key, but schema does not define a default key\n"),
        ("boot", "order=foo0", "format error\nboot.order: invalid format - invalid boot device 'foo0'\n\n"),
        ("ipconfig0", "gw=10.0.0.1", "format error\nipconfig0.ip: missing property required by 'ipconfig0.gw'\n"),
        ("cpu", "foo", "Built-in cputype 'foo' is not defined (missing 'custom-' prefix?)\n"),
        ("tags", "bad tag!", "invalid characters in tag\n"),
        ("scsi0", "local:", "format error\nscsi0.file: invalid format - unable to parse volume ID 'local:'\n\n"),
    ],
)  # fmt: skip
def test_a_broken_value_gets_the_real_text(name: str, value: str, text: str) -> None:
    errors = schema.check_parameters(CREATE, {"node": "pve1", "vmid": "100", name: value})
    assert errors == {name: f"invalid format - {text}"}


def test_all_wrong_parameters_are_reported_together() -> None:
    errors = schema.check_parameters(CREATE, {"node": "pve1", "vmid": "99", "cores": "0", "foo": "bar"})
    assert sorted(errors) == ["cores", "foo", "vmid"]


@pytest.mark.parametrize(("size", "text"), [(0, "0T"), (540672, "528K"), (1 << 30, "1G"), (5000000001, "5000000001")])
def test_sizes_are_written_with_the_largest_unit_that_divides_them(size: int, text: str) -> None:
    assert format_size(size) == text


@given(st.integers(min_value=1, max_value=1 << 50))
def test_a_size_that_was_written_reads_back(size: int) -> None:
    assert parse_size(format_size(size)) == size


@pytest.mark.parametrize(
    ("kind", "volume", "owner", "base"),
    [
        ("dir", "101/vm-101-disk-0.qcow2", 101, None),
        ("dir", "620/base-620-disk-0.qcow2/621/vm-621-disk-0.qcow2", 621, "620/base-620-disk-0.qcow2"),
        ("lvmthin", "vm-200-disk-1", 200, None),
        ("zfspool", "base-9000-disk-0/vm-200-disk-0", 200, "base-9000-disk-0"),
    ],
)
def test_a_volume_name_tells_owner_and_base(kind: str, volume: str, owner: int, base: str | None) -> None:
    parsed = names.parse(kind, volume)
    assert (parsed.content, parsed.owner, parsed.base) == ("images", owner, base)


@pytest.mark.parametrize(
    ("kind", "volume", "text"),
    [
        ("dir", "abc", "unable to parse directory volume name 'abc'"),
        ("dir", "270/vm-270-disk-5", "unable to parse volume filename 'vm-270-disk-5'"),
        ("lvmthin", "x", "unable to parse lvm volume name 'x'"),
    ],
)
def test_a_name_that_is_none_is_refused_with_the_real_text(kind: str, volume: str, text: str) -> None:
    with pytest.raises(Failure, match=f"^{text}$"):
        names.parse(kind, volume)


def test_integers_and_booleans_are_read_as_numbers_and_texts_as_texts() -> None:
    shown = {name: options.shown(name, value) for name, value in
             {"cores": "2", "onboot": "1", "memory": "1024", "cpulimit": "1.50", "balloon": "0"}.items()}  # fmt: skip
    assert shown == {"cores": 2, "onboot": 1, "memory": "1024", "cpulimit": "1.50", "balloon": 0}


def test_empty_texts_become_a_space_and_an_empty_description_is_dropped() -> None:
    values = {"tags": "", "description": "\n", "name": "a"}
    options.normalise(values)
    assert values == {"tags": " ", "name": "a"}


def test_the_default_key_of_a_machine_is_written_without_its_name() -> None:
    assert options.canonical_machine("type=q35,viommu=virtio") == "q35,viommu=virtio"


def test_a_list_may_be_separated_by_anything() -> None:
    assert formats.split_list("a,b;c d\te") == list("abcde")
    assert formats.split_list("a b\0c") == ["a b", "c"]
