#!/usr/bin/python
# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: proxmox_vm
short_description: Keep virtual machines of Proxmox VE as they are described
version_added: 0.1.0
author:
  - "groundwork.homelab authors (@groundwork)"
description:
  - Creates, updates, starts, stops and deletes virtual machines. Takes all of a lab's VMs at once, reads once, and writes only what
    differs.
  - C(--check --diff) shows exactly the changes that the same task then makes.
  - An option that is left out is left alone. A disk or network that is listed is described by its entry in full (but for a MAC that is
    not given, which is kept); one that is not listed is left alone.
  - Disks grow, they never shrink, and they are not moved. What cannot be done is said before anything is written.
  - A run that was cut off can be run again. It waits for work that the node still does for it, and goes on from there.
options:
  vms:
    description: The VMs.
    type: list
    elements: dict
    required: true
    suboptions:
      vmid:
        description: Number of the VM in the cluster, 100 to 999999999.
        type: int
        required: true
      name:
        description:
          - Name of the VM. Required unless O(vms[].state=absent).
          - If the number belongs to a guest of another name, the task fails and nothing is changed.
        type: str
      node:
        description:
          - Node on which the VM is created. Required unless O(vms[].state=absent).
          - A VM that is on another node already stays there; a warning says so.
        type: str
      state:
        description:
          - V(present) makes the VM and its options so, and leaves its power alone.
          - V(stopped) shuts the VM down, and switches it off when it has not gone after O(shutdown_timeout).
          - V(absent) switches the VM off and deletes it with its disks, backup jobs' entries and HA resources. Only O(vms[].vmid) and,
            as a safeguard, O(vms[].name) count then.
        type: str
        choices: [started, stopped, present, absent]
        default: started
      cores:
        description: CPU cores per socket.
        type: int
      sockets:
        description: CPU sockets.
        type: int
      cpu:
        description: CPU type, with its flags as Proxmox VE writes them.
        type: str
      memory:
        description: Memory in MiB.
        type: int
      balloon:
        description: Least memory in MiB that ballooning leaves; V(0) switches it off.
        type: int
      machine:
        description: Machine type, such as V(q35).
        type: str
      bios:
        description: Firmware.
        type: str
        choices: [seabios, ovmf]
      efidisk:
        description: Disk for the variables of O(vms[].bios=ovmf). Made once, then left as it is.
        type: dict
        suboptions:
          storage:
            description: Storage of the disk.
            type: str
            required: true
          type:
            description: Size of the firmware.
            type: str
            choices: [2m, 4m]
            default: 4m
          pre_enrolled_keys:
            description: Whether Secure Boot keys of distributions and Microsoft are enrolled.
            type: bool
            default: false
      scsihw:
        description: SCSI controller, such as V(virtio-scsi-single).
        type: str
      disks:
        description: Disks.
        type: list
        elements: dict
        suboptions:
          slot:
            description: Bus and number. By default V(scsi0), V(scsi1) and so on by the place in the list.
            type: str
          storage:
            description: Storage on which the disk is made.
            type: str
            required: true
          size:
            description:
              - Size with a unit, such as V(100G). A smaller disk is grown, a larger one is an error.
              - May be left out with O(vms[].disks[].import_from), whose size then counts.
            type: str
          import_from:
            description:
              - Volume that the disk is made from, such as V(local:import/talos.qcow2). Only counts when the disk is made.
            type: str
          format:
            description: Format of the new disk's file. Only counts when the disk is made.
            type: str
            choices: [qcow2, raw, vmdk]
          discard:
            description: Whether the guest may give back space.
            type: bool
            default: false
          ssd:
            description: Whether the guest sees a solid state disk.
            type: bool
            default: false
          iothread:
            description: Whether the disk has a thread of its own.
            type: bool
            default: false
          cache:
            description: Cache mode.
            type: str
            choices: [none, writethrough, writeback, unsafe, directsync]
            default: none
      networks:
        description: Network cards.
        type: list
        elements: dict
        suboptions:
          slot:
            description: By default V(net0), V(net1) and so on by the place in the list.
            type: str
          model:
            description: What the guest sees.
            type: str
            default: virtio
            choices: [virtio, e1000, e1000e, rtl8139, vmxnet3]
          bridge:
            description: Bridge or virtual network.
            type: str
            default: vmbr0
          vlan:
            description: VLAN tag. Left out means untagged.
            type: int
          mac:
            description: MAC address. Left out, the server makes one, and it is kept from then on.
            type: str
          firewall:
            description: Whether Proxmox VE's firewall looks at this card.
            type: bool
            default: false
          mtu:
            description: MTU; V(1) for the bridge's own.
            type: int
          rate:
            description: Limit in MB/s.
            type: float
      cloud_init:
        description: Cloud-init drive and what it says.
        type: dict
        suboptions:
          storage:
            description: Storage of the drive.
            type: str
            required: true
          slot:
            description: Where the drive is attached. A drive that is attached elsewhere already stays there.
            type: str
            default: ide2
          ipconfig:
            description: For each network card in turn, such as V(ip=192.168.30.50/24,gw=192.168.30.1) or V(ip=dhcp).
            type: list
            elements: str
          nameservers:
            description: Addresses of name servers.
            type: list
            elements: str
          searchdomain:
            description: Search domain.
            type: str
          user:
            description: User that is made.
            type: str
          password:
            description: Password of the user. The server never shows it, so it is only set when there is none yet.
            type: str
          ssh_keys:
            description: Public keys of the user.
            type: list
            elements: str
      serial:
        description: Whether there is a serial console, as C(serial0).
        type: bool
      agent:
        description: Whether the VM is taken to run the QEMU guest agent.
        type: bool
      tags:
        description: Tags. The order does not matter, and they are written in lower case.
        type: list
        elements: str
      pool:
        description: Pool that the VM belongs to. It must exist, and the right Pool.Audit is needed to see who belongs to it.
        type: str
      boot_order:
        description: Slots to boot from. Left out at creation, these are the disks, then C(net0).
        type: list
        elements: str
      startup:
        description: Order and delays at the node's start, such as V(order=2,up=30). Needs the right Sys.Modify on C(/).
        type: str
      onboot:
        description: Whether the VM starts with its node.
        type: bool
      protection:
        description: Whether the VM and its disks are protected against removal. A protected VM is not deleted here either.
        type: bool
      description:
        description: Notes, as Markdown.
        type: str
      ostype:
        description: Kind of operating system, such as V(l26).
        type: str
      allow_restart:
        description:
          - Whether a running VM may be restarted when an option needs that. Otherwise a warning names the options that wait, and so
            does RV(vms[].pending).
        type: bool
        default: false
  planned_images:
    description:
      - Volumes that an earlier task of the play makes. They are not looked for, so that check mode can plan VMs before the download.
    type: list
    elements: str
    default: []
  shutdown_timeout:
    description: Seconds that a guest has to shut down before it is switched off.
    type: int
    default: 180
