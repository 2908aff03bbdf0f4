#!/usr/bin/python
# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: proxmox_lxc
short_description: Keep containers (LXC) of Proxmox VE as they are described
version_added: 0.1.0
author:
  - "groundwork.homelab authors (@groundwork)"
description:
  - Creates, clones, updates, moves, starts, stops and deletes containers. Takes all of a lab's containers at once, reads once, and
    writes only what differs.
  - C(--check --diff) shows exactly the changes that the same task then makes.
  - An option that is left out is left alone. A mount, network or device that is listed is described by its entry in full (but for a
    MAC that is not given, which is kept); one that is not listed is left alone.
  - Volumes grow, they never shrink, and they are not moved to another storage. What cannot be done is said before anything is written.
  - A container that somebody made by hand is taken over as it is, and only what differs is changed. It is known by
    O(containers[].vmid), with O(containers[].hostname) as a safeguard, or by its hostname alone.
  - A run that was cut off can be run again. It waits for work that the node still does for it, and goes on from there.
  - >-
    Only C(root@pam) logged in with a password may set feature flags other than V(nesting), bind mounts and devices; no API token can.
    With a token these options are refused before anything is written, unless the container has them already.
options:
  containers:
    description: The containers.
    type: list
    elements: dict
    required: true
    suboptions:
      vmid:
        description:
          - Number of the container in the cluster, 100 to 999999999.
          - Left out, the container is the one of this O(containers[].hostname) in the whole cluster; several of that name are an
            error. When there is none, the server is asked for a free number. That reserves nothing - if somebody else is faster, the
            next one is taken.
        type: int
      hostname:
        description:
          - Name of the container. Required unless O(containers[].state=absent) with O(containers[].vmid).
          - If the number belongs to a guest of another name, the task fails and nothing is changed. See
            O(containers[].renamed_from).
        type: str
      renamed_from:
        description: Another name that the container of this number may have. It is renamed then.
        type: str
      node:
        description:
          - Node on which the container is made. Required unless O(containers[].state=absent).
          - A container that is on another node already is moved with O(containers[].migrate); otherwise it stays there, and a warning
            says so.
        type: str
      state:
        description:
          - V(present) makes the container and its options so, and leaves its power alone.
          - V(stopped) shuts the container down, and switches it off when it has not gone after O(shutdown_timeout).
          - V(restarted) restarts a running container, once in each run, and starts one that is stopped.
          - V(absent) switches the container off and deletes it with its volumes, backup jobs' entries and HA resources. Only
            O(containers[].vmid) and, as a safeguard, O(containers[].hostname) count then. A template that others are linked to goes
            with them or after them only, except on LVM-thin, where they do not need it.
        type: str
        choices: [started, stopped, present, restarted, absent]
        default: started
      template:
        description:
          - Whether the container is made a template, which cannot be undone. It is shut down for that. It has neither snapshots nor
            directories or devices of the node mounted, and its volumes do not change any more.
          - Templates are there to be cloned. Proxmox VE makes linked clones of containers on storages of the types C(lvmthin),
            C(zfspool), C(rbd) and C(btrfs) only; on the others O(containers[].clone.full) has to be V(true).
        type: bool
      ostemplate:
        description:
          - Volume that a new container is made from, such as V(local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst). See
            M(groundwork.homelab.proxmox_image) for how it gets there. Only counts when the container is made.
        type: str
      clone:
        description:
          - Container that a new one is made from, in place of O(containers[].ostemplate). Only counts when the container is made.
          - Proxmox VE clones volumes only. A source with directories or devices of the node mounted is refused.
        type: dict
        suboptions:
          vmid:
            description:
              - Number of the source. Either this or O(containers[].clone.hostname).
              - The source must be switched off, unless a snapshot is named.
            type: int
          hostname:
            description: Name of the source, which only one container may have.
            type: str
          full:
            description:
              - Whether the volumes are copied. V(false) makes a linked clone, of a template only. Left out, a template gives a linked
                clone and any other container a full one.
            type: bool
          snapshot:
            description: Snapshot of the source that is cloned.
            type: str
          storage:
            description:
              - Storage of the copies. Left out, they lie where those of the source lie.
              - On another node than its source a clone is only made when the copies lie on a shared storage.
            type: str
      rootfs:
        description: Root file system. A new container that is no clone needs it.
        type: dict
        suboptions:
          storage:
            description: Storage on which it is made.
            type: str
            required: true
          size:
            description:
              - Size with a unit, such as V(8G). A smaller volume is grown, a larger one is an error.
              - It is rounded up to whole MiB, as Proxmox VE makes volumes. V(3.3G) becomes V(3380M).
            type: str
          acl:
            description: Whether access control lists are on or off, in place of the storage's own choice.
            type: bool
          quota:
            description: Whether user quotas are on. Needs a privileged container.
            type: bool
            default: false
          readonly:
            description: Whether it is mounted read-only.
            type: bool
            default: false
          replicate:
            description: Whether storage replication takes it along.
            type: bool
            default: true
          shared:
            description: Whether it is there on all nodes.
            type: bool
            default: false
          mount_options:
            description: More options to mount it with, of V(discard), V(lazytime), V(noatime), V(nodev), V(noexec), V(nosuid).
            type: list
            elements: str
      mounts:
        description: More volumes, and directories of the node.
        type: list
        elements: dict
        suboptions:
          slot:
            description: By default V(mp0), V(mp1) and so on by the place in the list.
            type: str
          state:
            description: V(absent) takes the mount away. Its volume is kept as C(unusedN) of the container.
            type: str
            choices: [present, absent]
            default: present
          mp:
            description: Absolute path in the container. Required unless O(containers[].mounts[].state=absent).
            type: str
          storage:
            description: Storage on which a new volume is made.
            type: str
          size:
            description:
              - Size of the volume, such as V(50G). A smaller volume is grown, a larger one is an error.
              - It is rounded up to whole MiB, as that of O(containers[].rootfs).
            type: str
          volume:
            description: Volume that is there already, such as V(local:310/vm-310-disk-1.raw), in place of a new one.
            type: str
          source:
            description:
              - Directory of the node that is mounted (a bind mount), in place of a volume.
              - Only C(root@pam) logged in with a password may set it.
            type: str
          backup:
            description: Whether backups of the container hold it. They never hold bind mounts.
            type: bool
            default: false
          acl:
            description: Whether access control lists are on or off, in place of the storage's own choice.
            type: bool
          quota:
            description: Whether user quotas are on. Needs a privileged container.
            type: bool
            default: false
          readonly:
            description: Whether it is mounted read-only.
            type: bool
            default: false
          replicate:
            description: Whether storage replication takes it along.
            type: bool
            default: true
          shared:
            description: Whether it is there on all nodes.
            type: bool
            default: false
          mount_options:
            description: More options to mount it with, of V(discard), V(lazytime), V(noatime), V(nodev), V(noexec), V(nosuid).
            type: list
            elements: str
      networks:
        description: Network cards.
        type: list
        elements: dict
        suboptions:
          slot:
            description: By default V(net0), V(net1) and so on by the place in the list.
            type: str
          state:
            description: V(absent) takes the card away.
            type: str
            choices: [present, absent]
            default: present
          name:
            description: Interface in the container. By default V(eth0), V(eth1) and so on by the place in the list.
            type: str
          bridge:
            description: Bridge or virtual network.
            type: str
            default: vmbr0
          vlan:
            description: VLAN tag. Left out means untagged.
            type: int
          ip:
            description: IPv4 address with the length of its prefix, such as V(192.168.1.4/24), or V(dhcp), or V(manual).
            type: str
          gateway:
            description: IPv4 address of the router.
            type: str
          ip6:
            description: IPv6 address with the length of its prefix, or V(auto), or V(dhcp), or V(manual).
            type: str
          gateway6:
            description: IPv6 address of the router.
            type: str
          mac:
            description: MAC address. Left out, the server makes one, and it is kept from then on.
            type: str
          firewall:
            description: Whether Proxmox VE's firewall looks at this card.
            type: bool
            default: false
          mtu:
            description: MTU, 64 to 65535.
            type: int
          rate:
            description: Limit in MB/s.
            type: float
      devices:
        description: Devices of the node that the container may use. Only C(root@pam) logged in with a password may set them.
        type: list
        elements: dict
        suboptions:
          slot:
            description: By default V(dev0), V(dev1) and so on by the place in the list.
            type: str
          state:
            description: V(absent) takes the device away.
            type: str
            choices: [present, absent]
            default: present
          path:
            description: Device, such as V(/dev/dri/renderD128). Required unless O(containers[].devices[].state=absent).
            type: str
          mode:
            description: Access mode in the container, as four octal digits in quotes. The server's default is V(0660).
            type: str
          uid:
            description: Owner in the container.
            type: int
          gid:
            description: Group in the container.
            type: int
          deny_write:
            description: Whether the container may only read it.
            type: bool
            default: false
      features:
        description:
          - What else the container may do. A flag that is left out is left alone.
          - All but V(nesting), and for a privileged container all, may only be set by C(root@pam) logged in with a password.
        type: dict
        suboptions:
          nesting:
            description: Whether containers may run in it, such as those of Docker. Recent distributions want it for systemd, too.
            type: bool
          keyctl:
            description: Whether an unprivileged container may use the kernel's keyrings, as Docker in it does.
            type: bool
          fuse:
            description: Whether FUSE file systems may be used.
            type: bool
          mknod:
            description: Whether an unprivileged container may make some device nodes.
            type: bool
          force_rw_sys:
            description: Whether C(/sys) is writable in an unprivileged container.
            type: bool
          mount:
            description: Kinds of file systems that may be mounted, such as V(nfs) and V(cifs).
            type: list
            elements: str
      unprivileged:
        description:
          - Whether the root of the container is an ordinary user of the node. New containers are, unless this is V(false). It cannot be
            changed later.
        type: bool
      cores:
        description: CPU cores that the container sees. Left out at creation, all of the node's.
        type: int
      cpulimit:
        description: CPUs that it may use at most; V(0) for no limit.
        type: float
      cpuunits:
        description: Weight against other guests when the CPUs are busy, 1 to 10000. Other values are taken as the nearest of these.
        type: int
      memory:
        description: Memory in MiB.
        type: int
      swap:
        description: Swap in MiB.
        type: int
      nameservers:
        description: Addresses of name servers. Left out at creation, the node's are used.
        type: list
        elements: str
      searchdomain:
        description: Search domain.
        type: str
      timezone:
        description: Time zone, such as V(Europe/Berlin), or V(host) for the node's.
        type: str
      console:
        description: Whether C(/dev/console) is attached.
        type: bool
      console_mode:
        description: What the console of the web interface shows.
        type: str
        choices: [tty, console, shell]
      tty:
        description: Number of terminals, 0 to 6.
        type: int
      ostype:
        description: Kind of operating system, such as V(debian). Left out at creation, O(containers[].ostemplate) tells.
        type: str
      ssh_keys:
        description: Public keys of root. They only count when the container is made from O(containers[].ostemplate).
        type: list
        elements: str
      password:
        description:
          - Password of root, at least 5 characters. It only counts when the container is made from O(containers[].ostemplate).
        type: str
      tags:
        description: Tags. The order does not matter, and they are written in lower case.
        type: list
        elements: str
      pool:
        description:
          - Pool that the container belongs to. It must exist, and the right Pool.Audit is needed to see who belongs to it.
          - An empty text takes the container out of its pool.
        type: str
      startup:
        description: Order and delays at the node's start, such as V(order=3,up=60,down=60).
        type: str
      onboot:
        description: Whether the container starts with its node.
        type: bool
      protection:
        description:
          - Whether the container and its volumes are protected against removal. A protected one is not deleted here either.
          - Mounts of a protected container grow, but are neither made nor changed nor taken away.
        type: bool
      description:
        description: Notes, as Markdown.
        type: str
      unset:
        description:
          - Options that are to have the server's default again, by the names that they have here. O(containers[].memory) and
            O(containers[].swap) become V(512).
        type: list
        elements: str
      migrate:
        description:
          - Whether a container that is on another node is moved to O(containers[].node). A running one is restarted for that, so
            O(containers[].allow_restart) is needed, too.
        type: bool
        default: false
      allow_restart:
        description:
          - Whether a running container may be restarted when an option needs that. Otherwise a warning names the options that wait,
            and so does RV(containers[].pending).
          - A restart whose answers are lost on the way is finished in the same run. When Ansible itself is killed between the
            shutdown and the start, the container stays off, and with O(containers[].state=present) the next run leaves it so, as
            nothing tells it from a container that somebody has shut down. With O(containers[].state=started) the next run starts it.
        type: bool
        default: false
