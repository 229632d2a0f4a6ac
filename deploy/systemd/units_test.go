package systemd

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/triggerd/triggerd/deploy/standalone"
	"github.com/triggerd/triggerd/ingress"
	"github.com/triggerd/triggerd/shared/config"
	"github.com/triggerd/triggerd/shared/process"
	"github.com/triggerd/triggerd/worker"
)

// unit is a service's file: the values of each key, in their order.
type unit map[string][]string

// known are the keys that units may have. systemd ignores one that is misspelt, and says so where nobody looks.
var known = strings.Fields(`Description Documentation Wants After StartLimitIntervalSec
	ExecStart Environment EnvironmentFile LoadCredential StateDirectory Type NotifyAccess WatchdogSec TimeoutStartSec TimeoutStartFailureMode TimeoutStopSec
	Restart RestartSec LimitNOFILE MemoryMax DynamicUser UMask NoNewPrivileges CapabilityBoundingSet ProtectSystem ProtectHome PrivateTmp PrivateDevices
	ProtectClock ProtectControlGroups ProtectHostname ProtectKernelLogs ProtectKernelModules ProtectKernelTunables ProtectProc RestrictAddressFamilies
	RestrictNamespaces RestrictRealtime RestrictSUIDSGID LockPersonality MemoryDenyWriteExecute SystemCallArchitectures SystemCallFilter
	SystemCallErrorNumber WantedBy`)

func read(t *testing.T, name string) unit {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	u := unit{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") || strings.HasPrefix(line, "[") {
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok || !slices.Contains(known, key) {
			t.Errorf("%s: %q is no setting", name, line)
		}
		u[key] = append(u[key], value)
	}
	return u
}

func (u unit) one(t *testing.T, key string) string {
	t.Helper()
	if len(u[key]) != 1 {
		t.Fatalf("%s is %q", key, u[key])
	}
	return u[key][0]
}

func (u unit) duration(t *testing.T, key string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(u.one(t, key))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// environ is what the process finds, as far as the unit says. Specifiers stand for what they are on the first worker of a machine.
func (u unit) environ() (all []string) {
	resolve := strings.NewReplacer("%i", "1", "%S", "/var/lib", "%d", "/run/credentials/x")
	for _, line := range u["Environment"] {
		for _, one := range strings.Fields(line) {
			all = append(all, resolve.Replace(one))
		}
	}
	return all
}

// file is an example of an EnvironmentFile.
func file(t *testing.T, name string) (all []string) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if line := lines.Text(); line != "" && !strings.HasPrefix(line, "#") {
			all = append(all, line)
		}
	}
	return all
}

type service struct {
	unit, binary string
	files        []string // examples that it reads
	parts        []config.Part
	stops        time.Duration // how long it may take to stop, as it is told here
	dropIns      []string
}

// services are all units. ingress.env has it wait for a load balancer.
func services() []service {
	const drain, delay = ingress.DefaultDrainTimeout, 3 * time.Second
	const leave = worker.DefaultLeaveTimeout + 10*time.Second // and its drain
	return []service{
		{"triggerd-ingress.service", "triggerd-ingress", []string{"triggerd.env", "ingress.env"}, process.Parts(&ingress.Config{}), drain + delay, []string{"tls.conf"}},
		{"triggerd-worker@.service", "triggerd-worker", []string{"triggerd.env", "worker.env"}, process.Parts(&worker.OwnConfig{}), leave, []string{"tls.conf"}},
		{"triggerd-standalone.service", "triggerd-standalone", []string{"standalone.env"}, []config.Part{&standalone.Config{}}, drain + leave, nil},
	}
}

// A variable that a process does not know would keep it from starting, and one that it cannot understand too.
func TestProcessesKnowTheirVariables(t *testing.T) {
	for _, s := range services() {
		u := read(t, s.unit)
		environ := u.environ()
		for _, name := range s.dropIns {
			environ = append(environ, read(t, name).environ()...)
		}
		for _, name := range s.files {
			lines := file(t, name)
			if len(lines) == 0 || !slices.ContainsFunc(u["EnvironmentFile"], func(f string) bool { return strings.TrimPrefix(f, "-") == "/etc/triggerd/"+name }) {
				t.Errorf("%s does not read %s, of %d lines", s.unit, name, len(lines))
			}
			environ = append(environ, lines...)
		}
		err := config.Load(s.binary, nil, environ, io.Discard, s.parts...)
		for _, line := range strings.Split(fmt.Sprint(err), "\n") {
			if err != nil && !strings.Contains(line, "no such file") && !strings.Contains(line, "data-dir") { // they are the machine's
				t.Errorf("%s: %s", s.unit, line)
			}
		}
	}
}

// Whoever does not say that it lives is ended with a trace, however it came to that, and started again. What stops is given its time.
func TestUnitsSupervise(t *testing.T) {
	for _, s := range services() {
		u := read(t, s.unit)
		for key, want := range map[string]string{"Type": "notify", "Restart": "on-failure", "TimeoutStartFailureMode": "abort", "StartLimitIntervalSec": "0",
			"ExecStart": "/usr/local/bin/" + s.binary} {
			if got := u.one(t, key); got != want {
				t.Errorf("%s: %s is %s, not %s", s.unit, key, got, want)
			}
		}
		watchdog, start, stop := u.duration(t, "WatchdogSec"), u.duration(t, "TimeoutStartSec"), u.duration(t, "TimeoutStopSec")
		if watchdog <= 0 || watchdog > process.DefaultWatchdogAfter || start < watchdog {
			t.Errorf("%s: watchdog %s, start %s: a start is extended by a sign every half watchdog", s.unit, watchdog, start)
		}
		if stop < s.stops+5*time.Second {
			t.Errorf("%s: is killed after %s, and may take %s", s.unit, stop, s.stops)
		}
	}
}

// Secrets are credentials, and no unit runs as root or may write anywhere but to its own directory.
func TestUnitsAreConfined(t *testing.T) {
	secret := regexp.MustCompile(`PASSWORD|TOKEN|SECRET|SEED|NKEY|SIGNING|CREDENTIALS|TLS_KEY`)
	names, err := filepath.Glob("*.service")
	if err != nil || len(names) != len(services()) {
		t.Fatalf("units are %v, %v", names, err)
	}
	for _, name := range names {
		u := read(t, name)
		for key, want := range map[string]string{"DynamicUser": "yes", "ProtectSystem": "strict", "NoNewPrivileges": "yes", "CapabilityBoundingSet": "", "UMask": "0077"} {
			if got := u.one(t, key); got != want {
				t.Errorf("%s: %s is %q, not %q", name, key, got, want)
			}
		}
		for _, one := range slices.Concat(u.environ(), read(t, "tls.conf").environ()) {
			variable, value, _ := strings.Cut(one, "=")
			if secret.MatchString(variable) && !strings.HasPrefix(value, "/run/credentials/") {
				t.Errorf("%s: %s is no credential", name, variable)
			}
		}
		var soft, hard config.Bytes
		for _, one := range u.environ() {
			if limit, ok := strings.CutPrefix(one, "GOMEMLIMIT="); ok {
				err = soft.Set(limit)
			}
		}
		if errHard := hard.Set(u.one(t, "MemoryMax") + "iB"); err != nil || errHard != nil || soft <= 0 || soft >= hard {
			t.Errorf("%s: collects garbage harder over %s, is killed over %s, %v, %v", name, soft.String(), hard.String(), err, errHard)
		}
	}
}
