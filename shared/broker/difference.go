package broker

import (
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

// differences compares a stream with what it would be made with now. What a setting here does not name is the operator's: placement,
// compression, who it is republished to.
func differences(info *jetstream.StreamInfo, want jetstream.StreamConfig) []difference {
	all := slices.Concat(bounds(info, want), kind(info.Config, want))
	return slices.DeleteFunc(all, func(d difference) bool { return d.have == d.want })
}

// bounds are the settings that are numbers. One that is widened loses nothing; one that is narrowed may.
func bounds(info *jetstream.StreamInfo, want jetstream.StreamConfig) []difference {
	have := info.Config
	return []difference{
		{"max_bytes", have.MaxBytes, want.MaxBytes, safe(want.MaxBytes > have.MaxBytes || holds(info, want),
			func(c *jetstream.StreamConfig) { c.MaxBytes = want.MaxBytes })},
		{"max_age", have.MaxAge, want.MaxAge, safe(want.MaxAge == 0, func(c *jetstream.StreamConfig) { c.MaxAge = 0 })},
		{"duplicate_window", have.Duplicates, want.Duplicates, func(c *jetstream.StreamConfig) { c.Duplicates = want.Duplicates }}, // never over the age
		{"max_msgs", limit(have.MaxMsgs), limit(want.MaxMsgs), safe(want.MaxMsgs <= 0 || want.MaxMsgs > have.MaxMsgs && have.MaxMsgs > 0,
			func(c *jetstream.StreamConfig) { c.MaxMsgs = limit(want.MaxMsgs) })},
		{"max_msgs_per_subject", limit(have.MaxMsgsPerSubject), limit(want.MaxMsgsPerSubject),
			safe(want.MaxMsgsPerSubject <= 0, func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = unlimited })},
		{"max_msg_size", limit(int64(have.MaxMsgSize)), limit(int64(want.MaxMsgSize)),
			safe(want.MaxMsgSize <= 0 || want.MaxMsgSize > have.MaxMsgSize && have.MaxMsgSize > 0,
				func(c *jetstream.StreamConfig) { c.MaxMsgSize = want.MaxMsgSize })},
		{"replicas", have.Replicas, want.Replicas, safe(want.Replicas > have.Replicas,
			func(c *jetstream.StreamConfig) { c.Replicas = want.Replicas })},
	}
}

// kind are the settings that say what a stream is for.
func kind(have, want jetstream.StreamConfig) []difference {
	return []difference{
		{"subjects", strings.Join(have.Subjects, " "), strings.Join(want.Subjects, " "), nil},
		{"storage", have.Storage, want.Storage, nil},
		{"retention", have.Retention, want.Retention, nil},
		{"persist_mode", have.PersistMode, want.PersistMode, nil}, // async: acknowledged before it is on disk
		{"discard", have.Discard, want.Discard, safe(want.Discard == jetstream.DiscardNew,
			func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardNew })},
		{"deny_delete", have.DenyDelete, want.DenyDelete, safe(want.DenyDelete, func(c *jetstream.StreamConfig) { c.DenyDelete = true })},
		{"deny_purge", have.DenyPurge, want.DenyPurge, nil},
		{"allow_msg_ttl", have.AllowMsgTTL, want.AllowMsgTTL, safe(want.AllowMsgTTL, func(c *jetstream.StreamConfig) { c.AllowMsgTTL = true })},
		{"sealed", have.Sealed, want.Sealed, nil},
		{"format", have.Metadata[metaFormat], want.Metadata[metaFormat], nil},
	}
}

// holds: what is in the stream fits into what is wanted, and a full stream drops nothing that it would not drop anyway.
func holds(info *jetstream.StreamInfo, want jetstream.StreamConfig) bool {
	return uint64(want.MaxBytes) >= info.State.Bytes
}

func safe(yes bool, apply func(*jetstream.StreamConfig)) func(*jetstream.StreamConfig) {
	if !yes {
		return nil
	}
	return apply
}

// limit is what the broker makes of a limit that is not set.
func limit(n int64) int64 {
	if n <= 0 {
		return unlimited
	}
	return n
}