extends_documentation_fragment:
  - groundwork.homelab.proxmox
  - groundwork.homelab.proxmox.guests
  - groundwork.homelab.attributes
  - groundwork.homelab.attributes.actiongroup_proxmox
notes:
  - Rights that are needed, on C(/vms) or on C(/pool/<pool>) unless said otherwise - VM.Audit to look; VM.Allocate, VM.Config.Disk,
    VM.Config.Options, and Datastore.AllocateSpace on C(/storage/<storage>) and SDN.Use on C(/sdn/zones/localnetwork/<bridge>) to
    create; VM.Clone on the source of a clone; VM.Config.CPU, VM.Config.Memory, VM.Config.Disk, VM.Config.Network and
    VM.Config.Options to configure, VM.Allocate for V(nesting); VM.PowerMgmt to start and stop; VM.Migrate to move; Pool.Allocate on
    the pool to change who belongs to it; VM.Allocate to delete; Sys.Modify on C(/) to create a privileged container;
    Datastore.Audit, SDN.Audit, Pool.Audit and Sys.Audit on C(/nodes/<node>) so that mistakes can be said beforehand.
seealso:
  - module: groundwork.homelab.proxmox_image
  - module: groundwork.homelab.proxmox_vm
"""

EXAMPLES = r"""
- name: A reverse proxy and a name server at the edge of the lab
  groundwork.homelab.proxmox_lxc:
    api_host: 192.168.1.10
    api_token_id: ansible@pve!groundwork
    api_token_secret: "{{ proxmox_token_secret }}"
    containers:
      - vmid: 310
        hostname: traefik
        node: pve1
        ostemplate: local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst
        rootfs: {storage: local, size: 2G}
        cores: 1
        memory: 512
        swap: 512
        networks:
          - {ip: 192.168.1.4/24, gateway: 192.168.1.1}
        nameservers: [192.168.1.1]
        features: {nesting: true}
        ssh_keys: ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ6Yq0u2Tn0p9qM3m0o1m2Zp0oYvG2VnN0gk4yTt1oXk admin@lab"]
        onboot: true
        startup: order=3,up=60,down=60
        tags: [edge]
      - vmid: 311
        hostname: pihole
        node: pve1
        ostemplate: local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst
        rootfs: {storage: local, size: 4G}
        mounts:
          - {mp: /etc/pihole, storage: local, size: 1G, backup: true}
        networks:
          - {ip: 192.168.1.3/24, gateway: 192.168.1.1, vlan: 30}
        onboot: true

