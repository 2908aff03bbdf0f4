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
  - Creates, clones, updates, moves, starts, stops and deletes virtual machines. Takes all of a lab's VMs at once, reads once, and
    writes only what differs.
  - C(--check --diff) shows exactly the changes that the same task then makes.
  - An option that is left out is left alone. A disk, network card or device that is listed is described by its entry in full (but for
    a MAC that is not given, which is kept); one that is not listed is left alone. O(vms[].unset) and C(state=absent) of an entry
    remove one.
  - A VM that somebody made by hand is taken over as it is, and only what differs is changed. It is known by O(vms[].vmid), with
    O(vms[].name) as a safeguard, or by its name alone.
  - Disks grow, they never shrink. What cannot be done is said before anything is written.
  - A run that was cut off can be run again. It waits for work that the node still does for it, and goes on from there.
options:
  vms:
    description: The VMs.
    type: list
    elements: dict
    required: true
    suboptions:
      vmid:
        description:
          - Number of the VM in the cluster, 100 to 999999999.
          - Left out, the VM is the one of this O(vms[].name) in the whole cluster; several of that name are an error. When there is
            none, the server is asked for a free number. That reserves nothing - if somebody else is faster, the next one is taken.
        type: int
      name:
        description:
          - Name of the VM. Required unless O(vms[].state=absent) with O(vms[].vmid).
          - If the number belongs to a guest of another name, the task fails and nothing is changed. See O(vms[].renamed_from).
        type: str
      renamed_from:
        description: Another name that the VM of this number may have. It is renamed then.
        type: str
      node:
        description:
          - Node on which the VM is created. Required unless O(vms[].state=absent).
          - A VM that is on another node already stays there, and a warning says so, unless O(vms[].migrate) is set.
        type: str
      migrate:
        description:
          - Whether a VM that is on another node is moved to O(vms[].node), while it runs if it is to go on running. Disks on storages
            of its node move with it, to the storages of the same names.
          - What stands in the way is asked for beforehand - devices and CDs of the node, storages that the other node lacks.
        type: bool
        default: false
      state:
        description:
          - V(present) makes the VM and its options so, and leaves its power alone.
          - V(stopped) shuts the VM down, and switches it off when it has not gone after O(shutdown_timeout).
          - V(restarted) shuts a running VM down in the same way and starts it, every time the task runs. V(reset) resets it without a
            shutdown. Both start a VM that does not run.
          - V(absent) switches the VM off and deletes it with its disks, backup jobs' entries and HA resources. Only O(vms[].vmid) and,
            as a safeguard, O(vms[].name) count then. A template that others are linked to goes with them or after them only,
            except on LVM-thin, where they do not need it.
          - Of a VM under high availability, the HA manager is asked, and the task waits until it has done it.
        type: str
        choices: [started, stopped, present, absent, restarted, reset]
        default: started
      clone:
        description:
          - What a VM that is not there is copied from. All other options are then made so in the copy, and disks grow.
          - It has no effect on a VM that is there. At most two copies of one source are made at a time.
          - A copy of a source on another node is made there, and moved when it is made, if the source's storages are not shared.
            That does not take O(vms[].migrate). When Ansible is killed in between, the copy stays where it is and the next run warns
            of it; O(vms[].migrate) then moves it.
        type: dict
        suboptions:
          vmid:
            description: Number of the VM or template. Either this or O(vms[].clone.name).
            type: int
          name:
            description: Name of the VM or template, which must be the only one of that name.
            type: str
          full:
            description:
              - Whether the copy has disks of its own. A linked one keeps needing its template, except on LVM-thin.
              - By default templates are linked, unless O(vms[].clone.storage) or O(vms[].clone.format) is given.
            type: bool
          storage:
            description: Storage of all disks of a full copy. By default they lie where those of the source do.
            type: str
          format:
            description: Format of the files of a full copy's disks.
            type: str
            choices: [qcow2, raw, vmdk]
          snapshot:
            description: Snapshot of the source that is copied.
            type: str
      template:
        description:
          - Whether the VM is made a template, which cannot be undone. It is shut down for that, and must not have snapshots.
        type: bool
      cores:
        description: CPU cores per socket.
        type: int
      sockets:
        description: CPU sockets.
        type: int
      vcpus:
        description: CPUs that the VM starts with, when more can be plugged in later.
        type: int
      cpu:
        description: CPU type, with its flags as Proxmox VE writes them, such as V(host,flags=+aes).
        type: str
      cpulimit:
        description: CPUs that it may use up; V(0) is no limit.
        type: float
      cpuunits:
        description: Weight of its CPU time, 1 to 262144.
        type: int
      numa:
        description: Whether it has NUMA.
        type: bool
      kvm:
        description: Whether the hardware's virtualisation is used.
        type: bool
      memory:
        description: Memory in MiB.
        type: int
      balloon:
        description: Least memory in MiB that ballooning leaves; V(0) switches it off.
        type: int
      machine:
        description:
          - Machine type, such as V(q35).
          - Proxmox VE pins the machine of a VM that is made as or becomes Windows (O(vms[].ostype)) to a version, such as
            V(pc-q35-10.0+pve1). With V(pc) or V(q35) that version is kept.
        type: str
      vga:
        description: Graphics card, such as V(virtio), V(serial0) or V(none).
        type: str
      tablet:
        description: Whether it has a USB tablet as its pointer.
        type: bool
      acpi:
        description: Whether it has ACPI.
        type: bool
      localtime:
        description: Whether its clock has local time.
        type: bool
      hotplug:
        description: What can be changed while it runs, of V(network), V(disk), V(usb), V(memory), V(cpu), V(cloudinit). Empty is nothing.
        type: list
        elements: str
      watchdog:
        description: Watchdog, such as V(i6300esb,action=reset).
        type: str
      rng:
        description: Source of random numbers, such as V(source=/dev/urandom).
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
      tpm:
        description: TPM and where it keeps its state. Made once, then left as it is.
        type: dict
        suboptions:
          storage:
            description: Storage of the state.
            type: str
            required: true
          version:
            description: Version of the TPM.
            type: str
            choices: [v1.2, v2.0]
            default: v2.0
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
          state:
            description: V(detached) takes the disk away and keeps its volume as an unused one. V(absent) destroys it with its data.
            type: str
            choices: [present, detached, absent]
            default: present
          storage:
            description:
              - Storage on which the disk is made. Required for a disk that is not there yet.
              - A disk that lies on another one is moved if O(vms[].move_disks) allows it.
            type: str
          size:
            description:
              - Size with a unit, such as V(100G). A smaller disk is grown, a larger one is an error.
              - It is rounded up to whole KiB, as Proxmox VE makes disks. V(3.3G) becomes V(3460301K).
              - May be left out with O(vms[].disks[].import_from), whose size then counts, and for a disk that is there.
            type: str
          import_from:
            description:
              - Volume that the disk is made from, such as V(local:import/talos.qcow2), or V(local:import/appliance.ova/disk-1.vmdk)
                for a disk in an archive. Only counts when the disk is made.
              - An archive is unpacked on its own storage, which has to take disks of VMs (the content V(images)) for that.
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
          aio:
            description: How the host reads and writes. Left out, Proxmox VE chooses.
            type: str
            choices: [native, threads, io_uring]
          backup:
            description: Whether backups have the disk.
            type: bool
            default: true
          replicate:
            description: Whether replication has the disk.
            type: bool
            default: true
          serial:
            description: Serial number that the guest sees.
            type: str
      move_disks:
        description: Whether a disk that lies on another storage than its entry says is moved there. The old volume is deleted.
        type: bool
        default: false
      cdroms:
        description: CD drives.
        type: list
        elements: dict
        suboptions:
          slot:
            description: Bus and number. By default V(ide2), then V(ide0), whichever nothing else in the entry has.
            type: str
          iso:
            description: ISO image in the drive, such as V(local:iso/debian-13.iso). Left out, the drive is empty, and what is in it ejected.
            type: str
          state:
            description: V(absent) removes the drive.
            type: str
            choices: [present, absent]
            default: present
      networks:
        description: Network cards.
        type: list
        elements: dict
        suboptions:
          slot:
            description: By default V(net0), V(net1) and so on by the place in the list.
            type: str
          state:
            description: V(absent) removes the card.
            type: str
            choices: [present, absent]
            default: present
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
          trunks:
            description: VLANs and ranges of them that pass through tagged, such as V(10) and V(20-30).
            type: list
            elements: str
          mac:
            description: MAC address. Left out, the server makes one, and it is kept from then on.
            type: str
          firewall:
            description: Whether Proxmox VE's firewall looks at this card.
            type: bool
            default: false
          link_down:
            description: Whether the cable is pulled. Left out, it is left alone.
            type: bool
          mtu:
            description: MTU; V(1) for the bridge's own.
            type: int
          queues:
            description: Queues of a virtio card.
            type: int
          rate:
            description: Limit in MB/s.
            type: float
      pci_devices:
        description: PCI devices of the node that the VM has.
        type: list
        elements: dict
        suboptions:
          slot:
            description: By default V(hostpci0), V(hostpci1) and so on by the place in the list.
            type: str
          state:
            description: V(absent) takes the device away.
            type: str
            choices: [present, absent]
            default: present
          mapping:
            description: Name of a resource mapping. Either this or O(vms[].pci_devices[].device).
            type: str
          device:
            description: Address such as V(0000:01:00.0). Only root@pam with a password may use it.
            type: str
          pcie:
            description: Whether the guest sees a PCI Express device. Needs O(vms[].machine) V(q35).
            type: bool
            default: false
          primary_gpu:
            description: Whether it is the VM's first graphics card.
            type: bool
            default: false
          rombar:
            description: Whether the guest sees the device's ROM.
            type: bool
            default: true
          mdev:
            description: Type of mediated device.
            type: str
      usb_devices:
        description: USB devices of the node that the VM has.
        type: list
        elements: dict
        suboptions:
          slot:
            description: By default V(usb0), V(usb1) and so on by the place in the list.
            type: str
          state:
            description: V(absent) takes the device away.
            type: str
            choices: [present, absent]
            default: present
          mapping:
            description: Name of a resource mapping. Either this or O(vms[].usb_devices[].device).
            type: str
          device:
            description:
              - Vendor and product such as V(1d6b:0002), or bus and port such as V(1-2). Only root@pam with a password may use them.
              - V(spice) is a port of the SPICE console, which needs no more than other options.
            type: str
          usb3:
            description: Whether it is a USB 3 device.
            type: bool
            default: false
      cloud_init:
        description:
          - Cloud-init drive and what it says.
          - A guest reads it when it boots. When the values of a running VM change, its drive is written anew, so that any reboot
            takes them; they are listed in RV(vms[].pending) by the run that changes them, and O(vms[].allow_restart) restarts
            the VM. Later runs do not list them, as Proxmox VE does not know whether the guest has booted since.
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
          type:
            description: Form of the data. Left out, Proxmox VE goes by the operating system.
            type: str
            choices: [nocloud, configdrive2, opennebula]
          upgrade:
            description: Whether packages are upgraded at the first start.
            type: bool
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
            description:
              - Password of the user, or its hash as C(mkpasswd -m sha-256) makes it.
              - The server never shows it. It keeps a hash, which its cloud-init data have; the password is compared with that and only
                set when it is another one. A hash that is given is compared as it is. Where the hash cannot be read, or is of another
                kind, a password that is set is left alone.
            type: str
          ssh_keys:
            description: Public keys of the user.
            type: list
            elements: str
          custom:
            description:
              - Snippets that replace what Proxmox VE would say, such as V(local:snippets/user.yml). They must be on the node; the API
                cannot put them there.
              - The rights to configure cloud-init are enough to name them.
            type: dict
            suboptions:
              user:
                description: User data, in place of user, password and keys.
                type: str
              network:
                description: Network data, in place of addresses and name servers.
                type: str
              meta:
                description: Metadata.
                type: str
              vendor:
                description: Vendor data.
                type: str
      serial:
        description: Whether there is a serial console, as C(serial0).
        type: bool
      agent:
        description: Whether the VM is taken to run the QEMU guest agent.
        type: bool
      agent_options:
        description: More about the agent. What is left out is left alone.
        type: dict
        suboptions:
          type:
            description: How it is reached.
            type: str
            choices: [virtio, isa]
          fstrim_cloned_disks:
            description: Whether free space is given back after a disk was cloned or moved.
            type: bool
          freeze_fs:
            description: Whether file systems are frozen for backups.
            type: bool
      tags:
        description: Tags. The order does not matter, and they are written in lower case.
        type: list
        elements: str
      pool:
        description:
          - Pool that the VM belongs to. It must exist, and the right Pool.Audit is needed to see who belongs to it.
          - An empty text takes the VM out of its pool.
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
      args:
        description: More arguments for QEMU. Only root@pam with a password may set them.
        type: str
      affinity:
        description: CPUs of the node that the VM runs on, such as V(0,4-7). Only root@pam with a password may set them.
        type: str
      hookscript:
        description: Snippet that the node runs around starts and stops. Only root@pam with a password may set it.
        type: str
      unset:
        description:
          - Options of this list that are to have their default again, by their names here, such as V(watchdog) or V(cpulimit).
        type: list
        elements: str
      allow_restart:
        description:
          - Whether a running VM may be restarted when an option needs that. Otherwise a warning names the options that wait, and so
            does RV(vms[].pending).
          - A restart whose answers are lost on the way is finished in the same run. When Ansible itself is killed between the
            shutdown and the start, the VM stays off, and with O(vms[].state=present) the next run leaves it so, as nothing tells it
            from a VM that somebody has shut down. With O(vms[].state=started) the next run starts it.
        type: bool
        default: false
