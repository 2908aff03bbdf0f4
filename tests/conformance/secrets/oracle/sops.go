// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
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
