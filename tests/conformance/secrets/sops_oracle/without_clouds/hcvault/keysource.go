// SPDX-License-Identifier: GPL-3.0-or-later

// Package hcvault stands in for that of sops, which compiles a cloud's library for what the judges never ask.
package hcvault

import (
	"errors"
	"strings"
	"time"
)

const KeyTypeIdentifier = "hc_vault"

// MasterKey can be read from a file and written to one, and opens nothing.
type MasterKey struct {
	VaultAddress string
	EnginePath   string
	KeyName      string
	EncryptedKey string
	CreationDate time.Time
}

func NewMasterKeyFromURI(uri string) (*MasterKey, error) { return &MasterKey{VaultAddress: uri}, nil }

func NewMasterKeysFromURIs(uris string) (keys []*MasterKey, err error) {
	for _, uri := range strings.FieldsFunc(uris, func(char rune) bool { return char == ',' }) {
		keys = append(keys, &MasterKey{VaultAddress: uri})
	}
	return keys, nil
}

func (key *MasterKey) Encrypt([]byte) error                 { return errors.New("built without hcvault") }
func (key *MasterKey) EncryptIfNeeded(dataKey []byte) error { return key.Encrypt(dataKey) }
func (key *MasterKey) EncryptedDataKey() []byte             { return []byte(key.EncryptedKey) }
func (key *MasterKey) SetEncryptedDataKey(sealed []byte)    { key.EncryptedKey = string(sealed) }
func (key *MasterKey) Decrypt() ([]byte, error)             { return nil, errors.New("built without hcvault") }
func (key *MasterKey) NeedsRotation() bool                  { return false }
func (key *MasterKey) ToString() string                     { return key.VaultAddress }
func (key *MasterKey) ToMap() map[string]interface{}        { return nil }
func (key *MasterKey) TypeToIdentifier() string             { return KeyTypeIdentifier }
