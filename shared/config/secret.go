package config

import (
	"bytes"
	"flag"
	"fmt"
	"net/url"
	"os"
	"strings"
)

// Hidden stands for what is not shown.
const Hidden = "redacted"

// Secret is a setting that is never shown. It is a flag.Value.
type Secret string

// Set takes every text.
func (s *Secret) Set(text string) error { *s = Secret(text); return nil }

// String hides it.
func (s *Secret) String() string {
	if s == nil || *s == "" {
		return ""
	}
	return Hidden
}

func (s *Secret) raw() string { return string(*s) }

// URL is an address, or several separated by commas, of which a user's password, or what stands alone for a user (a token), and a query are never shown. It
// is a flag.Value.
type URL string

// Set takes every text; that it is an address is a matter of Validate.
func (u *URL) Set(text string) error { *u = URL(text); return nil }

// String is what may be shown.
func (u *URL) String() string {
	if u == nil {
		return ""
	}
	return Redact(string(*u))
}

func (u *URL) raw() string { return string(*u) }

// Redact is what may be shown of an address, or of several.
func Redact(addresses string) string {
	var parts []string
	for one := range strings.SplitSeq(addresses, ",") {
		parts = append(parts, redact(strings.TrimSpace(one)))
	}
	return strings.Join(parts, ",")
}

func redact(address string) string {
	const assumed = "nats://"
	if address == "" {
		return ""
	}
	whole, cut := address, ""
	if !strings.Contains(address, "://") {
		whole, cut = assumed+address, assumed
	}
	u, err := url.Parse(whole)
	if err != nil {
		return Hidden
	}
	if u.User != nil {
		if _, both := u.User.Password(); both {
			u.User = url.UserPassword(u.User.Username(), Hidden)
		} else {
			u.User = url.User(Hidden)
		}
	}
	if u.RawQuery != "" {
		u.RawQuery = Hidden
	}
	return strings.TrimPrefix(u.String(), cut)
}

// hiding is a flag's value that shows less than it holds.
type hiding interface {
	flag.Value
	raw() string
}

// fileSuffix makes the name of the second flag of what may be secret.
const fileSuffix = "-file"

// maxSecret bounds what is read of a file, in bytes.
const maxSecret = 64 << 10

// registerFiles adds the second flags.
func registerFiles(fs *flag.FlagSet) {
	fs.VisitAll(func(f *flag.Flag) {
		if _, ok := f.Value.(hiding); ok {
			fs.String(f.Name+fileSuffix, "", fmt.Sprintf("`file` that holds -%s", f.Name))
		}
	})
}

// loadFiles reads what is said to be in files.
func (r *reading) loadFiles() {
	r.fs.VisitAll(func(f *flag.Flag) {
		if _, ok := f.Value.(hiding); !ok {
			return
		}
		second := r.fs.Lookup(f.Name + fileSuffix)
		file := second.Value.String()
		if file == "" {
			return
		}
		if r.sources[f.Name] != "" {
			r.fault(r.sourced(fmt.Errorf("-%s and -%s: one or the other", f.Name, second.Name)))
			return
		}
		text, err := readSecret(file)
		if err != nil {
			r.fault(r.sourced(fmt.Errorf("read -%s: %w", second.Name, err)))
			return
		}
		_ = f.Value.Set(text) // takes every text
		r.sources[f.Name] = "file " + file
		r.warnings = append(r.warnings, Exposed(second.Name, file)...)
	})
}

func readSecret(file string) (string, error) {
	info, err := os.Stat(file)
	if err != nil {
		return "", err
	}
	if info.Size() > maxSecret {
		return "", fmt.Errorf("%s has over %d bytes", file, maxSecret)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	text := string(bytes.TrimSpace(data))
	if text == "" {
		return "", fmt.Errorf("%s is empty", file)
	}
	return text, nil
}

// Exposed is a warning if everybody on the machine may read the file of a setting; none if it is not there.
func Exposed(flagName, file string) []string {
	const othersRead = 0o004
	if info, err := os.Stat(file); file != "" && err == nil && info.Mode().Perm()&othersRead != 0 {
		return []string{fmt.Sprintf("-%s: every user of this machine can read %s (chmod o= %s)", flagName, file, file)}
	}
	return nil
}
