package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// NextKeyFile is the signing key that was added and does not sign yet.
const NextKeyFile = "next.pem"

// makeKeys is EnsureKeys, said.
func makeKeys(dir string, stdout io.Writer) error {
	if err := EnsureKeys(dir); err != nil {
		return err
	}
	_, err := fmt.Fprintf(stdout, "%s\n%s\n", filepath.Join(dir, SigningKeyFile), filepath.Join(dir, KeysFile))
	return err
}

// addKey makes the next signing key and adds its public key to the set. Doing it again does what is left to do.
func addKey(dir string, stdout io.Writer) error {
	set, err := openKeyFile(filepath.Join(dir, KeysFile))
	if err != nil {
		return err
	}
	path := filepath.Join(dir, NextKeyFile)
	if err := createKey(path); err != nil {
		return fmt.Errorf("create signing key: %w", err)
	}
	next, err := LoadSigner(path)
	if err != nil {
		return err
	}
	if set.find(next.keyID) < 0 {
		set.keys = append(set.keys, next.public())
		if err := set.write(); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(stdout, "%s\nkid %s\n", path, next.keyID)
	return err
}

// retireKey takes a key off the set, unless it is the one that still signs.
func retireKey(dir, keyID string, stdout io.Writer) error {
	set, err := openKeyFile(filepath.Join(dir, KeysFile))
	if err != nil {
		return err
	}
	at := set.find(keyID)
	if at < 0 {
		return fmt.Errorf("no key of %s has this id: `ingress keys list` prints those there are", set.path)
	}
	if signer, err := LoadSigner(filepath.Join(dir, SigningKeyFile)); err == nil && signer.keyID == keyID {
		return fmt.Errorf("%s still signs with it: add another one, and move %s there", SigningKeyFile, NextKeyFile)
	}
	set.keys = slices.Delete(set.keys, at, at+1)
	if err := set.write(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "kid %s is retired, %d keys are left\n", keyID, len(set.keys))
	return err
}

func listKeys(dir string, stdout io.Writer) error {
	set, err := openKeyFile(filepath.Join(dir, KeysFile))
	if err != nil {
		return err
	}
	signs := map[string]string{}
	for _, name := range []string{SigningKeyFile, NextKeyFile} {
		if signer, err := LoadSigner(filepath.Join(dir, name)); err == nil {
			signs[signer.keyID] = "\t" + name
		}
	}
	for _, raw := range set.keys {
		wk := parsed(raw)
		if _, err := fmt.Fprintf(stdout, "%s\t%s%s\n", wk.ID, wk.Type, signs[wk.ID]); err != nil {
			return err
		}
	}
	return nil
}

// keyFile is a JWKS that is being changed. What it holds of others is kept as it is.
type keyFile struct {
	path    string
	mode    fs.FileMode
	members map[string]json.RawMessage // of the document
	keys    []json.RawMessage
}

func openKeyFile(path string) (*keyFile, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	data, err := readLimited(path, maxKeysDocument)
	if err != nil {
		return nil, err
	}
	f := &keyFile{path: path, mode: info.Mode().Perm()}
	if _, err := parseKeys(data); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if json.Unmarshal(data, &f.members) != nil || json.Unmarshal(f.members["keys"], &f.keys) != nil {
		return nil, fmt.Errorf("%s is not a JWKS document", path)
	}
	return f, nil
}

// find is the place of a key, negative if there is none of this id.
func (f *keyFile) find(keyID string) int {
	return slices.IndexFunc(f.keys, func(raw json.RawMessage) bool { return parsed(raw).ID == keyID })
}

func parsed(raw json.RawMessage) (wk webKey) {
	_ = json.Unmarshal(raw, &wk) // parseKeys has read it before
	return wk
}

// write replaces the file, whole or not at all, by what a gate would take.
func (f *keyFile) write() (err error) {
	if f.members["keys"], err = json.Marshal(f.keys); err != nil {
		return err
	}
	data, err := json.MarshalIndent(f.members, "", "  ")
	if err != nil {
		return err
	}
	if _, err := parseKeys(data); err != nil {
		return errors.Join(errors.New("the set would be of no use, and stays as it is"), err)
	}
	tmp, err := writeTemp(f.path, append(data, '\n'), f.mode)
	if err != nil {
		return err
	}
	if err := os.Rename(tmp, f.path); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return syncDir(filepath.Dir(f.path))
}
