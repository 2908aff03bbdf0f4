// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bytes"
	"crypto/rsa"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"time"

	ssv1 "github.com/bitnami/sealed-secrets/pkg/apis/sealedsecrets/v1alpha1"
	"github.com/bitnami/sealed-secrets/pkg/crypto"
	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
)

// seal does what kubeseal does with a Secret and a certificate.
func seal(asked question) (answer, error) {
	certs, err := cert.ParseCertsPEM(asked.Certificate)
	if err != nil {
		return answer{}, err
	}
	// kubeseal refuses an expired certificate in these words' spirit.
	if time.Now().After(certs[0].NotAfter) {
		return answer{}, fmt.Errorf("certificate expired")
	}
	var secret v1.Secret
	if err := json.Unmarshal(asked.Plain, &secret); err != nil {
		return answer{}, err
	}
	sealed, err := ssv1.NewSealedSecret(scheme.Codecs, certs[0].PublicKey.(*rsa.PublicKey), &secret)
	if err != nil {
		return answer{}, err
	}
	data, err := json.Marshal(sealed)
	return answer{Data: data}, err
}

// unseal does what the controller does with a SealedSecret and its keys.
func unseal(asked question) (answer, error) {
	var sealed ssv1.SealedSecret
	decoder := json.NewDecoder(bytes.NewReader(asked.Data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&sealed); err != nil {
		return answer{}, err
	}
	keys, err := privateKeys(asked.Keys)
	if err != nil {
		return answer{}, err
	}
	secret, err := sealed.Unseal(scheme.Codecs, keys)
	if err != nil {
		return answer{}, err
	}
	data, err := json.Marshal(secret)
	return answer{Data: data}, err
}

func privateKeys(texts []string) (map[string]*rsa.PrivateKey, error) {
	keys := map[string]*rsa.PrivateKey{}
	for _, text := range texts {
		parsed, err := keyutil.ParsePrivateKeyPEM([]byte(text))
		if err != nil {
			return nil, err
		}
		key := parsed.(*rsa.PrivateKey)
		name, err := crypto.PublicKeyFingerprint(&key.PublicKey)
		if err != nil {
			return nil, err
		}
		keys[name] = key
	}
	return keys, nil
}

// keyPair makes what the controller makes when it has no key: the private key and its certificate, one after the other.
func keyPair(asked question) (answer, error) {
	key, made, err := crypto.GeneratePrivateKeyAndCert(2048, 24*time.Hour, "")
	if err != nil {
		return answer{}, err
	}
	private, err := keyutil.MarshalPrivateKeyToPEM(key)
	if err != nil {
		return answer{}, err
	}
	public := pem.EncodeToMemory(&pem.Block{Type: cert.CertificateBlockType, Bytes: made.Raw})
	name, err := crypto.PublicKeyFingerprint(&key.PublicKey)
	return answer{Files: map[string][]byte{"tls.key": private, "tls.crt": public}, Text: strings.TrimSpace(name)}, err
}
