package partition

import (
	"encoding/json"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/worker/internal/machine"
)

// Whatever is added, taken, and found to be in EVENTS already: the parcels are valid JSON arrays of consecutive
// events, none is missing, none is twice, and the accounts are right.
func TestOutbox(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := outbox{limit: rapid.IntRange(200, 2000).Draw(t, "limit")}
		var next, landed uint64 = 1, 0
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				for range rapid.IntRange(1, 8).Draw(t, "events") {
					o.add(event(next, rapid.IntRange(0, 600).Draw(t, "size")), mark{seq: next})
					next++
				}
			},
			"fly": func(t *rapid.T) {
				p := o.take()
				if p == nil {
					return
				}
				if p.first != landed+1 {
					t.Fatalf("parcel begins at %d, landed was %d", p.first, landed)
				}
				if k := rapid.Uint64Range(0, p.last-p.first).Draw(t, "there already"); k > 0 {
					p.dropThrough(p.first + k - 1)
				}
				checkParcel(t, p, o.limit)
				landed = max(landed, p.last+rapid.Uint64Range(0, 10).Draw(t, "beyond"))
				o.landed()
				o.skipTo(landed)
			},
			"": func(t *rapid.T) {
				events, bytes := o.unacknowledged()
				sum, size := 0, int64(0)
				for _, p := range o.queue {
					checkParcel(t, p, o.limit)
					sum += len(p.ends)
					size += int64(len(p.body) - 1)
				}
				if events != sum || bytes != size {
					t.Fatalf("unacknowledged are %d events of %d bytes, counted %d of %d", events, bytes, sum, size)
				}
				if want := int(next - 1 - min(next-1, landed)); events != want {
					t.Fatalf("%d events wait, want %d", events, want)
				}
			},
		})
	})
}

// A parcel that has landed is the next one, and nothing is allocated beside it.
func TestParcelsAreUsedAgain(t *testing.T) {
	o := outbox{limit: 1 << 10}
	o.recycle(o.fresh())
	if n := testing.AllocsPerRun(100, func() {
		o.queue = o.queue[:0]
		o.recycle(o.fresh())
	}); n > 0 {
		t.Errorf("%g allocations", n)
	}
}

func checkParcel(t *rapid.T, p *parcel, limit int) {
	var got []struct {
		Data struct{ Version uint64 }
	}
	if err := json.Unmarshal(p.payload(), &got); err != nil {
		t.Fatalf("parcel is no JSON: %v", err)
	}
	if len(got) != int(p.last-p.first+1) || len(got) != len(p.ends) {
		t.Fatalf("parcel %d to %d holds %d events", p.first, p.last, len(got))
	}
	if p.from.seq != p.last {
		t.Fatalf("parcel says that %d followed from message %d", p.last, p.from.seq)
	}
	for i, e := range got {
		if e.Data.Version != p.first+uint64(i) {
			t.Fatalf("event %d of the parcel is number %d", i, e.Data.Version)
		}
	}
	if len(p.body)+1 > limit && len(p.ends) > 1 {
		t.Fatalf("parcel of %d events is %d bytes long, over %d", len(p.ends), len(p.body)+1, limit)
	}
}

// event has its number as its version too, to be recognised by.
func event(n uint64, size int) *machine.Event {
	return &machine.Event{Number: n, Kind: machine.EventUpdated, Position: record.Position{Seq: n}, Account: []byte("a"), User: []byte("u"), Bot: "b",
		Version: n, Vars: []record.Var{{Name: []byte("v"), Value: []byte(`"` + strings.Repeat("x", size) + `"`)}}}
}
