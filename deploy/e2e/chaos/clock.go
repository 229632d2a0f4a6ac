package chaos

import (
	"encoding/binary"
	"fmt"
	"os"
	"time"
)

// clockVariable names the file of a process's clock in its environment.
const clockVariable = "CHAOS_CLOCK"

// Clock is how far a process's wall clock is ahead of the machine's. It outlives the process.
type Clock struct{ path string }

// newClock makes a right one.
func newClock(path string) (*Clock, error) {
	c := &Clock{path}
	return c, c.Set(0)
}

// Set takes effect at the process's next look at its clock.
func (c *Clock) Set(ahead time.Duration) error {
	file, err := os.OpenFile(c.path, os.O_WRONLY|os.O_CREATE, 0o644) // not truncated: it is mapped
	if err != nil {
		return fmt.Errorf("set clock: %w", err)
	}
	defer file.Close()
	if _, err := file.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(ahead)), 0); err != nil {
		return fmt.Errorf("set clock: %w", err)
	}
	return nil
}

// environ is what a process with this clock has in its environment.
func (c *Clock) environ() string { return clockVariable + "=" + c.path }