extends_documentation_fragment:
  - groundwork.homelab.proxmox
  - groundwork.homelab.attributes
  - groundwork.homelab.attributes.actiongroup_proxmox
notes:
  - Rights that are needed, on C(/vms) or on C(/pool/<pool>) unless said otherwise - VM.Audit to look; VM.Allocate, and
    Datastore.AllocateSpace on C(/storage/<storage>) and SDN.Use on C(/sdn/zones/localnetwork/<bridge>) to create and delete;
    VM.Config.CPU, VM.Config.Memory, VM.Config.HWType, VM.Config.Disk, VM.Config.CDROM, VM.Config.Network, VM.Config.Cloudinit and
    VM.Config.Options to configure; VM.PowerMgmt to start and stop; Datastore.Audit, SDN.Audit, Pool.Audit and Sys.Audit on
    C(/nodes/<node>) so that mistakes can be said beforehand. A token needs them as well as its user.
  - A right that is missing is named before anything is written, as far as the server tells what rights there are.
seealso:
  - module: groundwork.homelab.proxmox_image
"""

EXAMPLES = r"""
- name: A Talos node from a downloaded image
  groundwork.homelab.proxmox_vm:
    api_host: 192.168.30.10
    api_token_id: ansible@pve!groundwork
    api_token_secret: "{{ proxmox_token_secret }}"
    vms:
      - vmid: 200
        name: talos-cp01
        node: pve1
        cores: 6
        cpu: x86-64-v2-AES
        memory: 16384
        machine: q35
        bios: ovmf
        efidisk:
          storage: local
        scsihw: virtio-scsi-single
        disks:
          - storage: local
            size: 100G
            import_from: local:import/talos.qcow2
            discard: true
            ssd: true
            iothread: true
        networks:
          - bridge: vmbr0
            vlan: 30
            mac: BC:24:11:00:00:50
        cloud_init:
          storage: local
          ipconfig: ["ip=192.168.30.50/24,gw=192.168.30.1"]
          nameservers: [192.168.30.1]
        serial: true
        agent: true
        tags: [talos, control-plane]
        onboot: true
        ostype: l26

- name: More memory, at the price of a restart
  groundwork.homelab.proxmox_vm:
    vms:
      - vmid: 200
        name: talos-cp01
        node: pve1
        memory: 20480
        allow_restart: true

- name: Two empty VMs that are not started
  groundwork.homelab.proxmox_vm:
    vms:
      - {vmid: 210, name: test-1, node: pve1, state: stopped, disks: [{storage: local, size: 8G}]}
      - {vmid: 211, name: test-2, node: pve1, state: stopped, disks: [{storage: local, size: 8G}]}