- name: More memory at once, other name servers at the price of a restart
  groundwork.homelab.proxmox_lxc:
    containers:
      - vmid: 310
        hostname: traefik
        node: pve1
        memory: 1024
        nameservers: [192.168.1.3]
        allow_restart: true

- name: The graphics card and a directory of the node, which only root with a password may give
  groundwork.homelab.proxmox_lxc:
    api_user: root@pam
    api_password: "{{ proxmox_root_password }}"
    api_token_id: ""
    api_token_secret: ""
    containers:
      - vmid: 312
        hostname: media
        node: pve1
        ostemplate: local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst
        rootfs: {storage: local, size: 8G}
        features: {nesting: true, keyctl: true, fuse: true}
        devices:
          - {path: /dev/dri/renderD128, gid: 104}
        mounts:
          - {mp: /media, source: /srv/media, readonly: true}
        networks:
          - {ip: dhcp, ip6: auto, mac: "BC:24:11:00:03:12"}

- name: A copy of the container golden, to try something
  groundwork.homelab.proxmox_lxc:
    containers:
      - vmid: 313
        hostname: pihole-test
        node: pve1
        state: stopped
        clone: {hostname: golden, full: true}
        rootfs: {storage: local, size: 6G}

- name: A template for containers to be cloned from, under a number that is free
  groundwork.homelab.proxmox_lxc:
    containers:
      - hostname: debian-base
        node: pve1
        state: stopped
        template: true
        ostemplate: local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst
        rootfs: {storage: local, size: 2G}
        networks: [{ip: dhcp}]

