package bench

import (
	"fmt"
	"slices"
	"time"
)

// A piece of computing writes to so many pages of a memory that is larger than the processor's own caches, as a server does.
const (
	steadyBytes = 32 << 20
	pageBytes   = 4 << 10
	piecePages  = 2048
	steadyMost  = 5 * time.Second // of looking; a machine that stands still does so every second or two
)

// steadiness says how evenly this machine computes when nothing else does: a virtual one may stand still many times a second, unseen by its own kernel, and then so
// does whatever is measured.
func steadiness(span time.Duration) string {
	span = min(span, steadyMost)
	memory := make([]byte, steadyBytes)
	var times []time.Duration
	page := 0
	for begun := time.Now(); time.Since(begun) < span || times == nil; {
		piece := time.Now()
		for range piecePages {
			memory[page]++
			page = (page + pageBytes) % steadyBytes
		}
		times = append(times, time.Since(piece))
	}
	lost, longest := standstill(times)
	return fmt.Sprintf("computing alone, it stood still for %.1f%% of the time, %s at once at most", 100*lost, longest.Round(100*time.Microsecond))
}

// standstill is the share of the time by which equal pieces took longer than twice the middle one, and the most of one piece.
func standstill(times []time.Duration) (lost float64, longest time.Duration) {
	sorted := slices.Sorted(slices.Values(times))
	middle := sorted[len(sorted)/2]
	var all, more time.Duration
	for _, t := range times {
		all += t
		if t > 2*middle {
			more += t - middle
			longest = max(longest, t-middle)
		}
	}
	return float64(more) / float64(max(1, all)), longest
}