- name: Delete them, but only if these numbers are these VMs
  groundwork.homelab.proxmox_vm:
    vms:
      - {vmid: 210, name: test-1, state: absent}
      - {vmid: 211, name: test-2, state: absent}
"""

RETURN = r"""
changes:
  description: What was changed, or would be in check mode, in order.
  returned: always
  type: list
  elements: dict
  contains:
    resource:
      description: The VM, as V(vm/<vmid>).
      type: str
      sample: vm/200
    action:
      description: V(create), V(update), V(delete), V(start), V(stop) or V(restart).
      type: str
    before:
      description: The options that differ, as they were.
      type: dict
    after:
      description: The options that differ, as they are to be.
      type: dict
    note:
      description: What the change costs or needs.
      type: str
      sample: needs a restart
vms:
  description: The VMs as they are when the changes are made, in the order of the input.
  returned: success
  type: list
  elements: dict
  contains:
    vmid:
      description: Number of the VM.
      type: int
    node:
      description: Where it is.
      type: str
    name:
      description: Its name.
      type: str
    status:
      description: V(running), V(stopped) or V(absent).
      type: str
    changed:
      description: Whether anything was changed.
      type: bool
    pending:
      description: Options that wait for a restart of the VM.
      type: list
      elements: str
"""

import typing as t

from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox import connection, vms
from ansible_collections.groundwork.homelab.plugins.module_utils.task import Result, Spec, Task, run_as_module


def _of(**options: t.Any) -> dict[str, t.Any]:
    return {"type": "list", "elements": "dict", "options": options}


_LIST = {"type": "list", "elements": "str"}
_OFF = {"type": "bool", "default": False}
_STORAGE = {"type": "str", "required": True}

_DISK: dict[str, t.Any] = {
    "slot": {"type": "str"},
    "storage": _STORAGE,
    "size": {"type": "str"},
    "import_from": {"type": "str"},
    "format": {"type": "str", "choices": ["qcow2", "raw", "vmdk"]},
    "discard": _OFF,
    "ssd": _OFF,
    "iothread": _OFF,
    "cache": {
        "type": "str",
        "choices": ["none", "writethrough", "writeback", "unsafe", "directsync"],
        "default": "none",
    },
}
_NETWORK: dict[str, t.Any] = {
    "slot": {"type": "str"},
    "model": {
        "type": "str",
        "choices": ["virtio", "e1000", "e1000e", "rtl8139", "vmxnet3"],
        "default": "virtio",
    },
    "bridge": {"type": "str", "default": "vmbr0"},
    "vlan": {"type": "int"},
    "mac": {"type": "str"},
    "firewall": _OFF,
    "mtu": {"type": "int"},
    "rate": {"type": "float"},
}
_EFIDISK: dict[str, t.Any] = {
    "storage": _STORAGE,
    "type": {"type": "str", "choices": ["2m", "4m"], "default": "4m"},
    "pre_enrolled_keys": _OFF,
}
_CLOUD_INIT: dict[str, t.Any] = {
    "storage": _STORAGE,
    "slot": {"type": "str", "default": "ide2"},
    "ipconfig": _LIST,
    "nameservers": _LIST,
    "searchdomain": {"type": "str"},
    "user": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "ssh_keys": {**_LIST, "no_log": False},
}
_VM: dict[str, t.Any] = {
    "vmid": {"type": "int", "required": True},
    "state": {"type": "str", "choices": ["started", "stopped", "present", "absent"], "default": "started"},
    "bios": {"type": "str", "choices": ["seabios", "ovmf"]},
    "efidisk": {"type": "dict", "options": _EFIDISK},
    "disks": _of(**_DISK),
    "networks": _of(**_NETWORK),
    "cloud_init": {"type": "dict", "options": _CLOUD_INIT},
    "tags": _LIST,
    "boot_order": _LIST,
    "allow_restart": _OFF,
    **{name: {"type": "int"} for name in ("cores", "sockets", "memory", "balloon")},
    **{name: {"type": "bool"} for name in ("serial", "agent", "onboot", "protection")},
    **{
        name: {"type": "str"}
        for name in ("name", "node", "cpu", "machine", "scsihw", "pool", "startup", "description", "ostype")
    },
}

SPEC = Spec(
    argument_spec={
        **connection.ARGUMENTS,
        "vms": {**_of(**_VM), "required": True},
        "planned_images": {**_LIST, "default": []},
        "shutdown_timeout": {"type": "int", "default": 180},
    }
)


def run(task: Task) -> Result:
    return vms.converge(task)


def main() -> None:
    run_as_module(SPEC, run)


if __name__ == "__main__":
    main()
