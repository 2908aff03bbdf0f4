#!/usr/bin/python
# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: talos_image
short_description: Name, register and check images of Talos at an Image Factory
version_added: 0.1.0
author: "groundwork.homelab authors (@groundwork)"
description:
  - Says what the installer, disk images, ISO images and network boot files of a Talos with these extensions and kernel arguments are called.
    A schematic's id is computed here, so nobody is asked for it.
  - Registers the schematics at the factory where O(register) asks for it, and only those that it does not know yet.
  - Asks the factory whether it has what is wanted where O(verify) asks for it.
  - Nothing is downloaded. M(groundwork.homelab.proxmox_image) brings an image to a hypervisor.
extends_documentation_fragment:
  - groundwork.homelab.attributes
attributes:
  check_mode:
    details: An image of a schematic that is not registered yet is not asked for in check mode, for the factory cannot know it.
  diff_mode:
    details: A machine config that is embedded in a schematic is hidden.
options:
  images:
    description:
      - The images.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: A name of yours that comes back with the result, to tell one image from another.
        type: str
      extensions:
        description:
          - Official system extensions by their whole names, such as V(siderolabs/qemu-guest-agent).
          - Their order is part of the schematic's id.
        type: list
        elements: str
        default: []
      kernel_args:
        description: Arguments that are added to the kernel's command line. A leading V(-) takes one away.
        type: list
        elements: str
        default: []
      schematic:
        description: The schematic in the words of the factory, for everything that has no option here. Empty for plain Talos.
        type: dict
        default: {}
      version:
        description: Version of Talos.
        type: str
        default: v1.13.9
      platform:
        description: The platform as the factory calls it. V(nocloud) is for machines with a cloud-init drive, V(metal) for those without.
        type: str
        default: nocloud
      arch:
        description: Architecture of the machine.
        type: str
        choices: [amd64, arm64]
        default: amd64
      secureboot:
        description: Whether the image is one for SecureBoot.
        type: bool
        default: false
      disk_format:
        description: What the name of the disk image ends with.
        type: str
        choices: [qcow2, raw, raw.xz]
        default: qcow2
  register:
    description: Register schematics that the factory does not know. It builds no image of a schematic that it does not know.
    type: bool
    default: false
  verify:
    description:
      - What to ask the factory before the task succeeds.
      - V(version) and V(extensions) are looked up before anything is registered.
      - V(disk_image) and V(iso) make the factory build the image, which takes minutes when nobody has asked for it before.
    type: list
    elements: str
    choices: [version, extensions, disk_image, iso]
    default: []
  factory_url:
    description: Address of the factory.
    type: str
    default: https://factory.talos.dev
  validate_certs:
    description: Whether the certificate of the factory must verify.
    type: bool
    default: true
  ca_path:
    description: PEM file with the authorities that are trusted for the factory. By default those of the machine.
    type: path
  timeout:
    description: Seconds that one answer of the factory may take.
    type: int
    default: 300
requirements:
  - PyYAML
  - urllib3 >= 2.0, to ask a factory
notes:
  - Nobody is asked anything without O(register) and O(verify).
seealso:
  - module: groundwork.homelab.proxmox_image
  - plugin: groundwork.homelab.schematic_id
    plugin_type: filter
  - name: Image Factory
    description: What a schematic may hold.
    link: https://github.com/siderolabs/image-factory
"""

EXAMPLES = r"""
- name: What plain workers and those with a GPU boot from
  groundwork.homelab.talos_image:
    images:
      - name: worker
        extensions: [siderolabs/qemu-guest-agent]
      - name: gpu
        extensions: [siderolabs/qemu-guest-agent, siderolabs/i915]
        kernel_args: [net.ifnames=0]
  register: image

- name: The installer, for a machine config or an upgrade
  ansible.builtin.debug:
    msg: "{{ image.images[0].installer }}"

- name: Register a schematic, and see that there is an ISO image of it
  groundwork.homelab.talos_image:
    images:
      - extensions: [siderolabs/iscsi-tools]
        platform: metal
        version: v1.13.9
    register: true
    verify: [version, extensions, iso]