extends_documentation_fragment:
  - groundwork.homelab.proxmox
  - groundwork.homelab.proxmox.guests
  - groundwork.homelab.attributes
  - groundwork.homelab.attributes.actiongroup_proxmox
notes:
  - Rights that are needed, on C(/vms) or on C(/pool/<pool>) unless said otherwise - VM.Audit to look; VM.Allocate, and
    Datastore.AllocateSpace on C(/storage/<storage>) and SDN.Use on C(/sdn/zones/localnetwork/<bridge>) to create and delete;
    VM.Config.CPU, VM.Config.Memory, VM.Config.HWType, VM.Config.Disk, VM.Config.CDROM, VM.Config.Network, VM.Config.Cloudinit and
    VM.Config.Options to configure; VM.PowerMgmt to start and stop; VM.Clone on the source of a clone, and on the VM whose disk
    another is made from; Datastore.Audit on the storage of an image that a disk is made from, for an archive
    Datastore.AllocateSpace; VM.Migrate to move;
    Mapping.Use on C(/mapping/pci/<mapping>) or C(/mapping/usb/<mapping>); Pool.Allocate on the pool to change who belongs to it;
    Datastore.Audit, SDN.Audit, Pool.Audit and Sys.Audit on
    C(/nodes/<node>) so that mistakes can be said beforehand.
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

