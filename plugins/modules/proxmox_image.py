#!/usr/bin/python
# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: proxmox_image
short_description: Keep disk images, ISO images and container templates on storages of Proxmox VE
version_added: 0.1.0
author:
  - "groundwork.homelab authors (@groundwork)"
description:
  - Lets nodes download images, with their checksums where they are given, uploads files, fetches container templates of Proxmox's own
    list, and deletes images that are to be absent.
  - Images of Talos can be described by what is to be in them. Their schematic, URL and file name follow from that without asking
    anybody; the schematic is registered with the Image Factory right before a download.
  - A file that is there under its name is taken to be right, because the API does not tell the checksum of a file. O(images[].compare)
    replaces a file that has another size than what is wanted; O(images[].checksum_in_name) makes a file of another checksum another
    file.
  - A download that an earlier run has begun is waited for, not begun again.
  - Nodes work side by side; a file on a storage that nodes share is brought there once.
options:
  images:
    description: The images.
    type: list
    elements: dict
    required: true
    suboptions:
      node:
        description: Node that downloads, or that the file is sent to. One of O(images[].node) and O(images[].nodes) is required.
        type: str
      nodes:
        description: Several nodes. On a storage that they share the first one does the work.
        type: list
        elements: str
      storage:
        description: Storage on which the file lies. It must take this kind of content.
        type: str
        required: true
      content:
        description:
          - V(import) is a disk image that disks of VMs are made from, V(iso) an ISO image, V(vztmpl) a container template.
          - V(snippets) can only be deleted, as the API takes no snippets.
          - By default V(vztmpl) with O(images[].appliance), otherwise V(import).
        type: str
        choices: [import, iso, vztmpl, snippets]
      filename:
        description:
          - Name of the file. By default the last part of O(images[].url), without what O(images[].compression) is for, or of
            O(images[].src).
        type: str
      url:
        description:
          - Where the node downloads from.
          - One of O(images[].url), O(images[].src), O(images[].appliance) and O(images[].image_factory) is required unless
            O(images[].state=absent).
        type: str
      src:
        description:
          - File to upload, on the machine where the module runs, which is the controller for C(localhost). It is sent piece by piece
            with its checksum, which the server verifies.
          - It is sent again when the file on the storage has another size.
        type: path
      appliance:
        description:
          - Container template of the list that Proxmox maintains, either the name of its file or the beginning of it, such as
            V(debian-12-standard), of which the newest version that the node knows is taken.
        type: str
      compression:
        description: How the file at O(images[].url) is compressed. The node decompresses it. Only for V(iso).
        type: str
        choices: [gz, lzo, zst, bz2]
      compare:
        description:
          - How it is told whether a file that is there is the right one. V(name) by its name.
          - V(size) also by its size. The node asks the server of O(images[].url) for it in each run; a file of another size is deleted
            and downloaded again. This is how a file that is replaced under the same address is followed.
          - With V(size) the old file is gone before the new one is there, because Proxmox VE downloads over no file. When the download
            fails then, there is no file of that name until a later run succeeds; O(images[].checksum) does not change that. A release
            whose name or O(images[].checksum_in_name) tells it apart has no such gap.
          - What is uploaded is always compared by its size.
        type: str
        choices: [name, size]
        default: name
      checksum_in_name:
        description:
          - Whether the first twelve digits of O(images[].checksum) become part of the name, as in C(debian-13-amd64-8d5d9f8b6f4f.qcow2).
          - A file with another checksum is then another file; the old one stays until it is made absent.
        type: bool
        default: false
      checksum:
        description:
          - Checksum of the file, checked after the download, and before an upload. May begin with its algorithm, as in V(sha256:…).
          - For a compressed file it is that of the file as it is downloaded.
        type: str
      checksum_algorithm:
        description: Algorithm of the checksum. By default what O(images[].checksum) begins with, or else V(sha256).
        type: str
        choices: [md5, sha1, sha224, sha256, sha384, sha512]
      image_factory:
        description: An image of Talos, made by an Image Factory. Sets O(images[].url) and O(images[].filename).
        type: dict
        suboptions:
          url:
            description: Address of the factory. The controller and the node must both reach it.
            type: str
            default: https://factory.talos.dev
          schematic:
            description: What is to be in the image, in the words of the factory. Empty for plain Talos.
            type: dict
            default: {}
          version:
            description: Version of Talos, such as V(v1.13.9).
            type: str
            required: true
          platform:
            description: Platform. V(nocloud) takes its configuration from a cloud-init drive.
            type: str
            default: nocloud
          arch:
            description: Architecture.
            type: str
            choices: [amd64, arm64]
            default: amd64
          secureboot:
            description: Whether the image is signed for Secure Boot.
            type: bool
            default: false
          validate_certs:
            description: Whether the certificate of the factory must verify, for the controller and for the node.
            type: bool
            default: true
          ca_path:
            description: PEM file with the authorities that the controller trusts for the factory. By default those of the machine.
            type: path
      state:
        description: V(absent) deletes the file.
        type: str
        choices: [present, absent]
        default: present
extends_documentation_fragment:
  - groundwork.homelab.proxmox
  - groundwork.homelab.attributes
  - groundwork.homelab.attributes.actiongroup_proxmox
notes:
  - Rights that are needed - Datastore.Audit and Datastore.AllocateTemplate on C(/storage/<storage>), and Sys.AccessNetwork on
    C(/nodes/<node>) to download from a url or to ask for its size; Datastore.Allocate on C(/storage/<storage>) to delete, and to replace
    what was downloaded. A token needs them as well as its user.
