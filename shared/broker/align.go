package broker

import (
	"context"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// difference is a setting that a stream has otherwise than wanted.
type difference struct {
	name       string
	have, want any
	apply      func(*jetstream.StreamConfig) // nil: a person must decide
}

// align reports every setting of a stream that differs, and changes those that lose nothing.
func (e *ensurer) align(ctx context.Context, info *jetstream.StreamInfo, want jetstream.StreamConfig) error {
	cfg, changed := info.Config, false
	for _, d := range differences(info, want) {
		e.log.Warn("stream setting differs", "stream", want.Name, "setting", d.name, "have", d.have, "want", d.want, "changed", d.apply != nil)
		if d.apply != nil {
			d.apply(&cfg)
			changed = true
		}
	}
	if !changed {
		return nil
	}
	_, err := e.JS.UpdateStream(ctx, cfg)
	return err
}

// differences compares a stream with what it would be made with now.
func differences(info *jetstream.StreamInfo, want jetstream.StreamConfig) []difference {
	have := info.Config
	all := []difference{
		{"max_bytes", have.MaxBytes, want.MaxBytes, func(c *jetstream.StreamConfig) { c.MaxBytes = want.MaxBytes }},
		{"duplicate_window", have.Duplicates, want.Duplicates, func(c *jetstream.StreamConfig) { c.Duplicates = want.Duplicates }},
		{"max_msg_size", have.MaxMsgSize, want.MaxMsgSize, nil},
		{"replicas", have.Replicas, want.Replicas, nil},
		{"subjects", strings.Join(have.Subjects, " "), strings.Join(want.Subjects, " "), nil},
		{"storage", have.Storage, want.Storage, nil},
		{"retention", have.Retention, want.Retention, nil},
		{"discard", have.Discard, want.Discard, nil},
		{"deny_delete", have.DenyDelete, want.DenyDelete, nil},
		{"max_age", have.MaxAge, want.MaxAge, nil},
		{"format", have.Metadata[metaFormat], want.Metadata[metaFormat], nil},
	}
	if want.Discard == jetstream.DiscardOld && uint64(want.MaxBytes) < info.State.Bytes {
		all[0].apply = nil // it would drop what is there
	}
	return slices.DeleteFunc(all, func(d difference) bool { return d.have == d.want })
}
