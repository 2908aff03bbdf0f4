// SPDX-License-Identifier: GPL-3.0-or-later

// Command talos-oracle says what Talos's own machinery makes of a question: one
// JSON object a line in, one out. It judges the collection's Python, and is not
// needed to use it.
//
//	{"op": "decode",    "config": "…"}                       -> {"config": "…"}
//	{"op": "validate",  "config": "…", "mode": "metal"}      -> {"warnings": […]} or {"error": "…"}
//	{"op": "patch",     "config": "…", "patches": ["…"]}     -> {"config": "…"}
//	{"op": "generate",  "secrets": "…", "type": "worker", "input": {…}} -> {"config": "…"}
//	{"op": "secrets"}                                        -> {"secrets": "…"}
//	{"op": "bundle",    "secrets": "…"}                      -> {"secrets": "…"} or {"error": "…"}
//	{"op": "clientconfig", "config": "…"}                    -> {"config": "…"} or {"error": "…"}
//	{"op": "talosconfig", "secrets": "…", "input": {…}}      -> {"config": "…"}
//	{"op": "resource",  "type": "…", "config": "…"}          -> {"config": "…", "proto": "…"} or {"error": "…"}
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/cosi-project/runtime/pkg/state"
	"github.com/cosi-project/runtime/pkg/state/impl/inmem"
	"github.com/cosi-project/runtime/pkg/state/impl/namespaced"
	"go.yaml.in/yaml/v4"

	clientconfig "github.com/siderolabs/talos/pkg/machinery/client/config"
	"github.com/siderolabs/talos/pkg/machinery/config"
	"github.com/siderolabs/talos/pkg/machinery/config/configloader"
	"github.com/siderolabs/talos/pkg/machinery/config/configpatcher"
	"github.com/siderolabs/talos/pkg/machinery/config/encoder"
	"github.com/siderolabs/talos/pkg/machinery/config/generate"
	"github.com/siderolabs/talos/pkg/machinery/config/generate/secrets"
	"github.com/siderolabs/talos/pkg/machinery/config/machine"
	"github.com/siderolabs/talos/pkg/machinery/config/types/v1alpha1"
	"github.com/siderolabs/talos/pkg/machinery/config/validation"
)

type input struct {
	Cluster      string   `json:"cluster"`
	Endpoint     string   `json:"endpoint"`
	Kubernetes   string   `json:"kubernetes"`
	Contract     string   `json:"contract"`
	InstallDisk  string   `json:"install_disk"`
	InstallImage string   `json:"install_image"`
	DNSDomain    string   `json:"dns_domain"`
	SANs         []string `json:"sans"`
	Scheduling   bool     `json:"scheduling"`
	CNI          string   `json:"cni"`
	Endpoints    []string `json:"endpoints"`
	Pods         []string `json:"pods"`
	Services     []string `json:"services"`
}

type question struct {
	Op      string   `json:"op"`
	Config  string   `json:"config"`
	Patches []string `json:"patches"`
	Mode    string   `json:"mode"`
	Type    string   `json:"type"`
	Secrets string   `json:"secrets"`
	Input   input    `json:"input"`
}