seealso:
  - module: groundwork.homelab.proxmox_vm
  - name: Talos Image Factory
    description: What a schematic may hold.
    link: https://github.com/siderolabs/image-factory
"""

EXAMPLES = r"""
- name: Talos with the QEMU guest agent
  groundwork.homelab.proxmox_image:
    api_host: 192.168.30.10
    api_token_id: ansible@pve!groundwork
    api_token_secret: "{{ proxmox_token_secret }}"
    images:
      - node: pve1
        storage: local
        image_factory:
          version: v1.13.9
          schematic:
            customization:
              systemExtensions:
                officialExtensions:
                  - siderolabs/qemu-guest-agent

- name: A disk image by its address and checksum
  groundwork.homelab.proxmox_image:
    images:
      - node: pve1
        storage: local
        url: https://cloud.example.org/debian-13-amd64.qcow2
        checksum: sha256:8d5d9f8b6f4f3a7e9c3f8f1f6f0e2a7f7a0c6d1b3e5f7a9b1c3d5e7f90a1b2c3

- name: A container template of Proxmox's own list, on two nodes
  groundwork.homelab.proxmox_image:
    images:
      - nodes: [pve1, pve2]
        storage: local
        appliance: debian-12-standard

- name: An ISO image from the controller, and one that its maker has compressed
  groundwork.homelab.proxmox_image:
    images:
      - node: pve1
        storage: local
        content: iso
        src: files/rescue.iso
      - node: pve1
        storage: local
        content: iso
        url: https://cloud.example.org/firewall.iso.gz
        compression: gz

- name: An image that its maker replaces under the same address
  groundwork.homelab.proxmox_image:
    images:
      - node: pve1
        storage: local
        url: https://cloud.example.org/latest.qcow2
        compare: size

- name: An old image is no longer wanted
  groundwork.homelab.proxmox_image:
    images:
      - node: pve1
        storage: local
        filename: debian-12-amd64.qcow2
        state: absent
"""

RETURN = r"""
changes:
  description: What was changed, or would be in check mode, in order.
  returned: always
  type: list
  elements: dict
  contains:
    resource:
      description: The image, as V(image/<node>/<volume id>).
      type: str
      sample: image/pve1/local:import/debian-13-amd64.qcow2
    action:
      description: V(create), V(update) or V(delete).
      type: str
    before:
      description: Size of what is deleted or replaced.
      type: dict
    after:
      description: What is downloaded or uploaded.
      type: dict
images:
  description: The images, in the order of the input, one for each node; also in check mode.
  returned: success
  type: list
  elements: dict
  contains:
    volid:
      description: Volume id, as O(groundwork.homelab.proxmox_vm#module:vms[].disks[].import_from) takes it.
      type: str
      sample: local:import/talos-ce4c980550dd-v1.13.9-nocloud-amd64.qcow2
    node:
      description: Node that it is on.
      type: str
    storage:
      description: Storage that it is on.
      type: str
    content:
      description: Kind of content.
      type: str
    filename:
      description: Name of the file.
      type: str
    url:
      description: Where it is downloaded from, or empty.
      type: str
    schematic:
      description: Id of the schematic, for images of an Image Factory.
      type: str
    state:
      description: V(present) or V(absent).
      type: str
    changed:
      description: Whether it was brought there or deleted. On a storage that nodes share only the one that did it has changed.
      type: bool
"""

import typing as t

from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.api import connection
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.images import images
from ansible_collections.groundwork.homelab.plugins.module_utils.task import Result, Spec, Task, run_as_module

_FACTORY: dict[str, t.Any] = {
    "url": {"type": "str", "default": "https://factory.talos.dev"},
    "schematic": {"type": "dict", "default": {}},
    "version": {"type": "str", "required": True},
    "platform": {"type": "str", "default": "nocloud"},
    "arch": {"type": "str", "choices": ["amd64", "arm64"], "default": "amd64"},
    "secureboot": {"type": "bool", "default": False},
    "validate_certs": {"type": "bool", "default": True},
    "ca_path": {"type": "path"},
}
_IMAGE: dict[str, t.Any] = {
    "node": {"type": "str"},
    "nodes": {"type": "list", "elements": "str"},
    "storage": {"type": "str", "required": True},
    "content": {"type": "str", "choices": ["import", "iso", "vztmpl", "snippets"]},
    "filename": {"type": "str"},
    "url": {"type": "str"},
    "src": {"type": "path"},
    "appliance": {"type": "str"},
    "compression": {"type": "str", "choices": ["gz", "lzo", "zst", "bz2"]},
    "compare": {"type": "str", "choices": ["name", "size"], "default": "name"},
    "checksum_in_name": {"type": "bool", "default": False},
    "checksum": {"type": "str"},
    "checksum_algorithm": {"type": "str", "choices": ["md5", "sha1", "sha224", "sha256", "sha384", "sha512"]},
    "image_factory": {"type": "dict", "options": _FACTORY},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}

SPEC = Spec(
    argument_spec={
        **connection.ARGUMENTS,
        "images": {"type": "list", "elements": "dict", "required": True, "options": _IMAGE},
    }
)


def run(task: Task) -> Result:
    return images.converge(task)


def main() -> None:
    run_as_module(SPEC, run)


if __name__ == "__main__":
    main()
