# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What inventory plugins of the collection have in common: options that are checked, and failures that are heard."""

from __future__ import annotations

import typing as t

from ansible import constants
from ansible.errors import AnsibleError, AnsibleParserError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.inventory import BaseInventoryPlugin, Cacheable, Constructable

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import HomelabError, InvalidInput


class LoudInventory(BaseInventoryPlugin, Constructable, Cacheable):
    """An inventory plugin with the option ``mandatory``. A plugin has ``ENDINGS``, ``BOOLEANS``, ``check``, ``populate``."""

    NAME: t.ClassVar[str] = ""
    ENDINGS: t.ClassVar[tuple[str, ...]] = ()
    #: Options that are true or false.
    BOOLEANS: t.ClassVar[tuple[str, ...]] = ("mandatory",)

    def check(self) -> None:
        """Check the options; raises :class:`errors.InvalidInput`."""

    def populate(self, path: str, cache: bool) -> None:
        """Read, and add hosts."""
        raise NotImplementedError

    def verify_file(self, path: str) -> bool:
        return bool(super().verify_file(path)) and path.endswith(self.ENDINGS)

    def parse(self, inventory: t.Any, loader: t.Any, path: str, cache: bool = True) -> None:
        super().parse(inventory, loader, path, cache=cache)
        try:
            given = self._read_config_data(path)
        except AnsibleError:
            self._fail_for_good_if_ours(path)
            raise
        try:
            self._check_names(given)
            self.check()
            self.populate(path, cache)
        except HomelabError as error:
            self._fail_for_good(_is_true(given.get("mandatory")))
            raise AnsibleParserError(error.message) from None
        except AnsibleError:
            self._fail_for_good(_is_true(given.get("mandatory")))
            raise

    def _check_names(self, given: t.Mapping[str, t.Any]) -> None:
        """Ansible takes any name as an option of a file; one that is misspelt would do nothing in silence."""
        known = {name for name in self._options if not name.startswith("_")} | {"plugin"}
        unknown = sorted(str(name) for name in set(given) - known)
        if unknown:
            hint = f"It has: {', '.join(sorted(known))}."
            raise InvalidInput(f"{', '.join(unknown)}: this plugin has no such option", hint=hint)
        check_booleans(given, self.BOOLEANS)

    def expressions(self) -> t.Iterator[tuple[str, object]]:
        """The Jinja expressions of the file, each with where it stands."""
        for option in ("compose", "groups"):
            for name, expression in self.get_option(option).items():
                yield f"{option}: {name}", expression
        for keyed in self.get_option("keyed_groups"):
            if keyed.get("key"):
                yield f"keyed_groups: {keyed['key']}", keyed["key"]

    def construct(self, name: str, variables: dict[str, t.Any]) -> None:
        """Set a host's variables, and do what ``compose``, ``groups`` and ``keyed_groups`` say."""
        for key, value in variables.items():
            self.inventory.set_variable(name, key, value)
        strict = self.get_option("strict")
        self._set_composite_vars(self.get_option("compose"), variables, name, strict=strict)
        composed = self.inventory.get_host(name).get_vars()
        self._add_host_to_composed_groups(self.get_option("groups"), composed, name, strict=strict)
        self._add_host_to_keyed_groups(self.get_option("keyed_groups"), composed, name, strict=strict)

    def _fail_for_good_if_ours(self, path: str) -> None:
        """An option of a wrong type, and not a file of another plugin."""
        try:
            given = self.loader.load_from_file(path, cache="none")
        except Exception:
            return
        if isinstance(given, dict) and given.get("plugin") == self.NAME:
            self._fail_for_good(_is_true(given.get("mandatory")))

    @staticmethod
    def _fail_for_good(mandatory: bool) -> None:
        """Ansible makes a warning of each error of an inventory plugin, and goes on without its hosts.

        This is its setting against that; it is looked at right after, and there is none for a single source.
        """
        if mandatory:
            constants.INVENTORY_ANY_UNPARSED_IS_FAILED = True


def check_booleans(given: t.Mapping[str, t.Any], options: t.Iterable[str]) -> None:
    """Raises :class:`InvalidInput` for what Ansible would take as false because it does not understand it."""
    for option in options:
        try:
            boolean(given.get(option) or False)
        except TypeError:
            raise InvalidInput(f"{option} is {given[option]!r}", hint="Write true or false.") from None


def _is_true(given: t.Any) -> bool:
    """Of the option ``mandatory``: true by default, and when it is neither true nor false, which is an error itself."""
    try:
        return given is None or bool(boolean(given))
    except TypeError:
        return True
