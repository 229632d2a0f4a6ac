package chaos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	"github.com/triggerd/triggerd/shared/broker"
)

// deleteDirectory takes away all that a worker has on its disk.
func deleteDirectory(ctx context.Context, f *Fleet, rng *rand.Rand) error {
	w := pick(rng, running(f.workers))
	return f.refill(ctx, w.name+" loses its directory", func(ctx context.Context) error {
		if err := w.kill(ctx); err != nil {
			return err
		}
		if err := os.RemoveAll(filepath.Join(f.cfg.Dir, w.name)); err != nil {
			return err
		}
		return restart(ctx, w)
	})
}

// damageFiles kills all workers, flips a few bits in all files of one of them, and lets it begin alone: whatever it believes, nobody contradicts. It reads
// all of a file before it believes anything, so what is in use and not what it was is set aside, and made anew from snapshots and logs. What hits a page
// that is not in use changes nothing.
func damageFiles(ctx context.Context, f *Fleet, rng *rand.Rand) error {
	workers := running(f.workers)
	w := pick(rng, workers)
	before, err := f.setAside(w)
	if err != nil {
		return err
	}
	files := 0
	err = f.stepAndSettle(ctx, w.name+" is alone with damaged files", func(ctx context.Context) error {
		for _, other := range workers {
			if err := other.kill(ctx); err != nil {
				return err
			}
		}
		names, err := filepath.Glob(filepath.Join(f.cfg.Dir, w.name, "worker", "partition-*.db"))
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := damage(rng, name); err != nil {
				return err
			}
		}
		files = len(names)
		return restart(ctx, w)
	})
	if err != nil {
		return err
	}
	after, err := f.setAside(w)
	if err != nil {
		return err
	}
	f.cfg.Log("%s has set aside %d of %d damaged files", w.name, after-before, files)
	return f.move(ctx, "others are back", func(ctx context.Context) error { return f.scaleTo(ctx, len(workers)) })
}

// setAside is how many files a worker found to be damaged in its life.
func (f *Fleet) setAside(w *process) (int, error) {
	aside, err := filepath.Glob(filepath.Join(f.cfg.Dir, w.name, "worker", "*.corrupt*"))
	return len(aside), err
}

// maxFlips is how many bits of a file are flipped at random places, at most: so few that nothing but looking through the whole file is sure to notice.
const maxFlips = 16

// damage flips a few bits of a file. Either they are anywhere; or they are in the key of one user, wherever the file has it, so that this user is not found
// any more, and whatever is read has its checksum.
func damage(rng *rand.Rand, name string) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	keys := userKeys(data)
	if len(keys) == 0 || rng.IntN(2) == 0 {
		for range 1 + rng.IntN(maxFlips) {
			data[rng.IntN(len(data))] ^= byte(1 << rng.IntN(8))
		}
		return os.WriteFile(name, data, 0o600)
	}
	one, bit := pick(rng, keys), byte(1<<rng.IntN(8))
	victim := string(data[one[0]:one[1]])
	for _, at := range keys {
		if string(data[at[0]:at[1]]) == victim {
			data[at[1]-1] ^= bit
		}
	}
	return os.WriteFile(name, data, 0o600)
}

// anyUser is how a file names one.
var anyUser = regexp.MustCompile(tenant + `\x00user-\d+-\d`)

// userKeys are the places of users' keys in a file. Names that stand in an entry of the table of due redirects, or of the scheduled triggers, are left
// out: those are behind a position, or a time.
func userKeys(data []byte) (keys [][]int) {
	for _, at := range anyUser.FindAllIndex(data, -1) {
		due, scheduled := data[at[0]-4:at[0]-1], data[at[0]-8:at[0]-6]
		if !bytes.Equal(due, []byte{0, 0, 0}) && !bytes.Equal(scheduled, []byte{0x80, 0}) {
			keys = append(keys, at)
		}
	}
	return keys
}

// smallDisk is the least limit that a worker takes, and room for the idle users.
func (f *Fleet) smallDisk() string {
	return fmt.Sprintf("%dMiB", 16+2*f.cfg.Users/f.cfg.Partitions*idleBytes>>20)
}

// idleBytes is what a file needs for an idle user.
const idleBytes = 256