- name: A template from a cloud image
  groundwork.homelab.proxmox_vm:
    vms:
      - vmid: 9000
        name: debian-13
        node: pve1
        state: stopped
        template: true
        disks: [{storage: local, import_from: local:import/talos.qcow2, format: qcow2}]
        networks: [{bridge: vmbr0}]
        serial: true

- name: Two linked copies of it, with more memory and larger disks
  groundwork.homelab.proxmox_vm:
    vms:
      - vmid: 221
        name: worker-1
        node: pve1
        clone: {name: debian-13}
        memory: 2048
        disks: [{size: 20G}]
        cloud_init: {storage: local, ipconfig: ["ip=192.168.30.61/24,gw=192.168.30.1"]}
      - vmid: 222
        name: worker-2
        node: pve1
        clone: {name: debian-13}
        memory: 2048
        disks: [{size: 20G}]
        cloud_init: {storage: local, ipconfig: ["ip=192.168.30.62/24,gw=192.168.30.1"]}

- name: Take the second disk away with its data, and eject the CD
  groundwork.homelab.proxmox_vm:
    vms:
      - vmid: 221
        name: worker-1
        node: pve1
        state: present
        disks:
          - {slot: scsi1, state: absent}
        cdroms: [{slot: sata0}]

- name: A VM to install by hand, with a TPM and a mapped graphics card, wherever there is a free number
  groundwork.homelab.proxmox_vm:
    vms:
      - name: desktop
        node: pve1
        state: stopped
        machine: q35
        bios: ovmf
        efidisk: {storage: local, pre_enrolled_keys: true}
        tpm: {storage: local}
        disks: [{slot: virtio0, storage: local, size: 64G, cache: writeback, iothread: true}]
        cdroms: [{iso: "local:iso/debian-13.iso"}]
        pci_devices: [{mapping: gpu, pcie: true}]
        boot_order: [virtio0, ide2]
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
      description: Number of the VM; none for an absent one that was given by its name.
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
    template:
      description: Whether it is a template.
      type: bool
    changed:
      description: Whether anything was changed.
      type: bool
    pending:
      description:
        - Options that wait for a restart of the VM.
        - Values of O(vms[].cloud_init) are listed only by the run that changes them.
      type: list
      elements: str
