package httpapi

import "math"

// decimal is a JSON number taken apart, exactly: its value is 0.digits × 10^point. Binary
// floating point would turn 0.003 s into 4 ms now and then, and lose the digits of a large id.
type decimal struct {
	negative bool
	digits   [20]byte // the first significant ones
	n        int      // how many
	more     bool     // digits other than 0 follow
	point    int
}

// maxExponent stands for every larger exponent; no request is long enough to shift the point back from there.
const maxExponent = 1 << 30

// parseDecimal reads a valid JSON number.
func parseDecimal(number []byte) (d decimal) {
	if number[0] == '-' {
		d.negative = true
		number = number[1:]
	}
	fraction := false
	for i, c := range number {
		switch c {
		case '.':
			fraction = true
		case 'e', 'E':
			d.shift(parseExponent(number[i+1:]))
			return d
		default:
			d.add(c, fraction)
		}
	}
	return d
}

// add takes the next digit.
func (d *decimal) add(digit byte, fraction bool) {
	leading := d.n == 0 && digit == '0'
	switch {
	case leading && fraction:
		d.point--
	case !leading && !fraction:
		d.point++
	}
	switch {
	case leading:
	case d.n < len(d.digits):
		d.digits[d.n] = digit
		d.n++
	case digit != '0':
		d.more = true
	}
}

func (d *decimal) shift(by int) {
	if d.n > 0 {
		d.point += by
	}
}

// parseExponent reads what follows the e.
func parseExponent(text []byte) int {
	sign, exponent := 1, 0
	for _, c := range text {
		switch c {
		case '+':
		case '-':
			sign = -1
		default:
			exponent = min(exponent*10+int(c-'0'), maxExponent)
		}
	}
	return sign * exponent
}

// scaled returns the magnitude times 10^scale without its fraction, and whether there was one; ok is
// false if it has more than 19 digits.
func (d *decimal) scaled(scale int) (whole uint64, fraction, ok bool) {
	places := d.point + scale
	if d.n > 0 && places > 19 {
		return 0, false, false
	}
	for i := range places {
		whole *= 10
		if i < d.n {
			whole += uint64(d.digits[i] - '0')
		}
	}
	for i := max(places, 0); i < d.n && !fraction; i++ {
		fraction = d.digits[i] != '0'
	}
	return whole, fraction || d.more, true
}

// integer returns the number if it is a whole one of 64 bits, however it is written (1e3 is 1000).
func (d *decimal) integer() (n int64, ok bool) {
	whole, fraction, ok := d.scaled(0)
	switch {
	case !ok || fraction:
		return 0, false
	case d.negative && whole <= 1<<63:
		return -int64(whole), true // 1<<63 stays what it is, which is the smallest number
	case whole <= math.MaxInt64:
		return int64(whole), !d.negative
	}
	return 0, false
}

// millis returns a number of seconds, from 0 to limit milliseconds, as milliseconds, rounded up: who asks to wait
// does not mean at once.
func (d *decimal) millis(limit int64) (ms int64, ok bool) {
	whole, fraction, ok := d.scaled(3)
	if !ok || whole > uint64(limit) {
		return 0, false
	}
	ms = int64(whole)
	if fraction {
		ms++
	}
	return ms, ms <= limit && !(d.negative && ms > 0)
}
