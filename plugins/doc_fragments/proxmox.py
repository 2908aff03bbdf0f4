# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The connection options of the action group ``proxmox``."""

from __future__ import annotations


class ModuleDocFragment:
    """``groundwork.homelab.proxmox``; the spec is ``module_utils/proxmox/api/connection.py``."""

    DOCUMENTATION = r"""
options:
  api_host:
    description:
      - Name or address of a Proxmox VE node; any node of a cluster will do.
      - If the value is not specified in the task, the value of environment variable E(PROXMOX_HOST) will be used instead.
    type: str
  api_port:
    description:
      - Port of the API.
      - If the value is not specified in the task, the value of environment variable E(PROXMOX_PORT) will be used instead.
    type: int
    default: 8006
  api_user:
    description:
      - Who asks, with the realm, such as V(ansible@pve).
      - May be left out when O(api_token_id) names the user.
      - If the value is not specified in the task, the value of environment variable E(PROXMOX_USER) will be used instead.
    type: str
  api_password:
    description:
      - Password of O(api_user). An API token is the better way, as it can do less.
      - Not used when O(api_token_id) is set.
      - If the value is not specified in the task, the value of environment variable E(PROXMOX_PASSWORD) will be used instead.
    type: str
  api_token_id:
    description:
      - Name of an API token, either alone, such as V(groundwork), or with its user, such as V(ansible@pve!groundwork).
      - If the value is not specified in the task, the value of environment variable E(PROXMOX_TOKEN_ID) will be used instead.
    type: str
  api_token_secret:
    description:
      - Secret of the API token.
      - If the value is not specified in the task, the value of environment variable E(PROXMOX_TOKEN_SECRET) will be used instead.
    type: str
  validate_certs:
    description:
      - Whether the certificate of the API must verify.
      - If the value is not specified in the task, the value of environment variable E(PROXMOX_VALIDATE_CERTS) will be used instead.
    type: bool
    default: true
  ca_path:
    description:
      - PEM file with the authorities to trust, for example a copy of C(/etc/pve/pve-root-ca.pem) of the node.
      - Without it, E(REQUESTS_CA_BUNDLE) or else the certificates that the machine trusts are used.
      - If the value is not specified in the task, the value of environment variable E(PROXMOX_CA_PATH) will be used instead.
    type: path
  api_timeout:
    description:
      - Seconds to wait for one answer of the API.
    type: float
    default: 30
  task_timeout:
    description:
      - Seconds to wait for one piece of work that the API has accepted, such as a download or the creation of a VM, and for locks
        that others hold.
    type: float
    default: 600
requirements:
  - urllib3 >= 2.0
"""

    # Modules that bring lists of VMs or containers to what is wanted.
    GUESTS = r"""
options:
  planned_images:
    description:
      - Images, templates, ISOs and snippets that an earlier task of the play makes. They are not looked for, so that check mode can
        plan guests before the download.
    type: list
    elements: str
    default: []
  shutdown_timeout:
    description: Seconds that a guest has to shut down before it is switched off. Has to be shorter than O(task_timeout).
    type: int
    default: 180
notes:
  - A right that is missing is named before anything is written, as far as the server tells what rights there are. For a token, its user
    needs them as well.
"""

    PLANNED = r"""
options:
  planned_vms:
    description:
      - Numbers of VMs that an earlier task of this check run would create. Only used in check mode.
      - What they may do is not checked then, as nobody knows yet in which pool they will be.
    type: list
    elements: int
    default: []
  planned_containers:
    description: The same for containers.
    type: list
    elements: int
    default: []
"""

    # For plugins, which Ansible itself gives these; modules have them from their spec. To be used after the above.
    ENVIRONMENT = r"""
options:
  api_host:
    env:
      - name: PROXMOX_HOST
  api_port:
    env:
      - name: PROXMOX_PORT
  api_user:
    env:
      - name: PROXMOX_USER
  api_password:
    env:
      - name: PROXMOX_PASSWORD
  api_token_id:
    env:
      - name: PROXMOX_TOKEN_ID
  api_token_secret:
    env:
      - name: PROXMOX_TOKEN_SECRET
  validate_certs:
    env:
      - name: PROXMOX_VALIDATE_CERTS
  ca_path:
    env:
      - name: PROXMOX_CA_PATH
"""
