package appender_test

import (
	"testing"

	"github.com/triggerd/triggerd/ingress/internal/appender"
)

// An account that floods has half of the queue, and no more; one that is quiet finds a place, and leaves with the next batch, beside whatever waits.
func TestFloodNeitherFillsTheQueueNorStandsInFront(t *testing.T) {
	const places = 100
	for what, cfg := range map[string]appender.Config{
		"records": {Timeout: patient, StallAfter: patient, QueueRecords: places, BatchRecords: 10},
		"bytes":   {Timeout: patient, StallAfter: patient, QueueBytes: places * len(line("flood00")), BatchRecords: 10},
	} {
		t.Run(what, func(t *testing.T) {
			r := newRig(t, cfg)
			calls := []<-chan result{r.stuck("first")}
			for i := range places / 2 {
				calls = append(calls, r.call("flood", name("flood", 10+i)))
			}
			r.queued(places / 2)
			checkUnavailable(t, (<-r.call("flood", "flood99")).err)
			calls = append(calls, r.call("quiet", "quiet00"))
			r.queued(places/2 + 1)
			r.proxy.Release()
			for _, c := range calls {
				if res := <-c; res.err != nil {
					t.Error(res.err)
				}
			}
			for i, user := range users(r.entries()) {
				if user == "quiet00" {
					if i > 2 { // after the one in flight and one of the flood's
						t.Errorf("the quiet one is at place %d", i)
					}
					return
				}
			}
			t.Error("the quiet one is not in the log")
		})
	}
}
