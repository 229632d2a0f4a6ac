package control

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/shared/broker"
)

// maxTries bounds compare-and-set against others who do the same.
const maxTries = 20

// Read reads from the leader what holds for partition p.
func Read(ctx context.Context, b *broker.Broker, p int) (*Order, error) {
	pause, crash, err := readBoth(ctx, b, p)
	if err != nil {
		return nil, err
	}
	order, _ := newOrder(pause.value, pause.revision, crash.value) // what cannot be read shows in the order
	return order, nil
}

func readBoth(ctx context.Context, b *broker.Broker, p int) (pause, crash entry, err error) {
	if pause, err = readKey(ctx, b, pauseKey(p)); err == nil {
		crash, err = readKey(ctx, b, crashKey(p))
	}
	return pause, crash, err
}

func readKey(ctx context.Context, b *broker.Broker, key string) (entry, error) {
	value, revision, err := b.KVGet(ctx, broker.BucketControl, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return entry{}, nil
	}
	if err != nil {
		return entry{}, fmt.Errorf("read key %s of bucket %s: %w", key, broker.BucketControl, err)
	}
	return entry{revision: revision, value: value}, nil
}

// Pause makes whoever runs partition p drain it, and nobody start it, until Resume.
func Pause(ctx context.Context, b *broker.Broker, p int, who, reason string) error {
	_, err := Take(ctx, b, p, who, reason)
	return err
}

// Take is Pause for whoever works on a paused partition: while the order's Revision is the one returned, nobody else has spoken.
func Take(ctx context.Context, b *broker.Broker, p int, who, reason string) (revision uint64, err error) {
	return say(ctx, b, p, Word{Version: version, Paused: true, Who: who, Reason: clip(reason), At: time.Now().UTC()})
}

// ErrOvertaken: somebody else has spoken meanwhile.
var ErrOvertaken = errors.New("somebody else has said what is to become of the partition")

// Release is Resume for whoever took a partition, if nobody else has spoken meanwhile: ErrOvertaken.
func Release(ctx context.Context, b *broker.Broker, p int, taken uint64, who, reason string) error {
	return takeBack(ctx, b, p, who, reason, func(kv jetstream.KeyValue, word []byte) error {
		_, err := kv.Update(ctx, pauseKey(p), word, taken)
		if errors.Is(err, jetstream.ErrKeyExists) {
			return ErrOvertaken
		}
		return err
	})
}

// Resume takes a pause back, clears the partition's quarantine, and makes workers that have halted the partition try again. It does so
// also where nothing was paused.
func Resume(ctx context.Context, b *broker.Broker, p int, who, reason string) error {
	return takeBack(ctx, b, p, who, reason, func(kv jetstream.KeyValue, word []byte) error {
		_, err := kv.Put(ctx, pauseKey(p), word)
		return err
	})
}

func takeBack(ctx context.Context, b *broker.Broker, p int, who, reason string, write func(jetstream.KeyValue, []byte) error) error {
	kv, err := bucket(ctx, b)
	if err != nil {
		return err
	}
	if old, err := readKey(ctx, b, crashKey(p)); err != nil {
		return err
	} else if old.value != nil { // first: who hears of the resume has heard of this
		if err := kv.Delete(ctx, crashKey(p)); err != nil {
			return fmt.Errorf("clear quarantine of partition %d: %w", p, err)
		}
	}
	if err := write(kv, encode(Word{Version: version, Who: who, Reason: clip(reason), At: time.Now().UTC()})); err != nil {
		return fmt.Errorf("put key %s of bucket %s: %w", pauseKey(p), broker.BucketControl, err)
	}
	return nil
}

func say(ctx context.Context, b *broker.Broker, p int, w Word) (revision uint64, err error) {
	kv, err := bucket(ctx, b)
	if err == nil {
		revision, err = kv.Put(ctx, pauseKey(p), encode(w))
	}
	if err != nil {
		return 0, fmt.Errorf("put key %s of bucket %s: %w", pauseKey(p), broker.BucketControl, err)
	}
	return revision, nil
}

