package bench

import (
	"fmt"
	"time"
)

// growth is what was seen of one number of partitions with one number of users.
type growth struct {
	partitions, users int

	imported         float64       // users a second, registered and applied
	accepted         float64       // triggers a second, while they are applied and emitted
	stored           float64       // triggers a second, without a worker
	applied          float64       // triggers a second, of those, by a worker that does nothing else; 0 when it was too quick to be seen
	checkpointMicros float64       // of writing checkpoints, by trigger
	heap             uint64        // that a worker holds
	file             uint64        // bytes of all partitions' files
	packed           uint64        // bytes of all partitions' newest snapshots
	begin            time.Duration // of a worker with its files, until it applies
	restore          time.Duration // of a worker without files, until it serves everything
}

const growthFormat = "%5v %9v %10v %10v %10v %10v %11v %9v %7v %7v %8v %8v"

func growthHeader() string {
	return fmt.Sprintf(growthFormat+"\n"+growthFormat, "P", "users", "import", "accept", "accept", "apply", "checkpoint", "heap", "B/user", "B/user", "begin", "restore",
		"", "", "/s", "+apply/s", "alone/s", "alone/s", "µs/trigger", "MiB", "file", "snap", "s", "s")
}

func (g *growth) String() string {
	seconds := func(d time.Duration) string { return fmt.Sprintf("%.2f", d.Seconds()) }
	return fmt.Sprintf(growthFormat, g.partitions, g.users, int(g.imported), int(g.accepted), int(g.stored), int(g.applied),
		fmt.Sprintf("%.1f", g.checkpointMicros), g.heap>>20, g.file/uint64(g.users), g.packed/uint64(g.users), seconds(g.begin), seconds(g.restore))
}
