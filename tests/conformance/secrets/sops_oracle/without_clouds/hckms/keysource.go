// SPDX-License-Identifier: GPL-3.0-or-later

// Package hckms stands in for that of sops, which compiles a cloud's library for what the judges never ask.
package hckms

import (
	"errors"
	"strings"
	"time"
)

const KeyTypeIdentifier = "hckms"

// MasterKey can be read from a file and written to one, and opens nothing.
type MasterKey struct {
	KeyID        string
	Region       string
	KeyUUID      string
	EncryptedKey string
	CreationDate time.Time
}

func NewMasterKey(id string) (*MasterKey, error) { return &MasterKey{KeyID: id}, nil }

func NewMasterKeyFromKeyIDString(ids string) (keys []*MasterKey, err error) {
	for _, id := range strings.FieldsFunc(ids, func(char rune) bool { return char == ',' }) {
		keys = append(keys, &MasterKey{KeyID: id})
	}
	return keys, nil
}

func (key *MasterKey) Encrypt([]byte) error                 { return errors.New("built without hckms") }
func (key *MasterKey) EncryptIfNeeded(dataKey []byte) error { return key.Encrypt(dataKey) }
func (key *MasterKey) EncryptedDataKey() []byte             { return []byte(key.EncryptedKey) }
func (key *MasterKey) SetEncryptedDataKey(sealed []byte)    { key.EncryptedKey = string(sealed) }
func (key *MasterKey) Decrypt() ([]byte, error)             { return nil, errors.New("built without hckms") }
func (key *MasterKey) NeedsRotation() bool                  { return false }
func (key *MasterKey) ToString() string                     { return key.KeyID }
func (key *MasterKey) ToMap() map[string]interface{}        { return nil }
func (key *MasterKey) TypeToIdentifier() string             { return KeyTypeIdentifier }
