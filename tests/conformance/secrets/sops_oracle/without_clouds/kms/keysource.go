// SPDX-License-Identifier: GPL-3.0-or-later

// Package kms stands in for that of sops, which compiles a cloud's library for what the judges never ask.
package kms

import (
	"errors"
	"strings"
	"time"
)

const KeyTypeIdentifier = "kms"

// MasterKey can be read from a file and written to one, and opens nothing.
type MasterKey struct {
	Arn               string
	Role              string
	EncryptedKey      string
	CreationDate      time.Time
	EncryptionContext map[string]*string
	AwsProfile        string
}

func NewMasterKeyWithProfile(arn, role string, context map[string]*string, profile string) *MasterKey {
	return &MasterKey{Arn: arn, Role: role, EncryptionContext: context, AwsProfile: profile}
}

func NewMasterKeyFromArn(arn string, context map[string]*string, profile string) *MasterKey {
	return NewMasterKeyWithProfile(arn, "", context, profile)
}

func MasterKeysFromArnString(arns string, context map[string]*string, profile string) (keys []*MasterKey) {
	for _, arn := range strings.FieldsFunc(arns, func(char rune) bool { return char == ',' }) {
		keys = append(keys, NewMasterKeyFromArn(arn, context, profile))
	}
	return keys
}

func ParseKMSContext(interface{}) map[string]*string { return nil }

func (key *MasterKey) Encrypt([]byte) error                 { return errors.New("built without kms") }
func (key *MasterKey) EncryptIfNeeded(dataKey []byte) error { return key.Encrypt(dataKey) }
func (key *MasterKey) EncryptedDataKey() []byte             { return []byte(key.EncryptedKey) }
func (key *MasterKey) SetEncryptedDataKey(sealed []byte)    { key.EncryptedKey = string(sealed) }
func (key *MasterKey) Decrypt() ([]byte, error)             { return nil, errors.New("built without kms") }
func (key *MasterKey) NeedsRotation() bool                  { return false }
func (key *MasterKey) ToString() string                     { return key.Arn }
func (key *MasterKey) ToMap() map[string]interface{}        { return nil }
func (key *MasterKey) TypeToIdentifier() string             { return KeyTypeIdentifier }