// Report says that a process ended while it applied a message, and returns the position as a suspect with all that is known against it. A
// repeated report changes nothing.
func Report(ctx context.Context, b *broker.Broker, p int, seq uint64, end End) (Suspect, error) {
	end.Text = clip(end.Text)
	var result Suspect
	err := change(ctx, b, p, func(list []Suspect) []Suspect {
		i := slices.IndexFunc(list, func(s Suspect) bool { return s.Seq == seq })
		if i < 0 {
			list, i = append(room(list), Suspect{Seq: seq}), min(len(list), MaxSuspects-1)
		}
		s := &list[i]
		known := slices.ContainsFunc(s.Reports, func(e End) bool { return e.Home == end.Home && e.Run == end.Run })
		if !known && len(s.Reports) < MaxReports {
			s.Reports = append(s.Reports, end)
		}
		result = *s
		slices.SortFunc(list, func(a, b Suspect) int { return cmp.Compare(a.Seq, b.Seq) })
		return list
	})
	if err != nil {
		return Suspect{}, fmt.Errorf("report end at message %d of partition %d: %w", seq, p, err)
	}
	return result, nil
}

// room keeps the list in bounds for one more: the innocent suspect that was reported first goes, or else the first.
func room(list []Suspect) []Suspect {
	if len(list) < MaxSuspects {
		return list
	}
	gone := 0
	for i, s := range list {
		if !s.Guilty() && (list[gone].Guilty() || s.Reports[0].At.Before(list[gone].Reports[0].At)) {
			gone = i
		}
	}
	return slices.Delete(list, gone, gone+1)
}

// Acquit says that a message was applied and nothing happened. A position in quarantine stays there.
func Acquit(ctx context.Context, b *broker.Broker, p int, seq uint64) error {
	err := change(ctx, b, p, func(list []Suspect) []Suspect {
		return slices.DeleteFunc(list, func(s Suspect) bool { return s.Seq == seq && !s.Guilty() })
	})
	if err != nil {
		return fmt.Errorf("acquit message %d of partition %d: %w", seq, p, err)
	}
	return nil
}

// change is compare-and-set of a partition's suspects.
func change(ctx context.Context, b *broker.Broker, p int, edit func([]Suspect) []Suspect) error {
	kv, err := bucket(ctx, b)
	if err != nil {
		return err
	}
	for range maxTries {
		if err = changeOnce(ctx, b, kv, p, edit); !errors.Is(err, jetstream.ErrKeyExists) {
			return err
		}
	}
	return err
}

// changeOnce fails with ErrKeyExists if somebody else was faster.
func changeOnce(ctx context.Context, b *broker.Broker, kv jetstream.KeyValue, p int, edit func([]Suspect) []Suspect) error {
	old, err := readKey(ctx, b, crashKey(p))
	if err != nil {
		return err
	}
	var had suspects
	if old.value != nil && read(old.value, &had, &had.Version) != nil {
		had = suspects{} // nobody can use it, and what is known now is worth more
	}
	before := encode(had.Suspects)
	list := edit(had.Suspects)
	switch {
	case slices.Equal(before, encode(list)):
		return nil
	case len(list) == 0:
		return kv.Delete(ctx, crashKey(p), jetstream.LastRevision(old.revision))
	case old.value == nil:
		_, err = kv.Create(ctx, crashKey(p), encode(suspects{Version: version, Suspects: list}))
	default:
		_, err = kv.Update(ctx, crashKey(p), encode(suspects{Version: version, Suspects: list}), old.revision)
	}
	return err
}

func bucket(ctx context.Context, b *broker.Broker) (jetstream.KeyValue, error) {
	kv, err := b.JS.KeyValue(ctx, broker.BucketControl)
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", broker.BucketControl, err)
	}
	return kv, nil
}

func encode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("encode order: %v", err)) // strings, numbers and times of this century
	}
	return data
}
