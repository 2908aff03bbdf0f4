# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The connection options of the action group ``kubernetes``."""

from __future__ import annotations


class ModuleDocFragment:
    """``groundwork.homelab.kubernetes``; the spec is ``module_utils/kubernetes/kubeconfig.py``."""

    DOCUMENTATION = r"""
options:
  kubeconfig:
    description:
      - Path of the kubeconfig file, such as the one that M(groundwork.homelab.talos_kubeconfig) writes.
      - If the value is not specified in the task, the value of environment variable E(KUBECONFIG), or else
        E(K8S_AUTH_KUBECONFIG), will be used instead; without them C(~/.kube/config).
      - Several files, with a colon between them, are taken as one, as kubectl does it. Where two have an entry of the same name, the
        first counts.
      - Programs that give credentials (C(exec)) are run without a terminal, once a task. Users to act as (C(as), C(as-groups)), proxies
        (C(proxy-url), or those of the environment) and C(tls-server-name) count, too.
    type: path
  context:
    description:
      - Which context of the kubeconfig to use; the current one if left out.
      - If the value is not specified in the task, the value of environment variable E(K8S_AUTH_CONTEXT) will be used instead.
    type: str
  api_timeout:
    description:
      - Seconds to wait for one answer of the API.
    type: float
    default: 30
requirements:
  - PyYAML
  - urllib3
  - kubernetes >= 29.0 (for a kubeconfig with an auth-provider only)
"""
