package partition

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// HaltError is why a partition stopped rather than guess. It is meant for an operator.
type HaltError struct {
	Partition int
	What      string // what was found
	Kept      string // what is safe
	Do        string // what to do next
	Err       error  // the cause, if there is one
}

func (e *HaltError) Error() string {
	s := fmt.Sprintf("partition %d halted: %s", e.Partition, e.What)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s + "; kept: " + e.Kept + "; to do: " + e.Do
}

func (e *HaltError) Unwrap() error { return e.Err }

// errCrash marks what a failpoint returned: the partition ends without another step.
var errCrash = errors.New("aborted by failpoint")

// fail passes a failpoint. Safe for concurrent use, if the failpoint is.
func (p *Partition) fail(step string) error {
	if p.deps.Failpoint == nil {
		return nil
	}
	if err := p.deps.Failpoint(step); err != nil {
		return fmt.Errorf("%w: at %s: %w", errCrash, step, err)
	}
	return nil
}

const (
	keptFile    = "the partition's file, as of its last checkpoint"
	doNotDelete = "keep the partition's file and the streams as they are; "
)

// thenResume ends what is to be done: nothing needs a restart. thisOne stands for the partition's number in what is to be typed.
const (
	thisOne    = "-partition N"
	thenResume = "; then: worker resume " + thisOne
)

func (p *Partition) halt(what, do string, cause error) error {
	do = strings.ReplaceAll(do, thisOne, "-partition "+strconv.Itoa(p.cfg.Partition))
	return &HaltError{Partition: p.cfg.Partition, What: what, Kept: keptFile, Do: do, Err: cause}
}
