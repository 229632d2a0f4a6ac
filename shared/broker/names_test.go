package broker_test

import (
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/triggerd/triggerd/shared/broker"
)

// Names say where data lies: with another name a deployment would not find its data again, and would make empty streams.
func TestNamesNeverChange(t *testing.T) {
	for got, want := range map[string]string{
		broker.TriggersStream(7):  "TRIGGERS-7",
		broker.TriggersSubject(7): "triggers.7",
		broker.EventsStream(12):   "EVENTS-12",
		broker.EventsSubject(12):  "events.12",
		broker.StateSubject(0):    "state.0",
		broker.BucketDeployment:   "DEPLOYMENT",
		broker.BucketModules:      "MODULES",
		broker.BucketMembers:      "MEMBERS",
		broker.BucketSnapshots:    "SNAPSHOTS",
		broker.BucketControl:      "CONTROL",
		broker.BucketLimits:       "LIMITS",
		broker.BucketIngresses:    "INGRESSES",
		broker.StoreSnapshots:     "SNAPSHOT-DATA",
	} {
		if got != want {
			t.Errorf("name is %q, must stay %q", got, want)
		}
	}
}

// The partition of a user says in which log the user's records lie. If any number in the golden file changed, old
// records and new ones of a user would lie in different logs. Never regenerate it.
func TestPartitionNeverChanges(t *testing.T) {
	want, err := os.ReadFile(filepath.Join("testdata", "partitions.golden"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), partitionTable()); diff != "" {
		t.Errorf("the partition function changed (-golden +now):\n%s", diff)
	}
}

// partitionTable lists 50 keys with their partitions of 1, 2, 3, 8, 16 and 1024.
func partitionTable() string {
	accounts := []string{"demo", "a", "", "ACCOUNT", "konto-ä"}
	users := []string{"alice", "bob", "", "0", "user-00000001", "ALICE", "名前", "a b", strings.Repeat("x", 256), "\x01"}
	var out strings.Builder
	for _, a := range accounts {
		for _, u := range users {
			fmt.Fprintf(&out, "%q %q", a, u)
			for _, n := range []int{1, 2, 3, 8, 16, 1024} {
				fmt.Fprintf(&out, " %d", broker.Partition(a, u, n))
			}
			out.WriteByte('\n')
		}
	}
	return out.String()
}

func TestPartitionIsFNV1a(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		account, user := rapid.String().Draw(t, "account"), rapid.String().Draw(t, "user")
		count := rapid.IntRange(1, broker.MaxPartitions).Draw(t, "count")
		h := fnv.New32a()
		h.Write([]byte(account + "\x00" + user))
		if got, want := broker.Partition(account, user, count), int(h.Sum32()%uint32(count)); got != want {
			t.Fatalf("partition %d, want %d", got, want)
		}
	})
}

func BenchmarkPartition(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		broker.Partition("account-12345", "user-0123456789abcdef", 8)
	}
}