"""

import typing as t

from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.api import connection
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.vms import vms
from ansible_collections.groundwork.homelab.plugins.module_utils.task import Result, Spec, Task, run_as_module


def _of(**options: t.Any) -> dict[str, t.Any]:
    return {"type": "list", "elements": "dict", "options": options}


_LIST = {"type": "list", "elements": "str"}
_OFF = {"type": "bool", "default": False}
_ON = {"type": "bool", "default": True}
_STORAGE = {"type": "str", "required": True}
_PRESENCE = {"type": "str", "choices": ["present", "absent"], "default": "present"}


def _choice(*values: str, default: str | None = None) -> dict[str, t.Any]:
    return {"type": "str", "choices": list(values), **({"default": default} if default else {})}


def _each(kind: str, names: str) -> dict[str, t.Any]:
    return {name: {"type": kind} for name in names.split()}


_DISK: dict[str, t.Any] = {
    **_each("str", "slot storage size import_from serial"),
    "state": _choice("present", "detached", "absent", default="present"),
    "format": _choice("qcow2", "raw", "vmdk"),
    "discard": _OFF,
    "ssd": _OFF,
    "iothread": _OFF,
    "cache": _choice("none", "writethrough", "writeback", "unsafe", "directsync", default="none"),
    "aio": _choice("native", "threads", "io_uring"),
    "backup": _ON,
    "replicate": _ON,
}
_CDROM: dict[str, t.Any] = {**_each("str", "slot iso"), "state": _PRESENCE}
_NETWORK: dict[str, t.Any] = {
    **_each("str", "slot mac"),
    **_each("int", "vlan mtu queues"),
    "state": _PRESENCE,
    "model": _choice("virtio", "e1000", "e1000e", "rtl8139", "vmxnet3", default="virtio"),
    "bridge": {"type": "str", "default": "vmbr0"},
    "trunks": _LIST,
    "firewall": _OFF,
    "link_down": {"type": "bool"},
    "rate": {"type": "float"},
}
_PCI: dict[str, t.Any] = {
    **_each("str", "slot mapping device mdev"),
    "state": _PRESENCE,
    "pcie": _OFF,
    "primary_gpu": _OFF,
    "rombar": _ON,
}
_USB: dict[str, t.Any] = {**_each("str", "slot mapping device"), "state": _PRESENCE, "usb3": _OFF}
_EFIDISK: dict[str, t.Any] = {
    "storage": _STORAGE,
    "type": _choice("2m", "4m", default="4m"),
    "pre_enrolled_keys": _OFF,
}
_TPM: dict[str, t.Any] = {"storage": _STORAGE, "version": _choice("v1.2", "v2.0", default="v2.0")}
_CLOUD_INIT: dict[str, t.Any] = {
    "storage": _STORAGE,
    "slot": {"type": "str", "default": "ide2"},
    "type": _choice("nocloud", "configdrive2", "opennebula"),
    "upgrade": {"type": "bool"},
    "ipconfig": _LIST,
    "nameservers": _LIST,
    **_each("str", "searchdomain user"),
    "password": {"type": "str", "no_log": True},
    "ssh_keys": {**_LIST, "no_log": False},
    "custom": {"type": "dict", "options": _each("str", "user network meta vendor")},
}
_CLONE: dict[str, t.Any] = {
    "vmid": {"type": "int"},
    **_each("str", "name storage snapshot"),
    "full": {"type": "bool"},
    "format": _choice("qcow2", "raw", "vmdk"),
}
_AGENT: dict[str, t.Any] = {"type": _choice("virtio", "isa"), **_each("bool", "fstrim_cloned_disks freeze_fs")}
_VM: dict[str, t.Any] = {
    "state": _choice("started", "stopped", "present", "absent", "restarted", "reset", default="started"),
    "bios": _choice("seabios", "ovmf"),
    "efidisk": {"type": "dict", "options": _EFIDISK},
    "tpm": {"type": "dict", "options": _TPM},
    "disks": _of(**_DISK),
    "cdroms": _of(**_CDROM),
    "networks": _of(**_NETWORK),
    "pci_devices": _of(**_PCI),
    "usb_devices": _of(**_USB),
    "cloud_init": {"type": "dict", "options": _CLOUD_INIT},
    "clone": {"type": "dict", "options": _CLONE},
    "agent_options": {"type": "dict", "options": _AGENT},
    "cpulimit": {"type": "float"},
    **dict.fromkeys(("tags", "boot_order", "hotplug", "unset"), _LIST),
    **dict.fromkeys(("allow_restart", "migrate", "move_disks"), _OFF),
    **_each("int", "vmid cores sockets vcpus memory balloon cpuunits"),
    **_each("bool", "serial agent onboot protection numa kvm tablet acpi localtime template"),
    **_each("str", "name renamed_from node cpu machine vga watchdog rng scsihw pool startup description ostype"),
    **_each("str", "args affinity hookscript"),
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
