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
  - Lets a node download images, with their checksums where they are given, and deletes images that are to be absent.
  - Images of Talos can be described by what is to be in them. Their schematic, URL and file name follow from that without asking
    anybody; the schematic is registered with the Image Factory right before a download.
  - A file that is there under its name is taken to be right, because the API does not tell the checksum of a file. Give a file of
    another content another name, or delete the old one first.
  - A download that an earlier run has begun is waited for, not begun again.
options:
  images:
    description: The images.
    type: list
    elements: dict
    required: true
    suboptions:
      node:
        description: Node that downloads.
        type: str
        required: true
      storage:
        description: Storage on which the file lies. It must take this kind of content.
        type: str
        required: true
      content:
        description:
          - V(import) is a disk image that disks of VMs are made from, V(iso) an ISO image, V(vztmpl) a container template.
        type: str
        choices: [import, iso, vztmpl]
        default: import
      filename:
        description: Name of the file. By default the last part of O(images[].url).
        type: str
      url:
        description: Where the node downloads from. Required unless O(images[].image_factory) is given or O(images[].state=absent).
        type: str
      checksum:
        description:
          - Checksum of the file, checked after the download. May begin with its algorithm, as in V(sha256:…).
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
  - Rights that are needed - Datastore.Audit and Datastore.AllocateTemplate on C(/storage/<storage>) and Sys.AccessNetwork on
    C(/nodes/<node>) to download; Datastore.Allocate on C(/storage/<storage>) to delete. A token needs them as well as its user.
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
      description: V(create) or V(delete).
      type: str
    before:
      description: What is deleted.
      type: dict
    after:
      description: What is downloaded.
      type: dict
images:
  description: The images, in the order of the input; also in check mode.
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
      description: Where it comes from.
      type: str
    schematic:
      description: Id of the schematic, for images of an Image Factory.
      type: str
    state:
      description: V(present) or V(absent).
      type: str
    changed:
      description: Whether it was downloaded or deleted.
      type: bool
"""

import typing as t

from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox import connection, images
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
    "node": {"type": "str", "required": True},
    "storage": {"type": "str", "required": True},
    "content": {"type": "str", "choices": ["import", "iso", "vztmpl"], "default": "import"},
    "filename": {"type": "str"},
    "url": {"type": "str"},
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
