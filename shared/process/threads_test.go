package process

import "testing"

func TestThreads(t *testing.T) {
	for _, test := range []struct {
		name               string
		told               bool
		chosen, processors int
		want               int
	}{
		{"two processors", false, 2, 2, leastThreads},
		{"one processor", false, 1, 1, leastThreads},
		{"enough processors", false, leastThreads, leastThreads, 0},
		{"many processors", false, 64, 64, 0},
		{"told by the environment", true, 2, 2, 0},
		{"two processors' worth of time of 16", false, 2, 16, 0},
	} {
		if got := threads(test.told, test.chosen, test.processors); got != test.want {
			t.Errorf("%s: %d threads, want %d", test.name, got, test.want)
		}
	}
}