"""

RETURN = r"""
images:
  description: One entry for each of O(images), in their order.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The value of O(images[].name), empty without one.
      type: str
      sample: worker
    schematic:
      description: Id of the schematic.
      type: str
      sample: ce4c980550dd2ab1b17bbf2b08801c7eb59418eafe8f279833297925d67c7515
    version:
      description: Version of Talos.
      type: str
      sample: v1.13.9
    platform:
      description: The platform.
      type: str
      sample: nocloud
    arch:
      description: The architecture.
      type: str
      sample: amd64
    secureboot:
      description: Whether it is for SecureBoot.
      type: bool
      sample: false
    installer:
      description: Container image that installs and upgrades it.
      type: str
      sample: factory.talos.dev/nocloud-installer/ce4c980550dd2ab1b17bbf2b08801c7eb59418eafe8f279833297925d67c7515:v1.13.9
    disk_image_url:
      description: Address of the disk image.
      type: str
      sample: https://factory.talos.dev/image/ce4c980550dd2ab1b17bbf2b08801c7eb59418eafe8f279833297925d67c7515/v1.13.9/nocloud-amd64.qcow2
    disk_image_filename:
      description: A name for its file that tells it from all others. M(groundwork.homelab.proxmox_image) uses the same.
      type: str
      sample: talos-ce4c980550dd-v1.13.9-nocloud-amd64.qcow2
    iso_url:
      description: Address of the ISO image.
      type: str
      sample: https://factory.talos.dev/image/ce4c980550dd2ab1b17bbf2b08801c7eb59418eafe8f279833297925d67c7515/v1.13.9/nocloud-amd64.iso
    iso_filename:
      description: A name for its file.
      type: str
      sample: talos-ce4c980550dd-v1.13.9-nocloud-amd64.iso
    kernel_url:
      description: Address of the kernel.
      type: str
      sample: https://factory.talos.dev/image/ce4c980550dd2ab1b17bbf2b08801c7eb59418eafe8f279833297925d67c7515/v1.13.9/kernel-amd64
    initramfs_url:
      description: Address of the initial file system.
      type: str
      sample: https://factory.talos.dev/image/ce4c980550dd2ab1b17bbf2b08801c7eb59418eafe8f279833297925d67c7515/v1.13.9/initramfs-amd64.xz
    cmdline_url:
      description: Address of the kernel's command line.
      type: str
      sample: https://factory.talos.dev/image/ce4c980550dd2ab1b17bbf2b08801c7eb59418eafe8f279833297925d67c7515/v1.13.9/cmdline-nocloud-amd64
    uki_url:
      description: Address of the unified kernel image.
      type: str
      sample: https://factory.talos.dev/image/ce4c980550dd2ab1b17bbf2b08801c7eb59418eafe8f279833297925d67c7515/v1.13.9/nocloud-amd64-uki.efi
    pxe_url:
      description: Address of the iPXE script.
      type: str
      sample: https://factory.talos.dev/pxe/ce4c980550dd2ab1b17bbf2b08801c7eb59418eafe8f279833297925d67c7515/v1.13.9/nocloud-amd64
changes:
  description: The changes that were made, or in check mode would be. Secrets are hidden.
  returned: always
  type: list
  elements: dict
  contains:
    resource:
      description: Name of what changes.
      type: str
      sample: schematic/ce4c980550dd2ab1b17bbf2b08801c7eb59418eafe8f279833297925d67c7515
    action:
      description: V(create), as a schematic is never changed.
      type: str
    after:
      description: The factory and the schematic.
      type: dict
"""

import typing as t

from ansible_collections.groundwork.homelab.plugins.module_utils.task import (
    Spec,
    Task,
    run_as_module,
)

_IMAGE = {
    "name": {"type": "str"},
    "extensions": {"type": "list", "elements": "str", "default": []},
    "kernel_args": {"type": "list", "elements": "str", "default": []},
    "schematic": {"type": "dict", "default": {}},
    "version": {"type": "str", "default": "v1.13.9"},
    "platform": {"type": "str", "default": "nocloud"},
    "arch": {"type": "str", "choices": ["amd64", "arm64"], "default": "amd64"},
    "secureboot": {"type": "bool", "default": False},
    "disk_format": {"type": "str", "choices": ["qcow2", "raw", "raw.xz"], "default": "qcow2"},
}

SPEC = Spec(
    argument_spec={
        "images": {"type": "list", "elements": "dict", "required": True, "options": _IMAGE},
        "register": {"type": "bool", "default": False},
        "verify": {
            "type": "list",
            "elements": "str",
            "choices": ["version", "extensions", "disk_image", "iso"],
            "default": [],
        },
        "factory_url": {"type": "str", "default": "https://factory.talos.dev"},
        "validate_certs": {"type": "bool", "default": True},
        "ca_path": {"type": "path"},
        "timeout": {"type": "int", "default": 300},
    }
)


def run(task: Task) -> dict[str, t.Any]:
    """Names, and what the factory is asked for."""
    from ansible_collections.groundwork.homelab.plugins.module_utils.talos import images

    return images.run(task)


def main() -> None:
    run_as_module(SPEC, run)


if __name__ == "__main__":
    main()
