// SPDX-License-Identifier: GPL-3.0-or-later

// Package gcpkms stands in for that of sops, which compiles a cloud's library for what the judges never ask.
package gcpkms

import (
	"errors"
	"strings"
	"time"
)

const KeyTypeIdentifier = "gcp_kms"

// MasterKey can be read from a file and written to one, and opens nothing.
type MasterKey struct {
	ResourceID   string
	EncryptedKey string
	CreationDate time.Time
}

func NewMasterKeyFromResourceID(id string) *MasterKey { return &MasterKey{ResourceID: id} }

func MasterKeysFromResourceIDString(ids string) (keys []*MasterKey) {
	for _, id := range strings.FieldsFunc(ids, func(char rune) bool { return char == ',' }) {
		keys = append(keys, NewMasterKeyFromResourceID(id))
	}
	return keys
}

func (key *MasterKey) Encrypt([]byte) error                 { return errors.New("built without gcpkms") }
func (key *MasterKey) EncryptIfNeeded(dataKey []byte) error { return key.Encrypt(dataKey) }
func (key *MasterKey) EncryptedDataKey() []byte             { return []byte(key.EncryptedKey) }
func (key *MasterKey) SetEncryptedDataKey(sealed []byte)    { key.EncryptedKey = string(sealed) }
func (key *MasterKey) Decrypt() ([]byte, error)             { return nil, errors.New("built without gcpkms") }
func (key *MasterKey) NeedsRotation() bool                  { return false }
func (key *MasterKey) ToString() string                     { return key.ResourceID }
func (key *MasterKey) ToMap() map[string]interface{}        { return nil }
func (key *MasterKey) TypeToIdentifier() string             { return KeyTypeIdentifier }
