package strictjson

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

// String decodes a JSON string value (with its quotes); ok is false if value is of another type.
// The result aliases value when it holds no escape. Value must be valid, as Object and
// Reader hand it out.
func String(value []byte) (s []byte, ok bool) {
	if len(value) < 2 || value[0] != '"' {
		return nil, false
	}
	s = value[1 : len(value)-1 : len(value)-1]
	if bytes.IndexByte(s, '\\') < 0 {
		return s, true
	}
	return unescape(s)
}

// unescape decodes what stands between the quotes of a string. It reports false for a
// malformed escape, which a validated string does not have.
func unescape(s []byte) ([]byte, bool) {
	out := make([]byte, 0, len(s))
	for {
		i := bytes.IndexByte(s, '\\')
		if i < 0 {
			return append(out, s...), true
		}
		out = append(out, s[:i]...)
		s = s[i:]
		if len(s) < 2 {
			return nil, false
		}
		if c := short(s[1]); c != 0 {
			out, s = append(out, c), s[2:]
			continue
		}
		c, size, reason := unicodeEscape(s)
		if reason != "" {
			return nil, false
		}
		out, s = utf8.AppendRune(out, c), s[size:]
	}
}

// short is the character that a two-character escape stands for, by its second character; 0 if
// there is no such escape.
func short(c byte) byte {
	switch c {
	case '"', '\\', '/':
		return c
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return 0
}

// unicodeEscape decodes \uXXXX, or two of them that are a surrogate pair, at the
// start of s. The reason is empty if all is well.
func unicodeEscape(s []byte) (c rune, size int, reason string) {
	c, ok := hex4(s)
	if !ok {
		return 0, 0, "unknown escape in a string"
	}
	if !utf16.IsSurrogate(c) {
		return c, 6, ""
	}
	// DecodeRune answers U+FFFD unless the two are a pair in the right order; no pair decodes to that.
	low, _ := hex4(s[6:])
	if c = utf16.DecodeRune(c, low); c == utf8.RuneError {
		return 0, 0, "lone surrogate in a string"
	}
	return c, 12, ""
}

// hex4 reads \uXXXX at the start of s.
func hex4(s []byte) (rune, bool) {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return 0, false
	}
	var c rune
	for _, d := range s[2:6] {
		switch {
		case isDigit(d):
			d -= '0'
		case 'a' <= d && d <= 'f':
			d -= 'a' - 10
		case 'A' <= d && d <= 'F':
			d -= 'A' - 10
		default:
			return 0, false
		}
		c = c<<4 | rune(d)
	}
	return c, true
}

// AppendCompact appends a valid value without insignificant white space. Strings and
// numbers stay as they were sent. Value must not overlap the free part of dst.
func AppendCompact(dst, value []byte) []byte {
	start := 0
	for i := 0; i < len(value); {
		switch c := value[i]; {
		case c == '"':
			i += stringLen(value[i:])
		case isSpace(c):
			dst = append(dst, value[start:i]...)
			i++
			start = i
		default:
			i++
		}
	}
	return append(dst, value[start:]...)
}

// stringLen is the length of the valid string at the start of s, with its quotes.
func stringLen(s []byte) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(s)
}

const hexDigits = "0123456789abcdef"

// AppendString appends s as a quoted JSON string. Only what must be escaped is: quote, backslash and
// control characters under U+0020. Bytes that are not UTF-8 become U+FFFD, so the result is always
// valid; callers that must not lose them check first.
func AppendString[T ~string | ~[]byte](dst []byte, s T) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if isPlain(c) {
			i++
			continue
		}
		size := 1
		if c >= utf8.RuneSelf {
			var r rune
			if r, size = utf8.DecodeRuneInString(string(s[i:min(i+utf8.UTFMax, len(s))])); r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
		}
		dst = append(dst, s[start:i]...)
		dst = appendEscape(dst, c)
		i += size
		start = i
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

// appendEscape writes a byte that cannot stand in a string as it is.
func appendEscape(dst []byte, c byte) []byte {
	switch {
	case c == '"', c == '\\':
		return append(dst, '\\', c)
	case c == '\n':
		return append(dst, '\\', 'n')
	case c == '\r':
		return append(dst, '\\', 'r')
	case c == '\t':
		return append(dst, '\\', 't')
	case c < ' ':
		return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
	default:
		return utf8.AppendRune(dst, utf8.RuneError)
	}
}
