package broker

import "strconv"

// Names of the buckets (JetStream key-value stores). A name never changes: it says where data lies.
const (
	BucketDeployment = "DEPLOYMENT" // the partition count and the identity of every log
	BucketModules    = "MODULES"    // which modules a bot has
	BucketMembers    = "MEMBERS"    // live workers
	BucketSnapshots  = "SNAPSHOTS"  // which snapshots of a partition are kept, and where they lie
	BucketControl    = "CONTROL"    // what operators, and crashes, say of partitions
	BucketLimits     = "LIMITS"     // rates of accounts that have another than the usual one
	BucketIngresses  = "INGRESSES"  // live ingresses
	BucketRevoked    = "REVOKED"    // tokens taken back before they expire
)

// StoreSnapshots is the name of the object store that holds the snapshots.
const StoreSnapshots = "SNAPSHOT-DATA"

// Keys of BucketDeployment.
const (
	keyPartitions = "partitions"
	keyLogPrefix  = "log." // followed by the partition
)

// TriggersStream is the name of partition p's log, as in TRIGGERS-7.
func TriggersStream(p int) string { return numbered("TRIGGERS-", p) }

// TriggersSubject is the one subject of partition p's log, as in triggers.7.
func TriggersSubject(p int) string { return numbered("triggers.", p) }

// EventsStream is the name of the stream of partition p's events, as in EVENTS-7.
func EventsStream(p int) string { return numbered("EVENTS-", p) }

// EventsSubject is the one subject of EVENTS-p, as in events.7.
func EventsSubject(p int) string { return numbered("events.", p) }

// StateSubject is where the owner of partition p answers questions, as in state.7.
func StateSubject(p int) string { return numbered("state.", p) }

func logKey(p int) string { return numbered(keyLogPrefix, p) }

func numbered(prefix string, p int) string { return prefix + strconv.Itoa(p) }

// FNV-1a, 32 bit.
const (
	fnvOffset = 2166136261
	fnvPrime  = 16777619
)

// Partition is FNV-1a-32(account \x00 user) mod count, unsigned. It never changes: it says where data lies. count is at
// least 1.
func Partition(account, user string, count int) int {
	h := uint32(fnvOffset)
	for i := range len(account) {
		h = (h ^ uint32(account[i])) * fnvPrime
	}
	h *= fnvPrime // the separator, a zero byte
	for i := range len(user) {
		h = (h ^ uint32(user[i])) * fnvPrime
	}
	return int(h % uint32(count))
}
