package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Bytes is a size as a setting: 1048576, 1MiB or 1024KiB. It is a flag.Value.
type Bytes int64

var units = []struct {
	suffix string
	factor int64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}, {"", 1}}

// Set reads a whole number of bytes or of one of the units above; no signs, no fractions.
func (b *Bytes) Set(text string) error {
	for _, u := range units {
		digits, ok := strings.CutSuffix(text, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(digits, 10, 63)
		if err != nil || int64(n) > math.MaxInt64/u.factor {
			break
		}
		*b = Bytes(int64(n) * u.factor)
		return nil
	}
	return fmt.Errorf("not a size like 1048576, 1024KiB or 1GiB")
}

// String uses the largest unit that needs no fraction.
func (b *Bytes) String() string {
	if b == nil || *b == 0 {
		return "0"
	}
	for _, u := range units {
		if n := int64(*b); n%u.factor == 0 && u.factor > 1 {
			return strconv.FormatInt(n/u.factor, 10) + u.suffix
		}
	}
	return strconv.FormatInt(int64(*b), 10)
}