// fillDisk gives a worker room for one partition's file that is too small for what a partition is made to hold. Its checkpoints fail, and everything goes on.
func fillDisk(ctx context.Context, f *Fleet, rng *rand.Rand) error {
	w, p := pick(rng, running(f.workers)), rng.IntN(f.cfg.Partitions)
	var fillers []string
	err := f.step(ctx, fmt.Sprintf("%s has a disk of %s, which is full", w.name, f.smallDisk()), func(ctx context.Context) error {
		if err := w.kill(ctx); err != nil {
			return err
		}
		if err := os.RemoveAll(filepath.Join(f.cfg.Dir, w.name)); err != nil { // a file that has grown does not shrink
			return err
		}
		if err := restart(ctx, w, "-partition-max-bytes", f.smallDisk()); err != nil {
			return err
		}
		var err error
		fillers, err = f.fill(ctx, w, p)
		return err
	})
	if err != nil {
		return err
	}
	return f.step(ctx, w.name+" has room again", func(ctx context.Context) error {
		if err := errors.Join(w.kill(ctx), restart(ctx, w)); err != nil {
			return err
		}
		return f.unfill(ctx, fillers)
	})
}

// failedCheckpoints counts them.
const failedCheckpoints = "triggerd_worker_checkpoint_failures_total"

// fill registers users with large variables until a worker cannot write its checkpoints. It returns their names.
func (f *Fleet) fill(ctx context.Context, w *process, p int) (users []string, err error) {
	c := newClient(f.addrs(), f.token)
	defer c.http.CloseIdleConnections()
	body := `{"bot_id":"bot","module_id":7,"custom_vars":{"filler":"` + strings.Repeat("x", 200<<10) + `"}}`
	for i := 0; ctx.Err() == nil; i++ {
		name := fmt.Sprintf("filler-%d", i)
		if broker.Partition(tenant, name, f.cfg.Partitions) != p {
			continue
		}
		users = append(users, name)
		if _, err := c.until(ctx, http.MethodPut, "/v1/users/"+name, body, http.StatusOK, http.StatusAccepted); err != nil {
			return users, err
		}
		if failed, err := w.metric(ctx, failedCheckpoints); err == nil && failed > 0 {
			f.cfg.Log("%s cannot write checkpoints of partition %d after %d large users", w.name, p, len(users))
			return users, nil
		}
	}
	return users, fmt.Errorf("fill the disk of %s: %w", w.name, ctx.Err())
}

// unfill removes what was filled in.
func (f *Fleet) unfill(ctx context.Context, users []string) error {
	c := newClient(f.addrs(), f.token)
	defer c.http.CloseIdleConnections()
	for _, name := range users {
		if _, err := c.until(ctx, http.MethodDelete, "/v1/users/"+name, "", http.StatusNoContent, http.StatusNotFound); err != nil {
			return err
		}
	}
	return nil
}

// freezeAndTrim stops a worker until the others have made so many snapshots that the logs begin after what it has applied. When it goes on, it
// reads on where it was, and what comes does not follow.
func freezeAndTrim(ctx context.Context, f *Fleet, rng *rand.Rand) error {
	w := pick(rng, running(f.workers))
	applied := map[int]uint64{}
	err := f.step(ctx, w.name+" is frozen while its logs are trimmed", func(ctx context.Context) error {
		for _, page := range f.partitions(ctx) {
			if page.worker == w {
				applied[page.Partition] = page.Applied
			}
		}
		if err := w.signal(syscall.SIGSTOP); err != nil {
			return err
		}
		return poll(ctx, "the logs to be trimmed", func() bool {
			for p, seq := range applied {
				if first, err := f.firstSeq(ctx, broker.TriggersStream(p)); err != nil || first <= seq+trimSlack {
					return false
				}
			}
			return true
		})
	})
	if err != nil {
		return errors.Join(err, w.signal(syscall.SIGCONT))
	}
	return f.step(ctx, w.name+" goes on after its logs were trimmed", func(ctx context.Context) error {
		if err := w.signal(syscall.SIGCONT); err != nil {
			return err
		}
		return poll(ctx, w.name+" to catch up", func() bool { return f.caughtUp(ctx, w, applied) })
	})
}

// trimSlack is what a worker may have applied, or had in hand, since it was asked.
const trimSlack = 200

// caughtUp says whether a worker has, of each of its partitions, applied all that was in the log when it was looked at.
func (f *Fleet) caughtUp(ctx context.Context, w *process, of map[int]uint64) bool {
	have := map[int]bool{}
	for _, page := range f.partitions(ctx) {
		if _, asked := of[page.Partition]; asked && page.worker == w && page.State != "halted" {
			first, err := f.firstSeq(ctx, broker.TriggersStream(page.Partition))
			have[page.Partition] = err == nil && page.Applied >= first
		}
	}
	for _, caught := range have {
		if !caught {
			return false
		}
	}
	return len(have) > 0
}
