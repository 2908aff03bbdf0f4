// SPDX-License-Identifier: GPL-3.0-or-later

// Command sops-oracle says what sops itself makes of a question: one JSON object a line in, one out. It judges the
// collection's Python, and is not needed to use it. Bytes are base64. It is compiled as a part of sops's own module, in which
// the key services of clouds are replaced (without_clouds): they are seven hundred packages that no judge asks.
//
//	{"op": "sops-encrypt", "plain": …, "format": "yaml", "recipients": […], "rules": {…}} -> {"data": …}
//	{"op": "sops-decrypt", "data": …, "format": "yaml", "identity": …} -> {"data": …}
//	{"op": "sops-rule", "config": path of .sops.yaml, "path": …} -> {"recipients": […], "rules": {…}}
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/aes"
	sopsage "github.com/getsops/sops/v3/age"
	"github.com/getsops/sops/v3/cmd/sops/common"
	"github.com/getsops/sops/v3/cmd/sops/formats"
	"github.com/getsops/sops/v3/config"
	"github.com/getsops/sops/v3/decrypt"
	"github.com/getsops/sops/v3/keys"
	"github.com/getsops/sops/v3/version"
)

type question struct {
	Op         string   `json:"op"`
	Plain      []byte   `json:"plain"`
	Data       []byte   `json:"data"`
	Recipients []string `json:"recipients"`
	Identity   string   `json:"identity"`
	Format     string   `json:"format"`
	Rules      rules    `json:"rules"`
	Config     string   `json:"config"`
	Path       string   `json:"path"`
}

type answer struct {
	Data       []byte   `json:"data"`
	Error      string   `json:"error,omitempty"`
	Rules      *rules   `json:"rules,omitempty"`
	Recipients []string `json:"recipients,omitempty"`
}

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
		said, err := ask(asked)
		if err != nil {
			said.Error = err.Error()
		}
		if err := out.Encode(said); err != nil {
			os.Exit(1)
		}
	}
}

func ask(asked question) (answer, error) {
	known := map[string]func(question) (answer, error){
		"sops-encrypt": sopsEncrypt,
		"sops-decrypt": sopsDecrypt,
		"sops-rule":    sopsRule,
	}
	if operation, there := known[asked.Op]; there {
		return operation(asked)
	}
	return answer{}, fmt.Errorf("no operation %q", asked.Op)
}

// rules are the words that say which values are encrypted, as a creation rule has them.
type rules struct {
	UnencryptedSuffix string `json:"unencrypted_suffix,omitempty"`
	EncryptedSuffix   string `json:"encrypted_suffix,omitempty"`
	UnencryptedRegex  string `json:"unencrypted_regex,omitempty"`
	EncryptedRegex    string `json:"encrypted_regex,omitempty"`
	MACOnlyEncrypted  bool   `json:"mac_only_encrypted,omitempty"`
}

// sopsDecrypt does what `sops decrypt` does, the check of the MAC included.
func sopsDecrypt(asked question) (answer, error) {
	if err := os.Setenv("SOPS_AGE_KEY", asked.Identity); err != nil {
		return answer{}, err
	}
	plain, err := decrypt.Data(asked.Data, asked.Format)
	return answer{Data: plain}, err
}

// sopsEncrypt does what `sops encrypt` does.
func sopsEncrypt(asked question) (answer, error) {
	store := common.StoreForFormat(formats.FormatFromString(asked.Format), config.NewStoresConfig())
	branches, err := store.LoadPlainFile(asked.Plain)
	if err != nil {
		return answer{}, err
	}
	var group sops.KeyGroup
	for _, recipient := range asked.Recipients {
		made, err := sopsage.MasterKeysFromRecipients(recipient)
		if err != nil {
			return answer{}, err
		}
		for _, key := range made {
			group = append(group, keys.MasterKey(key))
		}
	}
	tree := sops.Tree{Branches: branches, Metadata: sops.Metadata{
		KeyGroups:         []sops.KeyGroup{group},
		UnencryptedSuffix: asked.Rules.UnencryptedSuffix,
		EncryptedSuffix:   asked.Rules.EncryptedSuffix,
		UnencryptedRegex:  asked.Rules.UnencryptedRegex,
		EncryptedRegex:    asked.Rules.EncryptedRegex,
		MACOnlyEncrypted:  asked.Rules.MACOnlyEncrypted,
		Version:           version.Version,
		LastModified:      time.Now().UTC(),
	}}
	key, errs := tree.GenerateDataKey()
	if len(errs) > 0 {
		return answer{}, errs[0]
	}
	if err := common.EncryptTree(common.EncryptTreeOpts{Tree: &tree, Cipher: aes.NewCipher(), DataKey: key}); err != nil {
		return answer{}, err
	}
	data, err := store.EmitEncryptedFile(tree)
	return answer{Data: data}, err
}

// sopsRule says which creation rule sops would take for a file: its recipients, and its words.
func sopsRule(asked question) (answer, error) {
	found, err := config.LoadCreationRuleForFile(asked.Config, asked.Path, nil)
	if err != nil {
		return answer{}, err
	}
	said := answer{Rules: &rules{
		UnencryptedSuffix: found.UnencryptedSuffix,
		EncryptedSuffix:   found.EncryptedSuffix,
		UnencryptedRegex:  found.UnencryptedRegex,
		EncryptedRegex:    found.EncryptedRegex,
		MACOnlyEncrypted:  found.MACOnlyEncrypted,
	}}
	for _, group := range found.KeyGroups {
		for _, key := range group {
			said.Recipients = append(said.Recipients, key.ToString())
		}
	}
	return said, nil
}
