package membership

import (
	"testing"
	"time"
)

// Workers of different versions read each other's keys during an update: the names must not change, and what is new must not disturb the old.
func TestMemberGolden(t *testing.T) {
	m := Member{ID: "w1", Version: Version, Home: "red", Host: "host", Started: time.Unix(1_700_000_000, 0).UTC(), Leaving: true,
		Serves: []int{1, 2}, Halted: []int{3}}
	const want = `{"version":1,"home":"red","host":"host","started_at":"2023-11-14T22:13:20Z","leaving":true,"serves":[1,2],"halted":[3]}`
	if got := string(m.encode()); got != want {
		t.Errorf("member is %s, want %s", got, want)
	}
	got, err := decode("w1", []byte(`{"version":2,"home":"red","standby":[7],"halted":[3]}`))
	if err != nil || got.Home != "red" || len(got.Halted) != 1 {
		t.Errorf("a later member is %+v, %v", got, err)
	}
}
