//go:build race

package httpapi

// raceEnabled: pools drop what is put into them now and then, so allocations cannot be counted.
const raceEnabled = true
