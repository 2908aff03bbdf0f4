// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/cosi-project/runtime/api/v1alpha1"
	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/resource/protobuf"
	"go.yaml.in/yaml/v4"

	_ "github.com/siderolabs/talos/pkg/machinery/resources/block"
	_ "github.com/siderolabs/talos/pkg/machinery/resources/cluster"
	_ "github.com/siderolabs/talos/pkg/machinery/resources/config"
	_ "github.com/siderolabs/talos/pkg/machinery/resources/etcd"
	_ "github.com/siderolabs/talos/pkg/machinery/resources/hardware"
	_ "github.com/siderolabs/talos/pkg/machinery/resources/k8s"
	_ "github.com/siderolabs/talos/pkg/machinery/resources/network"
	_ "github.com/siderolabs/talos/pkg/machinery/resources/runtime"
	_ "github.com/siderolabs/talos/pkg/machinery/resources/security"
	_ "github.com/siderolabs/talos/pkg/machinery/resources/time"
	_ "github.com/siderolabs/talos/pkg/machinery/resources/v1alpha1"
)

// typed reads a resource's spec, given as YAML, as its own type does, and
// writes it again: in YAML, and in protobuf (base64), as a node sends both.
func typed(asked question) (answer, error) {
	made, err := newResource(asked.Type)
	if err != nil {
		return answer{}, err
	}
	text := yaml.NewDecoder(strings.NewReader(asked.Config))
	text.KnownFields(true)
	if err = text.Decode(made.Spec()); err != nil {
		return answer{}, err
	}
	wire, err := protobuf.FromResource(made)
	if err != nil {
		return answer{}, err
	}
	message, err := wire.Marshal()
	if err != nil {
		return answer{}, err
	}
	return answer{
		Config: message.GetSpec().GetYamlSpec(),
		Proto:  base64.StdEncoding.EncodeToString(message.GetSpec().GetProtoSpec()),
	}, nil
}

// newResource makes an empty one of a registered type.
func newResource(kind string) (resource.Resource, error) {
	empty, err := protobuf.Unmarshal(&v1alpha1.Resource{
		Metadata: &v1alpha1.Metadata{Namespace: "x", Type: kind, Id: "x", Version: "1", Phase: "running"},
		Spec:     &v1alpha1.Spec{},
	})
	if err != nil {
		return nil, err
	}
	made, err := protobuf.UnmarshalResource(empty)
	if err != nil {
		return nil, err
	}
	if _, unknown := made.(*protobuf.Resource); unknown {
		return nil, fmt.Errorf("no type %q is registered", kind)
	}
	return made, nil
}
