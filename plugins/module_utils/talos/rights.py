# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the roles of a client certificate allow: known before a node is asked, so that nothing is begun in vain."""

from __future__ import annotations

from ..errors import AccessDenied
from . import pki
from .tls import Identity

ADMIN, OPERATOR, READER, BACKUP = "os:admin", "os:operator", "os:reader", "os:etcd:backup"

#: Calls that not everybody may make, and who may, as Talos's own table has it. ``Get`` is that of a machine's status.
CALLS: dict[str, tuple[str, ...]] = {
    "Get": (ADMIN, OPERATOR, READER),
    "EtcdSnapshot": (ADMIN, BACKUP, OPERATOR),
    "Reboot": (ADMIN, OPERATOR),
    "Bootstrap": (ADMIN,),
    "Kubeconfig": (ADMIN,),
    "Reset": (ADMIN,),
}


def require(identity: Identity, call: str) -> None:
    """Raise when no role of the certificate allows a call."""
    if not set(pki.roles(identity.client.crt)) & set(CALLS[call]):
        raise too_little(identity, call)


def too_little(identity: Identity, call: str, *, of: str = "", answer: str = "") -> AccessDenied:
    """The error for a call that these roles do not allow; ``answer`` is what the node said, if it was asked."""
    given = f"the client certificate has the roles {', '.join(pki.roles(identity.client.crt)) or '(none)'}"
    wanted = CALLS[call]
    hint = f"It needs one of {', '.join(wanted)}." if len(wanted) > 1 else f"It needs the role {wanted[0]}."
    return AccessDenied(
        f"call {call}", of=of, answer=f"{answer}; {given}" if answer else given, hint=hint, rpc=call, roles=list(wanted)
    )
