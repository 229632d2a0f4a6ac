//go:build race

package loadgen

// raceEnabled: the detector allocates too, so allocations cannot be counted.
const raceEnabled = true
