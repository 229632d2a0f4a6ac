package command

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// unknown is shown for what could not be found out, absent for what is not there.
const (
	unknown = "?"
	absent  = "-"
)

// report writes what is wrong, and then a line for each partition, marked if something is.
func report(w io.Writer, rows []Row, wrong []Wrong, digest bool) error {
	for _, x := range wrong {
		fmt.Fprintf(w, "! %s\n", x)
	}
	for _, x := range together(rows) {
		fmt.Fprintf(w, "! %s\n", x)
	}
	return table(w, rows, digest)
}

// together says once what is wrong with several partitions.
func together(rows []Row) (lines []string) {
	whose, texts := map[string][]string{}, []string{}
	for _, r := range rows {
		for _, x := range r.Wrong {
			text := x.String()
			if whose[text] == nil {
				texts = append(texts, text)
			}
			whose[text] = append(whose[text], fmt.Sprint(r.Partition))
		}
	}
	for _, text := range texts {
		noun := "partition"
		if len(whose[text]) > 1 {
			noun = "partitions"
		}
		lines = append(lines, noun+" "+strings.Join(whose[text], ", ")+": "+text)
	}
	return lines
}

func table(w io.Writer, rows []Row, digest bool) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	head := []string{"PARTITION", "STATE", "OWNER", "STANDBY", "APPLIED/LAST", "LAG", "OLDEST", "EMITTED/EVENTS", "CHECKPOINT", "USERS",
		"SNAPSHOT", "AGE", "LOG", "FULL", "COPIES"}
	if digest {
		head = append(head, "DIGEST")
	}
	fmt.Fprintln(tw, strings.Join(head, "\t"))
	for _, r := range rows {
		fmt.Fprintln(tw, strings.Join(cells(&r)[:len(head)], "\t"))
	}
	return tw.Flush()
}

// cells are those of a line, the digest last.
func cells(r *Row) []string {
	number, last, bytes, full := fmt.Sprint(r.Partition), unknown, unknown, unknown
	if r.ill() {
		number += " !"
	}
	if r.Log != nil {
		last, bytes, full = fmt.Sprint(r.Last), size(r.LogBytes), percent(r.LogBytes, r.LogMaxBytes)
	}
	line := []string{number, r.State, orDash(r.Owner), orDash(r.Standby)}
	if r.unattended {
		line[3] = unknown
	}
	digest := unknown
	if r.Standing == nil {
		line = append(line, unknown+"/"+last, unknown, unknown, unknown, unknown, unknown)
	} else {
		line = append(line, fmt.Sprintf("%d/%s", r.Applied, last), fmt.Sprint(r.Lag), age(r.OldestAge), fmt.Sprintf("%d/%d", r.Emitted, r.Events),
			fmt.Sprint(r.CheckpointSeq), fmt.Sprint(r.Users))
		digest = orDash(r.Digest)
	}
	switch {
	case r.unlisted:
		line = append(line, unknown, unknown)
	case r.Kept == nil:
		line = append(line, absent, absent)
	default:
		line = append(line, fmt.Sprint(r.SnapshotSeq), age(r.SnapshotAge))
	}
	return append(line, bytes, full, good(r.Copies), digest)
}

// good is how many copies are good of the stream that has the fewest.
func good(all []Copies) string {
	if len(all) == 0 {
		return unknown
	}
	worst := slices.MinFunc(all, func(a, b Copies) int { return a.Good*b.Want - b.Good*a.Want })
	return fmt.Sprintf("%d/%d", worst.Good, worst.Want)
}

// age is rounded to what a person reads.
func age(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	if d < 10*time.Second {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

func size(bytes uint64) string {
	const units = "KMGTPE"
	if bytes < 1<<10 {
		return fmt.Sprintf("%dB", bytes)
	}
	value, unit := float64(bytes)/(1<<10), 0
	for value >= 1<<10 {
		value, unit = value/(1<<10), unit+1
	}
	return fmt.Sprintf("%.1f%ciB", value, units[unit])
}

func percent(bytes uint64, most int64) string {
	if most <= 0 { // no bound
		return absent
	}
	return fmt.Sprintf("%d%%", bytes*100/uint64(most))
}

func orDash(s string) string {
	if s == "" {
		return absent
	}
	return s
}
