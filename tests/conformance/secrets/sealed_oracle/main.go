// SPDX-License-Identifier: GPL-3.0-or-later

// Command sealed-oracle says what the code of kubeseal and of the sealed-secrets controller makes of a question: one JSON
// object a line in, one out. It judges the collection's Python, and is not needed to use it. Bytes are base64.
//
//	{"op": "seal", "plain": a Secret, "certificate": PEM}    -> {"data": a SealedSecret}
//	{"op": "unseal", "data": a SealedSecret, "keys": ["PEM"]} -> {"data": a Secret}
//	{"op": "key-pair"}                                       -> {"files": {"tls.key": …, "tls.crt": …}, "text": fingerprint}
package main

import (
	"bufio"
	"bytes"
	"crypto/rsa"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"strings"
	"time"

	ssv1 "github.com/bitnami/sealed-secrets/pkg/apis/sealedsecrets/v1alpha1"
	"github.com/bitnami/sealed-secrets/pkg/crypto"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
)

// codecs know Secrets only: all kinds of Kubernetes would take minutes to compile.
var codecs = func() serializer.CodecFactory {
	known := runtime.NewScheme()
	utilruntime.Must(v1.AddToScheme(known))
	return serializer.NewCodecFactory(known)
}()

type question struct {
	Op          string   `json:"op"`
	Plain       []byte   `json:"plain"`
	Data        []byte   `json:"data"`
	Certificate []byte   `json:"certificate"`
	Keys        []string `json:"keys"`
}

type answer struct {
	Data  []byte            `json:"data"`
	Files map[string][]byte `json:"files,omitempty"`
	Text  string            `json:"text,omitempty"`
	Error string            `json:"error,omitempty"`
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
		"seal":     seal,
		"unseal":   unseal,
		"key-pair": keyPair,
	}
	if operation, there := known[asked.Op]; there {
		return operation(asked)
	}
	return answer{}, fmt.Errorf("no operation %q", asked.Op)
}

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
	sealed, err := ssv1.NewSealedSecret(codecs, certs[0].PublicKey.(*rsa.PublicKey), &secret)
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
	secret, err := sealed.Unseal(codecs, keys)
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
