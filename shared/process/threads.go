package process

import (
	"os"
	"runtime"
)

// leastThreads is how many threads run Go code at once at least, also where there are fewer processors. A checkpoint and the garbage collector compute for tens of milliseconds; with
// a thread for each of two processors they are in the way of every request until they are through, and with more of them the kernel lets who has just been woken go first. Measured on two
// processors at 10 000 triggers a second: a third of the p99 of accepting, and no less accepted at saturation.
const leastThreads = 4

// useThreads sets how many threads run Go code, unless the environment (GOMAXPROCS) does.
func useThreads() {
	if n := threads(os.Getenv("GOMAXPROCS") != "", runtime.GOMAXPROCS(0), runtime.NumCPU()); n > 0 {
		runtime.GOMAXPROCS(n)
	}
}

// threads is how many there are to be; 0: leave it. Go has chosen fewer than there are processors if a container may use only part of their time: there, more threads would use that
// up sooner and then all stand still until there is more.
func threads(told bool, chosen, processors int) int {
	if told || chosen < processors || chosen >= leastThreads {
		return 0
	}
	return leastThreads
}
