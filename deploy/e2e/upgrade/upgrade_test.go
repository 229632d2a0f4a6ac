//go:build upgrade

package upgrade

import (
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/triggerd/triggerd/ingress"
	"github.com/triggerd/triggerd/shared/natstest"
)

// TestUpgradeAndBack takes a deployment from one build to another and back, under load.
func TestUpgradeAndBack(t *testing.T) {
	before, present := build(t)
	f := newFleet(t)
	f.say("upgrades from %s", before.revision)
	for i := range members {
		f.startWorker(i, before)
	}
	for i := range members {
		f.startIngress(i, before)
	}
	f.settle()
	load := f.startLoad(present, takesKeys(t, before))
	f.goesOn()
	f.replaceWorkersThenIngresses(present)
	f.replaceIngressesThenWorkers(before)
	f.audit(load, present)
	if !takesKeys(t, before) {
		load = f.startLoad(present, false)
		f.replaceWorkersThenIngresses(present)
		f.audit(load, present)
		f.beyondReturn(before, present)
	}
	for i := range members {
		f.ingresses[i].stop()
		f.workers[i].stop()
	}
}

// replaceWorkersThenIngresses is the order forth: readers first, then writers.
func (f *fleet) replaceWorkersThenIngresses(b binaries) {
	f.t.Helper()
	for i := range members {
		f.replaceWorker(i, b, i == 0)
	}
	for i := range members {
		f.replaceIngress(i, b)
	}
}

// replaceIngressesThenWorkers is the order back.
func (f *fleet) replaceIngressesThenWorkers(b binaries) {
	f.t.Helper()
	for i := range members {
		f.replaceIngress(i, b)
	}
	for i := range members {
		f.replaceWorker(i, b, i != 0)
	}
}

// beyondReturn makes use of what a build before idempotency keys cannot read. One that comes all the same halts its partitions, says why and loses nothing.
func (f *fleet) beyondReturn(before, present binaries) {
	f.t.Helper()
	f.say("%s", run(f.t, "", present.worker, "configure", "-nats-url", f.nats.URL(), "-set", "max-keys=100000"))
	load := f.startLoad(present, true)
	f.goesOn()
	f.workers[0].stop()
	f.startWorker(0, before)
	var halted []state
	natstest.Eventually(f.t, func() bool {
		halted = f.states(f.admins[0])
		return len(halted) == partitions && count(halted, "halted") == partitions
	}, "the older worker to halt what it cannot read")
	if why := halted[0].Cause; !strings.Contains(why, "version 2") || !strings.Contains(why, "run ") {
		f.t.Errorf("it does not say what to do: %s", why)
	}
	f.say("%s halts, as it must: %s", f.workers[0].name, halted[0].Cause)
	f.grows() // the other one still has all
	f.workers[0].drain()
	f.startWorker(0, present)
	f.settle()
	f.goesOn()
	f.audit(load, present)
}

// takesKeys says whether a build knows idempotency keys, which are a version of the record of their own: an older one cannot be gone back to once there are some.
func takesKeys(t *testing.T, b binaries) bool {
	t.Helper()
	return strings.Contains(run(t, "", b.worker, "-h"), "-max-keys")
}

// startLoad begins what goes on until audit.
func (f *fleet) startLoad(b binaries, keys bool) *process {
	f.t.Helper()
	f.loads++
	args := []string{"-url", f.urls(), "-signing-key", ingress.KeysIn(f.keys()).Signing, "-users", "500", "-connections", "8", "-rate", "200", "-duration", "1h",
		"-vars", "2", "-ledger", f.ledger(), "-quiet"}
	if keys {
		args = append(args, "-keys", "-repeats", "5%")
	}
	f.say("load begins, with keys: %v", keys)
	return start(f.t, "loadgen", b.loadgen, args...)
}

// ledger is that of the last load.
func (f *fleet) ledger() string { return filepath.Join(f.dir, fmt.Sprintf("ledger-%d", f.loads)) }

func (f *fleet) urls() string { return "http://" + strings.Join(f.ports, ",http://") }

// audit ends the load, and holds its ledger against states, outcomes and events; and asks an operator's eye.
func (f *fleet) audit(load *process, b binaries) {
	f.t.Helper()
	load.cmd.Process.Signal(syscall.SIGINT)
	load.await()
	f.say("load: %s", load.out.String())
	f.say("verdict: %s", run(f.t, "", b.loadgen, "verify", "-ledger", f.ledger(), "-signing-key", ingress.KeysIn(f.keys()).Signing, "-nats-url", f.nats.URL(), "-outcomes"))
	f.say("inspect: %s", run(f.t, "", b.worker, "inspect", "-nats-url", f.nats.URL()))
	f.unalarmed()
}
