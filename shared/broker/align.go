package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/nats-io/nats.go/jetstream"
)

// Difference is a setting that a stream has otherwise than this process was told to make it.
type Difference struct {
	Stream, Setting string
	Have, Want      string // as found, and as wanted
	Changed         bool   // it has what is wanted now
}

// Differences are those that Ensure found and that are still there, by stream and setting: a person must decide.
func (b *Broker) Differences() []Difference { return slices.Clone(b.differing) }

// report gathers differences. A step that is repeated reports again what it finds.
type report struct {
	mu  sync.Mutex
	all map[[2]string]Difference
}

func (r *report) add(d Difference) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all == nil {
		r.all = map[[2]string]Difference{}
	}
	r.all[[2]string{d.Stream, d.Setting}] = d
}

// list is what was not changed.
func (r *report) list() (list []Difference) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, d := range r.all {
		if !d.Changed {
			list = append(list, d)
		}
	}
	slices.SortFunc(list, func(a, b Difference) int {
		return cmp.Or(strings.Compare(a.Stream, b.Stream), strings.Compare(a.Setting, b.Setting))
	})
	return list
}

// align reports every setting of a stream that differs, and changes those that lose nothing, each by itself: one that the broker
// refuses, for want of servers or of room, does not keep the others from being changed. A stream that is not as wanted still does its work.
func (e *ensurer) align(ctx context.Context, info *jetstream.StreamInfo, want jetstream.StreamConfig) error {
	for _, d := range differences(info, want) {
		var why error
		if d.apply == nil {
			why = errUnsafe
		} else if why = e.change(ctx, info, d); away(why) {
			return fmt.Errorf("change %s of stream %s: %w", d.name, want.Name, why)
		}
		found := Difference{Stream: want.Name, Setting: d.name, Have: fmt.Sprint(d.have), Want: fmt.Sprint(d.want), Changed: why == nil}
		e.differing.add(found)
		e.log.Warn("stream setting differs", "stream", found.Stream, "setting", found.Setting, "have", found.Have, "want", found.Want,
			"changed", found.Changed, "cause", reason(why))
	}
	return nil
}

var errUnsafe = errors.New("changing it could lose data: start all processes with what it has, or change the stream by hand (nats stream edit)")

func reason(why error) string {
	if why == nil {
		return "it loses nothing"
	}
	return why.Error()
}

// change updates one setting. info is then what the stream is.
func (e *ensurer) change(ctx context.Context, info *jetstream.StreamInfo, d difference) error {
	cfg := info.Config
	d.apply(&cfg)
	now := jetstream.StreamInfo{}
	if err := e.ask(ctx, "$JS.API.STREAM.UPDATE."+cfg.Name, cfg, &now); err != nil {
		return err
	}
	info.Config = now.Config
	return nil
}
