package command

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/shared/operator"
)

// Copies are those of one stream, the leader's counted in.
type Copies struct {
	Stream   string `json:"stream"`
	Leader   string `json:"leader,omitempty"` // server; empty: the broker has only one, or there is none
	Want     int    `json:"want"`
	Good     int    `json:"good"` // there and up to date, as far as the leader knows
	Bad      []Copy `json:"bad,omitempty"`
	Headless bool   `json:"no_leader,omitempty"`
}

// Copy is one that is not as it should be.
type Copy struct {
	Server  string  `json:"server"`
	Offline bool    `json:"offline,omitempty"`
	Behind  uint64  `json:"behind_operations"`
	Silent  float64 `json:"silent_seconds"` // since it was heard of
}

// A copy that is behind by less is one that follows; the broker calls it not current while anything is on its way.
const (
	behindEntries = 1000
	behindSilence = 10 * time.Second
)

func copiesOf(info *jetstream.StreamInfo) Copies {
	c := Copies{Stream: info.Config.Name, Want: max(info.Config.Replicas, 1), Good: 1}
	switch {
	case info.Cluster == nil:
		return c
	case info.Cluster.Leader == "":
		c.Good, c.Headless = 0, true
		return c
	}
	c.Leader = info.Cluster.Leader
	for _, r := range info.Cluster.Replicas {
		if r.Offline || !r.Current && (r.Lag > behindEntries || r.Active > behindSilence) {
			c.Bad = append(c.Bad, Copy{Server: r.Name, Offline: r.Offline, Behind: r.Lag, Silent: r.Active.Seconds()})
		} else {
			c.Good++
		}
	}
	return c
}

// whole says whether nothing is missing.
func (c Copies) whole() bool { return c.Good >= c.Want }

// stuck: too few copies are good for anything to be stored.
func (c Copies) stuck() bool { return 2*c.Good <= c.Want }

// judgeCopies says what is wrong with the copies of all streams. One server that is away shows in each of them, and is said once.
func judgeCopies(all []Copies) (wrong []Wrong) {
	if names := those(all, func(c Copies) bool { return c.stuck() && c.Want > 1 || c.Headless }); len(names) > 0 {
		wrong = append(wrong, Wrong{"nothing can be stored where a majority of the copies is missing or no leader is elected: " + some(names), operator.FindServers})
	}
	servers := map[string][]Copy{}
	for _, c := range all {
		for _, bad := range c.Bad {
			servers[bad.Server] = append(servers[bad.Server], bad)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(servers)) {
		bad := servers[name]
		silent := slices.MaxFunc(bad, func(a, b Copy) int { return cmp.Compare(a.Silent, b.Silent) }).Silent
		behind := slices.MaxFunc(bad, func(a, b Copy) int { return cmp.Compare(a.Behind, b.Behind) }).Behind
		wrong = append(wrong, Wrong{fmt.Sprintf("server %s: its copies of %d streams are missing or late (last heard of %s ago, up to %d operations behind)",
			name, len(bad), age(silent), behind), operator.FindServers})
	}
	if names := those(all, func(c Copies) bool { return !c.Headless && c.Good+len(c.Bad) < c.Want }); len(names) > 0 {
		wrong = append(wrong, Wrong{"fewer servers have a copy than it should have: " + some(names), operator.FindServers})
	}
	return wrong
}

func those(all []Copies, is func(Copies) bool) (names []string) {
	for _, c := range all {
		if is(c) {
			names = append(names, c.Stream)
		}
	}
	return names
}

// shownStreams bounds how many streams a line names.
const shownStreams = 8

func some(names []string) string {
	if more := len(names) - shownStreams; more > 0 {
		return fmt.Sprintf("%s, and %d more", strings.Join(names[:shownStreams], ", "), more)
	}
	return strings.Join(names, ", ")
}
