//go:build upgrade

package upgrade

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/ingress"
	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/natstest"
)

const (
	partitions = 4
	members    = 2 // workers, and ingresses
	growth     = 20
)

// fleet is a deployment whose processes are replaced.
type fleet struct {
	t         *testing.T
	nats      *natstest.Server
	js        jetstream.JetStream
	dir       string
	begun     time.Time
	ports     []string // of the ingresses
	ingresses [members]*process
	workers   [members]*process
	admins    [members]string // of the workers
	loads     int
	client    *http.Client
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{t: t, nats: natstest.Start(t), dir: t.TempDir(), begun: time.Now(), client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	f.js = f.nats.JetStream()
	if err := ingress.EnsureKeys(f.keys()); err != nil {
		t.Fatal(err)
	}
	for range members {
		f.ports = append(f.ports, natstest.FreeAddr(t))
	}
	return f
}

func (f *fleet) keys() string { return filepath.Join(f.dir, "keys") }

func (f *fleet) say(format string, args ...any) {
	f.t.Helper()
	f.t.Logf("%7.2fs %s", time.Since(f.begun).Seconds(), fmt.Sprintf(format, args...))
}

// told is what every process is told: nothing that the oldest build of interest does not know.
func (f *fleet) told() []string {
	return []string{"-nats-url", f.nats.URL(), "-admin-addr", "127.0.0.1:0", "-partitions", strconv.Itoa(partitions), "-triggers-max-bytes", "64MiB",
		"-events-max-bytes", "64MiB", "-snapshots-max-bytes", "256MiB", "-member-ttl", "2s"}
}

func (f *fleet) startIngress(i int, b binaries) {
	f.t.Helper()
	f.ingresses[i] = start(f.t, fmt.Sprintf("ingress %d of %s", i, b.revision), b.ingress,
		append(f.told(), "-http-addr", f.ports[i], "-keys-file", ingress.KeysIn(f.keys()).Public)...)
	f.ingresses[i].ready()
}

func (f *fleet) home(i int) string { return filepath.Join(f.dir, fmt.Sprintf("worker-%d", i)) }

func (f *fleet) startWorker(i int, b binaries) {
	f.t.Helper()
	f.workers[i] = start(f.t, fmt.Sprintf("worker %d of %s", i, b.revision), b.worker,
		append(f.told(), "-data-dir", f.home(i), "-snapshot-every", "1s", "-digest-every", "200ms")...)
	f.admins[i] = f.workers[i].ready()["admin"]
}

// replaceIngress is a step of an upgrade.
func (f *fleet) replaceIngress(i int, b binaries) {
	f.t.Helper()
	f.ingresses[i].stop()
	f.startIngress(i, b)
	f.goesOn()
	f.say("%s works", f.ingresses[i].name)
}

// replaceWorker is a step of an upgrade. A worker without its disk begins with snapshots.
func (f *fleet) replaceWorker(i int, b binaries, disk bool) {
	f.t.Helper()
	if !disk {
		f.awaitSnapshots()
	}
	f.workers[i].stop()
	if !disk {
		if err := os.RemoveAll(f.home(i)); err != nil {
			f.t.Fatal(err)
		}
	}
	f.startWorker(i, b)
	f.settle()
	if restored := f.sum(f.admins[i], "triggerd_worker_restored_bytes_total", ""); !disk && restored == 0 {
		f.t.Errorf("%s began with an empty disk and restored nothing", f.workers[i].name)
	}
	f.goesOn()
	f.say("%s works", f.workers[i].name)
}

// settle waits until every partition has an owner and a standby, shared evenly, and each standby has found its state to be its owner's.
func (f *fleet) settle() {
	f.t.Helper()
	natstest.Eventually(f.t, func() bool {
		if len(f.alarms()) > 0 {
			return true
		}
		for _, admin := range f.admins {
			if states := f.states(admin); count(states, "serving") != partitions/members || count(states, "following") != partitions/members {
				return false
			}
		}
		return true
	}, "every partition to have an owner and a standby")
	f.unalarmed()
	before := f.equal()
	natstest.Eventually(f.t, func() bool {
		if len(f.alarms()) > 0 {
			return true // told below
		}
		for p, n := range f.equal() {
			if n <= before[p] {
				return false
			}
		}
		return true
	}, "every standby to be compared with its owner")
	f.unalarmed()
}

// state is that of a partition at a worker.
type state struct {
	Partition    int
	State, Cause string
	Applied      uint64
}

func count(states []state, word string) (n int) {
	for _, s := range states {
		if s.State == word {
			n++
		}
	}
	return n
}

// states are those of the partitions that a worker has.
func (f *fleet) states(admin string) []state {
	var page struct{ Partitions []state }
	if json.Unmarshal([]byte(f.get(admin, "/partitions")), &page) != nil {
		return nil
	}
	return page.Partitions
}

// equal is how often the standby of each partition found its state to be its owner's.
func (f *fleet) equal() (all [partitions]float64) {
	for p := range all {
		for _, admin := range f.admins {
			all[p] += f.sum(admin, "triggerd_worker_digest_comparisons_total", fmt.Sprintf(`partition="%d",result="equal"`, p))
		}
	}
	return all
}

// awaitSnapshots waits until each partition has a snapshot.
func (f *fleet) awaitSnapshots() {
	f.t.Helper()
	natstest.Eventually(f.t, func() bool {
		for p := range partitions {
			has := 0.0
			for _, admin := range f.admins {
				has += f.sum(admin, "triggerd_worker_snapshots", fmt.Sprintf(`partition="%d"`, p))
			}
			if has == 0 {
				return false
			}
		}
		return true
	}, "a snapshot of each partition")
}

// goesOn is what a working deployment does under load.
func (f *fleet) goesOn() {
	f.t.Helper()
	f.grows()
	f.unalarmed()
}

// grows waits until something was appended to every log, and applied by somebody.
func (f *fleet) grows() {
	f.t.Helper()
	before := f.ends()
	natstest.Eventually(f.t, func() bool {
		for p, end := range f.ends() {
			if end < before[p]+growth {
				return false
			}
		}
		return true
	}, "every log to grow")
	ends := f.ends()
	natstest.Eventually(f.t, func() bool {
		applied := f.applied()
		for p, end := range ends {
			if applied[p] < end {
				return false
			}
		}
		return true
	}, "every partition to apply what is in its log")
}

// applied is how far whoever serves each partition has come.
func (f *fleet) applied() (all [partitions]uint64) {
	for _, admin := range f.admins {
		for _, p := range f.states(admin) {
			if p.State == "serving" {
				all[p.Partition] = max(all[p.Partition], p.Applied)
			}
		}
	}
	return all
}

// unalarmed looks for what must never be.
func (f *fleet) unalarmed() {
	f.t.Helper()
	if alarms := f.alarms(); len(alarms) > 0 {
		f.t.Fatal(strings.Join(alarms, "\n"))
	}
}

func (f *fleet) alarms() (all []string) {
	for i, admin := range f.admins {
		for metric, label := range map[string]string{"triggerd_worker_digest_comparisons_total": `result="different"`, "triggerd_worker_halts_total": "", "triggerd_worker_dead_letters_total": ""} {
			if n := f.sum(admin, metric, label); n != 0 {
				all = append(all, fmt.Sprintf("%s: %s{%s} is %v", f.workers[i].name, metric, label, n))
			}
		}
	}
	return all
}

// ends are the last sequences of the logs.
func (f *fleet) ends() (ends [partitions]uint64) {
	f.t.Helper()
	for p := range ends {
		stream, err := f.js.Stream(f.t.Context(), broker.TriggersStream(p))
		if err != nil {
			f.t.Fatal(err)
		}
		ends[p] = stream.CachedInfo().State.LastSeq
	}
	return ends
}

// sum is that of a metric's values whose labels contain a text.
func (f *fleet) sum(admin, metric, labels string) (sum float64) {
	for line := range strings.Lines(f.get(admin, "/metrics")) {
		name, rest, _ := strings.Cut(line, "{")
		if name != metric || !strings.Contains(rest, labels) {
			continue
		}
		fields := strings.Fields(rest)
		if v, err := strconv.ParseFloat(fields[len(fields)-1], 64); err == nil {
			sum += v
		}
	}
	return sum
}

// get is empty if nobody answers.
func (f *fleet) get(admin, path string) string {
	resp, err := f.client.Get("http://" + admin + path)
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return ""
	}
	return string(text)
}
