# SPDX-License-Identifier: GPL-3.0-or-later
"""The roles of the collection are data that a server takes."""

from __future__ import annotations

import pytest

from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.access import roles
from simlab.proxmox import privileges


@pytest.mark.parametrize("name", sorted(roles.ROLES))
def test_a_role_has_privileges_that_there_are_and_paths(name: str) -> None:
    role = roles.ROLES[name]
    assert role.privileges <= privileges.ALL
    assert all(path.startswith("/") for path in role.paths)
    assert not name.upper().startswith("PVE")


def test_the_role_of_the_csi_plugin_is_what_its_documentation_asks_for() -> None:
    asked = "VM.Audit VM.Config.Disk Datastore.Allocate Datastore.AllocateSpace Datastore.Audit"
    assert roles.ROLES["CSI"].privileges == set(asked.split())


def test_who_works_with_guests_cannot_change_the_system_or_the_rights() -> None:
    for privilege in ("Sys.Modify", "Sys.Console", "Permissions.Modify", "User.Modify", "Realm.Allocate", "VM.Console"):
        assert privilege not in roles.ROLES["AnsibleGuests"].privileges


def test_a_version_that_does_not_know_a_privilege_gets_the_one_that_did_its_work() -> None:
    known = (privileges.ALL | {"VM.Monitor"}) - {"VM.GuestAgent.Audit"}
    found, unknown = roles.privileges("AnsibleGuests", known)
    assert "VM.Monitor" in found
    assert unknown == ["VM.GuestAgent.Audit"]
    assert roles.privileges("CSI", frozenset()) == ([], sorted(roles.ROLES["CSI"].privileges))


def test_the_role_that_has_a_privilege_is_named() -> None:
    assert roles.holding("VM.Audit") == "AnsibleGuests"
    assert roles.holding("Sys.Modify") == "AnsibleSystem"
    assert roles.holding("Pool.Allocate") == "AnsiblePools"
    assert roles.holding("User.Modify") == "AnsibleAccess"
    assert roles.holding("Sys.PowerMgmt") == ""
