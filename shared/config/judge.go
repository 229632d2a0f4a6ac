package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"syscall"
)

// Address is a fault if a setting is no address to listen on: host:port, with an empty host for all of the machine's and port 0 for any free one.
func Address(flagName, addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return fmt.Errorf("-%s is %q, not like 127.0.0.1:8080 or :8080", flagName, addr)
	}
	return nil
}

// SamePort says whether two addresses cannot both be listened on.
func SamePort(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || portA != portB || portA == "0" {
		return false
	}
	return hostA == hostB || everywhere(hostA) || everywhere(hostB)
}

func everywhere(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || ip != nil && ip.IsUnspecified()
}

// NotZero joins a fault for each setting, by its flag, that is zero. It is for settings whose zero a program would take for "not given".
func NotZero(values map[string]any) error {
	var faults []error
	for name, v := range values {
		if reflect.ValueOf(v).IsZero() {
			faults = append(faults, fmt.Errorf("-%s is 0, and must be over 0: leave it out to have the default", name))
		}
	}
	slices.SortFunc(faults, func(a, b error) int { return cmp.Compare(a.Error(), b.Error()) })
	return errors.Join(faults...)
}

// Directory is a fault if the directory of a setting, or a path below it, cannot be written to, or made. It makes nothing.
func Directory(flagName, dir string) error {
	for at := filepath.Clean(dir); ; at = filepath.Dir(at) {
		info, err := os.Stat(at)
		switch {
		case (errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)) && at != filepath.Dir(at):
			continue
		case err != nil:
			return fmt.Errorf("-%s: %w", flagName, err)
		case !info.IsDir():
			return fmt.Errorf("-%s: %s is no directory", flagName, at)
		case !writable(at):
			return fmt.Errorf("-%s: this user may not write to %s", flagName, at)
		}
		return nil
	}
}

// File is a fault if the file of a setting is named and cannot be read.
func File(flagName, file string) error {
	if file == "" {
		return nil
	}
	f, err := os.Open(file)
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		return fmt.Errorf("read -%s: %w", flagName, err)
	}
	return nil
}
