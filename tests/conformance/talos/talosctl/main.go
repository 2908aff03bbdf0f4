// SPDX-License-Identifier: GPL-3.0-or-later

// Command talosctl is Talos's own, as far as it talks to nodes: the commands that
// make configs and local clusters are left out, as they want half of Docker. It
// judges the simulated node, and is not needed to use the collection.
package main

import (
	"fmt"
	"os"

	_ "github.com/siderolabs/talos/cmd/talosctl/acompat"
	"github.com/siderolabs/talos/cmd/talosctl/cmd/talos"
	"github.com/spf13/cobra"
)

func main() {
	root := &cobra.Command{Use: "talosctl", SilenceErrors: true, SilenceUsage: true}
	root.AddCommand(talos.Commands...)
	if err := root.Execute(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