- name: Delete it, but only if this number is this container
  groundwork.homelab.proxmox_lxc:
    containers:
      - {vmid: 313, hostname: pihole-test, state: absent}
"""

RETURN = r"""
changes:
  description: What was changed, or would be in check mode, in order.
  returned: always
  type: list
  elements: dict
  contains:
    resource:
      description: The container, as V(ct/<vmid>).
      type: str
      sample: ct/310
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
containers:
  description: The containers as they are when the changes are made, in the order of the input.
  returned: success
  type: list
  elements: dict
  contains:
    vmid:
      description: Number of the container; none for an absent one that was given by its name.
      type: int
    node:
      description: Where it is.
      type: str
    hostname:
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
      description: Options that wait for a restart of the container.
      type: list
      elements: str
"""

import typing as t

from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.api import connection
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.containers import cts
from ansible_collections.groundwork.homelab.plugins.module_utils.task import Result, Spec, Task, run_as_module


def _of(**options: t.Any) -> dict[str, t.Any]:
    return {"type": "list", "elements": "dict", "options": options}


def _each(kind: str, names: str) -> dict[str, dict[str, t.Any]]:
    return {name: {"type": kind} for name in names.split()}


_LIST = {"type": "list", "elements": "str"}
_OFF = {"type": "bool", "default": False}
_THERE = {"type": "str", "choices": ["present", "absent"], "default": "present"}

_VOLUME: dict[str, t.Any] = {
    "acl": {"type": "bool"},
    "quota": _OFF,
    "readonly": _OFF,
    "replicate": {"type": "bool", "default": True},
    "shared": _OFF,
    "mount_options": _LIST,
}
_ROOTFS = {"storage": {"type": "str", "required": True}, "size": {"type": "str"}, **_VOLUME}
_MOUNT = {"state": _THERE, **_each("str", "slot mp storage size volume source"), "backup": _OFF, **_VOLUME}
_NETWORK: dict[str, t.Any] = {
    "state": _THERE,
    "bridge": {"type": "str", "default": "vmbr0"},
    "firewall": _OFF,
    "rate": {"type": "float"},
    **_each("str", "slot name ip gateway ip6 gateway6 mac"),
    **_each("int", "vlan mtu"),
}
_DEVICE = {"state": _THERE, **_each("str", "slot path mode"), **_each("int", "uid gid"), "deny_write": _OFF}
_FEATURES = {**_each("bool", "nesting keyctl fuse mknod force_rw_sys"), "mount": _LIST}
_CLONE = {
    "vmid": {"type": "int"},
    "full": {"type": "bool"},
    **_each("str", "hostname snapshot storage"),
}
_CONTAINER: dict[str, t.Any] = {
    "state": {
        "type": "str",
        "choices": ["started", "stopped", "present", "restarted", "absent"],
        "default": "started",
    },
    "clone": {"type": "dict", "options": _CLONE},
    "rootfs": {"type": "dict", "options": _ROOTFS},
    "mounts": _of(**_MOUNT),
    "networks": _of(**_NETWORK),
    "devices": _of(**_DEVICE),
    "features": {"type": "dict", "options": _FEATURES},
    "cpulimit": {"type": "float"},
    "console_mode": {"type": "str", "choices": ["tty", "console", "shell"]},
    "ssh_keys": {**_LIST, "no_log": False},
    "password": {"type": "str", "no_log": True},
    "migrate": _OFF,
    "allow_restart": _OFF,
    **dict.fromkeys(("nameservers", "tags", "unset"), _LIST),
    **_each("int", "vmid cores cpuunits memory swap tty"),
    **_each("bool", "template unprivileged console onboot protection"),
    **_each("str", "hostname renamed_from node ostemplate searchdomain timezone ostype pool startup description"),
}

SPEC = Spec(
    argument_spec={
        **connection.ARGUMENTS,
        "containers": {**_of(**_CONTAINER), "required": True},
        "planned_images": {**_LIST, "default": []},
        "shutdown_timeout": {"type": "int", "default": 180},
    }
)


def run(task: Task) -> Result:
    return cts.converge(task)


def main() -> None:
    run_as_module(SPEC, run)


if __name__ == "__main__":
    main()
