package command

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/shared/operator"
)

func streamOf(replicas int, copies ...*jetstream.PeerInfo) *jetstream.StreamInfo {
	return &jetstream.StreamInfo{Config: jetstream.StreamConfig{Name: "TRIGGERS-1", Replicas: replicas},
		Cluster: &jetstream.ClusterInfo{Leader: "n1", Replicas: copies}}
}

func TestCopies(t *testing.T) {
	here := &jetstream.PeerInfo{Name: "n2", Current: true}
	headless := streamOf(3, here)
	headless.Cluster.Leader = ""
	for name, c := range map[string]struct {
		info *jetstream.StreamInfo
		good int
		says string
	}{
		"one server":          {&jetstream.StreamInfo{Config: jetstream.StreamConfig{Replicas: 1}}, 1, ""},
		"all there":           {streamOf(3, here, here), 3, ""},
		"a little on its way": {streamOf(3, here, &jetstream.PeerInfo{Name: "n3", Lag: 2}), 3, ""},
		"offline":             {streamOf(3, here, &jetstream.PeerInfo{Name: "n3", Offline: true, Active: time.Minute}), 2, "server n3: its copies of 1 streams are missing or late (last heard of 1m0s"},
		"far behind":          {streamOf(3, here, &jetstream.PeerInfo{Name: "n3", Lag: 5000}), 2, "5000 operations behind"},
		"not heard of":        {streamOf(3, here, &jetstream.PeerInfo{Name: "n3", Active: time.Hour}), 2, "1h0m0s ago"},
		"not made yet":        {streamOf(3, here), 2, "fewer servers"},
		"no majority":         {streamOf(3, &jetstream.PeerInfo{Name: "n3", Offline: true}, &jetstream.PeerInfo{Name: "n2", Offline: true}), 1, "nothing can be stored where"},
		"no leader":           {headless, 0, "no leader is elected: TRIGGERS-1"},
	} {
		got := copiesOf(c.info)
		wrong := judgeCopies([]Copies{got})
		if got.Good != c.good || (c.says == "") != (len(wrong) == 0) || c.says != "" && !strings.Contains(wrong[0].What, c.says) || got.whole() != (c.says == "") {
			t.Errorf("%s: %+v, %q", name, got, wrong)
		}
	}
}

// A server that is away shows in each of a thousand streams.
func TestAServerIsNamedOnce(t *testing.T) {
	var all []Copies
	for range 1000 {
		all = append(all, copiesOf(streamOf(3, &jetstream.PeerInfo{Name: "n2", Current: true}, &jetstream.PeerInfo{Name: "n3", Offline: true})))
	}
	if wrong := judgeCopies(all); len(wrong) != 1 || !strings.Contains(wrong[0].What, "1000 streams") {
		t.Errorf("got %q", wrong)
	}
	rows := []Row{{Partition: 1, Wrong: []Wrong{{What: "x"}}}, {Partition: 2}, {Partition: 3, Wrong: []Wrong{{What: "x"}, {What: "y"}}}}
	if lines := together(rows); !slices.Equal(lines, []string{"partitions 1, 3: x", "partition 3: y"}) {
		t.Errorf("got %q", lines)
	}
}

func TestJudge(t *testing.T) {
	serving := Row{Partition: 7, State: stateServing, Owner: "w", Log: &Log{Last: 9, LogBytes: 10, LogMaxBytes: 100}, Standing: &Standing{Applied: 9}}
	for name, c := range map[string]struct {
		change func(*Row)
		want   []string // each line holds
	}{
		"all is well": {func(*Row) {}, nil},
		"paused":      {func(r *Row) { r.Paused, r.State = "paused by ann", statePaused }, []string{"paused by ann; to do: worker resume -partition 7"}},
		"quarantined and halted": {func(r *Row) {
			r.Quarantined, r.suspect, r.State, r.Halted = "message 5 ended 2 processes", 5, stateHalted, map[string]string{"w": "halted: x; to do: y"}
		}, []string{"nats stream get TRIGGERS-7 5", "halted at worker w: halted: x; to do: y"}},
		"halted by all": {func(r *Row) {
			cause := "partition 7 halted: its log is gone; to do: restore it"
			r.State, r.Halted = stateHalted, map[string]string{"b": cause, "a": cause}
		}, []string{"halted at worker a, b: its log is gone; to do: restore it"}},
		"halted without advice": {func(r *Row) { r.State, r.Halted = stateHalted, map[string]string{"w": "x"} }, []string{"worker resume -partition 7"}},
		"silent":                {func(r *Row) { r.State, r.Standing = stateSilent, nil }, []string{"its owner w at - does not answer"}},
		"replaying":             {func(r *Row) { r.State = "replaying" }, []string{"replaying"}},
		"late":                  {func(r *Row) { r.OldestAge = 90 }, []string{"accepted 1m30s ago"}},
		"nearly full":           {func(r *Row) { r.LogBytes = 80 }, []string{"80B of 100B"}},
	} {
		r := serving
		log, standing := *serving.Log, *serving.Standing
		r.Log, r.Standing = &log, &standing
		c.change(&r)
		got := judge(&r)
		if len(got) != len(c.want) {
			t.Fatalf("%s: %q", name, got)
		}
		for i, want := range c.want {
			if !strings.Contains(got[i].String(), want) {
				t.Errorf("%s: %q, want %q", name, got[i], want)
			}
		}
	}
}

// An API's 503 is not a person's word.
func TestUnansweredSaysWhatItMeans(t *testing.T) {
	if w := unanswered("", &jetstream.APIError{ErrorCode: 10008}); !strings.Contains(w.What, "no leader") || w.Do != operator.FindServers {
		t.Errorf("got %+v", w)
	}
	if w := unanswered("", errors.New("foreign")); w.Do != "" {
		t.Errorf("got %+v", w)
	}
}

func TestSize(t *testing.T) {
	for bytes, want := range map[uint64]string{0: "0B", 1023: "1023B", 1 << 10: "1.0KiB", 2 << 30: "2.0GiB", 1536 << 10: "1.5MiB"} {
		if got := size(bytes); got != want {
			t.Errorf("%d is %s, not %s", bytes, got, want)
		}
	}
}
