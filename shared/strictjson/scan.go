package strictjson

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// A string is scanned eight bytes at a time. These are masks of one byte each, repeated.
const (
	ones        = 0x0101010101010101
	highs       = 0x80 * ones
	spaces      = ' ' * ones
	quotes      = '"' * ones
	backslashes = '\\' * ones
)

// plain returns how many bytes at the start of s can stand in a string as they are: ASCII, but no
// quote, backslash or control character.
func plain(s []byte) int {
	n := 0
	for len(s)-n >= 8 {
		w := binary.LittleEndian.Uint64(s[n:])
		// The highest bit of a byte of m is set where that byte is not plain. A borrow can set it
		// wrongly, but only above a byte where it is set rightly, and only the lowest counts.
		m := (w | (w - spaces) | ((w ^ quotes) - ones) | ((w ^ backslashes) - ones)) & highs
		if m != 0 {
			return n + bits.TrailingZeros64(m)/8
		}
		n += 8
	}
	for n < len(s) && isPlain(s[n]) {
		n++
	}
	return n
}

func isPlain(c byte) bool { return ' ' <= c && c < utf8.RuneSelf && c != '"' && c != '\\' }

// string validates the string that begins at the current position.
func (r *Reader) string() (escaped bool, err error) {
	r.pos++
	for {
		r.pos += plain(r.data[r.pos:])
		if r.pos >= len(r.data) {
			return false, r.fail("want the closing quote of a string")
		}
		switch c := r.data[r.pos]; {
		case c == '"':
			r.pos++
			return escaped, nil
		case c == '\\':
			escaped = true
			err = r.escape()
		case c < ' ':
			err = r.fail("control character in a string")
		default:
			err = r.runes()
		}
		if err != nil {
			return false, err
		}
	}
}

// runes validates characters outside ASCII.
func (r *Reader) runes() error {
	for r.pos < len(r.data) && r.data[r.pos] >= utf8.RuneSelf {
		c, size := utf8.DecodeRune(r.data[r.pos:])
		if c == utf8.RuneError && size == 1 {
			return r.fail("invalid UTF-8 in a string")
		}
		r.pos += size
	}
	return nil
}

// escape validates the escape at the current position, both halves if it is a surrogate pair.
func (r *Reader) escape() error {
	rest := r.data[r.pos:]
	if len(rest) < 2 {
		r.pos = len(r.data)
		return r.fail("want an escape")
	}
	if rest[1] != 'u' {
		if short(rest[1]) == 0 {
			return r.fail("unknown escape in a string")
		}
		r.pos += 2
		return nil
	}
	_, size, reason := unicodeEscape(rest)
	if reason != "" {
		return r.fail(reason)
	}
	r.pos += size
	return nil
}

// number validates the number that begins at the current position. What follows it
// is judged by whoever reads on, except that a second digit after a leading 0 is named here.
func (r *Reader) number() error {
	if r.data[r.pos] == '-' {
		r.pos++
	}
	if r.at('0') {
		if r.pos++; r.pos < len(r.data) && isDigit(r.data[r.pos]) {
			return r.fail("leading zero in a number")
		}
	} else if err := r.digits(); err != nil {
		return err
	}
	if r.at('.') {
		r.pos++
		if err := r.digits(); err != nil {
			return err
		}
	}
	if r.at('e') || r.at('E') {
		return r.exponent()
	}
	return nil
}

func (r *Reader) exponent() error {
	r.pos++
	if r.at('+') || r.at('-') {
		r.pos++
	}
	return r.digits()
}

func (r *Reader) digits() error {
	start := r.pos
	for r.pos < len(r.data) && isDigit(r.data[r.pos]) {
		r.pos++
	}
	if r.pos == start {
		return r.fail("want a digit in a number")
	}
	return nil
}

func (r *Reader) at(c byte) bool { return r.pos < len(r.data) && r.data[r.pos] == c }

func (r *Reader) literal(word string) error {
	if rest := r.data[r.pos:]; len(rest) < len(word) || string(rest[:len(word)]) != word {
		return r.fail("want true, false or null")
	}
	r.pos += len(word)
	return nil
}
