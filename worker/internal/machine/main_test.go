package machine_test

import (
	"flag"
	"os"
	"testing"
)

// raceChecks is how many random runs each property gets under the race detector, unless -rapid.checks says otherwise.
const raceChecks = "25"

func TestMain(m *testing.M) {
	if raceEnabled { // the command line is read later, and wins
		if err := flag.Set("rapid.checks", raceChecks); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}
