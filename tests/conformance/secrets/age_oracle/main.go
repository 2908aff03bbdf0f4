// SPDX-License-Identifier: GPL-3.0-or-later

// Command age-oracle says what age itself makes of a question: one JSON object a line in, one out. It judges the
// collection's Python, and is not needed to use it. Bytes are base64, as JSON in Go has them.
//
//	{"op": "vectors"}                                        -> {"files": {name: bytes}}
//	{"op": "encrypt", "plain": …, "recipients": ["age1…"], "armor": true} -> {"data": …}
//	{"op": "decrypt", "data": …, "identity": "AGE-SECRET-KEY-1…"} -> {"data": …} or {"error": "…"}
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	vectors "c2sp.org/CCTV/age"
	"filippo.io/age"
	"filippo.io/age/armor"
)

type question struct {
	Op         string   `json:"op"`
	Plain      []byte   `json:"plain"`
	Data       []byte   `json:"data"`
	Recipients []string `json:"recipients"`
	Identity   string   `json:"identity"`
	Armor      bool     `json:"armor"`
}

type answer struct {
	Data  []byte            `json:"data"`
	Files map[string][]byte `json:"files,omitempty"`
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
		"vectors": files,
		"encrypt": encryptAge,
		"decrypt": decryptAge,
	}
	if operation, there := known[asked.Op]; there {
		return operation(asked)
	}
	return answer{}, fmt.Errorf("no operation %q", asked.Op)
}

func files(question) (answer, error) {
	found := map[string][]byte{}
	err := fs.WalkDir(vectors.Vectors, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		found[path], err = fs.ReadFile(vectors.Vectors, path)
		return err
	})
	return answer{Files: found}, err
}

func encryptAge(asked question) (said answer, err error) {
	recipients, err := age.ParseRecipients(strings.NewReader(strings.Join(asked.Recipients, "\n")))
	if err != nil {
		return said, err
	}
	var made bytes.Buffer
	var to io.Writer = &made
	if asked.Armor {
		armored := armor.NewWriter(&made)
		defer func() {
			err = armored.Close()
			said.Data = made.Bytes()
		}()
		to = armored
	}
	writer, err := age.Encrypt(to, recipients...)
	if err != nil {
		return said, err
	}
	if _, err := writer.Write(asked.Plain); err != nil {
		return said, err
	}
	err = writer.Close()
	said.Data = made.Bytes()
	return said, err
}

func decryptAge(asked question) (answer, error) {
	identities, err := age.ParseIdentities(strings.NewReader(asked.Identity))
	if err != nil {
		return answer{}, err
	}
	var from io.Reader = bytes.NewReader(asked.Data)
	if bytes.HasPrefix(asked.Data, []byte(armor.Header)) {
		from = armor.NewReader(from)
	}
	reader, err := age.Decrypt(from, identities...)
	if err != nil {
		return answer{}, err
	}
	plain, err := io.ReadAll(reader)
	return answer{Data: plain}, err
}