type answer struct {
	Config   string   `json:"config,omitempty"`
	Secrets  string   `json:"secrets,omitempty"`
	Proto    string   `json:"proto,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
	Error    string   `json:"error,omitempty"`
}

type mode string

func (m mode) String() string        { return string(m) }
func (m mode) RequiresInstall() bool { return m == "metal" }
func (m mode) InContainer() bool     { return m == "container" }

var options = encoder.WithComments(encoder.CommentsDisabled)

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(make([]byte, 1<<20), 64<<20)
	out := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var asked question
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		if err := out.Encode(answered(asked)); err != nil {
			os.Exit(1)
		}
	}
}

func answered(asked question) (said answer) {
	defer func() { // a panic of the machinery is a verdict, too
		if problem := recover(); problem != nil {
			said = answer{Error: fmt.Sprintf("panic: %v", problem)}
		}
	}()
	said, err := ask(asked)
	if err != nil {
		said.Error = err.Error()
	}
	return said
}

func ask(asked question) (answer, error) {
	switch asked.Op {
	case "decode":
		return decode(asked)
	case "validate":
		return validate(asked)
	case "patch":
		return patch(asked)
	case "generate":
		return generated(asked)
	case "talosconfig":
		return talosconfig(asked)
	case "secrets":
		return newSecrets(asked)
	case "bundle":
		return checked(asked)
	case "clientconfig":
		return clientConfig(asked)
	case "resource":
		return typed(asked)
	}
	return answer{}, fmt.Errorf("no operation %q", asked.Op)
}

func decode(asked question) (answer, error) {
	provider, err := configloader.NewFromBytes([]byte(asked.Config))
	if err != nil {
		return answer{}, err
	}
	return encoded(provider)
}

func validate(asked question) (answer, error) {
	provider, err := configloader.NewFromBytes([]byte(asked.Config))
	if err != nil {
		return answer{}, err
	}
	warnings, err := provider.Validate(mode(asked.Mode), validation.WithLocal())
	if err != nil {
		return answer{Warnings: warnings}, err
	}
	// What depends on the version that runs; of disks, which are a node's own, it says nothing here.
	disks := state.WrapCore(namespaced.NewState(inmem.Build))
	more, err := provider.RuntimeValidate(context.Background(), disks, mode("cloud"))
	return answer{Warnings: append(warnings, more...)}, err
}

func patch(asked question) (answer, error) {
	patches := make([]configpatcher.Patch, 0, len(asked.Patches))
	for _, text := range asked.Patches {
		one, err := configpatcher.LoadPatch([]byte(text))
		if err != nil {
			return answer{}, err
		}
		patches = append(patches, one)
	}
	made, err := configpatcher.Apply(configpatcher.WithBytes([]byte(asked.Config)), patches)
	if err != nil {
		return answer{}, err
	}
	provider, err := made.Config()
	if err != nil {
		return answer{}, err
	}
	return encoded(provider)
}

func encoded(provider config.Encoder) (answer, error) {
	text, err := provider.EncodeBytes(options)
	return answer{Config: string(text)}, err
}

func generated(asked question) (answer, error) {
	in, err := newInput(asked)
	if err != nil {
		return answer{}, err
	}
	kind, err := machine.ParseType(asked.Type)
	if err != nil {
		return answer{}, err
	}
	provider, err := in.Config(kind)
	if err != nil {
		return answer{}, err
	}
	return encoded(provider)
}

func talosconfig(asked question) (answer, error) {
	in, err := newInput(asked)
	if err != nil {
		return answer{}, err
	}
	made, err := in.Talosconfig()
	if err != nil {
		return answer{}, err
	}
	text, err := made.Bytes()
	return answer{Config: string(text)}, err
}

func newInput(asked question) (*generate.Input, error) {
	contract, err := config.ParseContractFromVersion(asked.Input.Contract)
	if err != nil {
		return nil, err
	}
	bundle, err := load(asked.Secrets)
	if err != nil {
		return nil, err
	}
	with := []generate.Option{
		generate.WithVersionContract(contract),
		generate.WithSecretsBundle(bundle),
		generate.WithAllowSchedulingOnControlPlanes(asked.Input.Scheduling),
		generate.WithAdditionalSubjectAltNames(asked.Input.SANs),
		generate.WithEndpointList(asked.Input.Endpoints),
	}
	if asked.Input.InstallDisk != "" {
		with = append(with, generate.WithInstallDisk(asked.Input.InstallDisk))
	}
	if asked.Input.InstallImage != "" {
		with = append(with, generate.WithInstallImage(asked.Input.InstallImage))
	}
	if asked.Input.DNSDomain != "" {
		with = append(with, generate.WithDNSDomain(asked.Input.DNSDomain))
	}
	if asked.Input.CNI != "" {
		with = append(with, generate.WithClusterCNIConfig(&v1alpha1.CNIConfig{CNIName: asked.Input.CNI}))
	}
	kubernetes := strings.TrimPrefix(asked.Input.Kubernetes, "v")
	made, err := generate.NewInput(asked.Input.Cluster, asked.Input.Endpoint, kubernetes, with...)
	if err == nil && len(asked.Input.Pods) > 0 {
		made.PodNet, made.ServiceNet = asked.Input.Pods, asked.Input.Services
	}
	return made, err
}

func load(text string) (*secrets.Bundle, error) {
	bundle := &secrets.Bundle{}
	if err := yaml.Unmarshal([]byte(text), bundle); err != nil {
		return nil, err
	}
	bundle.Clock = secrets.NewFixedClock(time.Now())
	return bundle, nil
}

func checked(asked question) (answer, error) {
	bundle, err := load(asked.Secrets)
	if err != nil {
		return answer{}, err
	}
	if err = bundle.Validate(); err != nil {
		return answer{}, err
	}
	text, err := yaml.Marshal(bundle)
	return answer{Secrets: string(text)}, err
}

func clientConfig(asked question) (answer, error) {
	read, err := clientconfig.FromString(asked.Config)
	if err != nil {
		return answer{}, err
	}
	text, err := read.Bytes()
	return answer{Config: string(text)}, err
}

func newSecrets(asked question) (answer, error) {
	contract, err := config.ParseContractFromVersion(asked.Input.Contract)
	if err != nil {
		return answer{}, err
	}
	bundle, err := secrets.NewBundle(secrets.NewFixedClock(time.Now()), contract)
	if err != nil {
		return answer{}, err
	}
	text, err := yaml.Marshal(bundle)
	return answer{Secrets: string(text)}, err
}
