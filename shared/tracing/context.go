package tracing

import (
	"encoding/hex"
	"log/slog"
)

// Header is where a caller's trace comes in, as net/http spells it.
const Header = "Traceparent"

// ResponseHeader tells the caller which trace a request belongs to (W3C Trace Context, draft of the response header).
const ResponseHeader = "Traceresponse"

// Flags that are known; others are not passed on.
const (
	Sampled = 1 << 0 // the caller keeps its spans of this trace, and so shall we
	Random  = 1 << 1 // the right half of the trace id is random (Level 2)
)

// Context says to which trace something belongs, and which span it comes from. The zero value is no trace.
type Context struct {
	Trace [16]byte
	Span  [8]byte
	Flags byte
}

// Valid reports whether there is a trace.
func (c Context) Valid() bool { return c.Trace != [16]byte{} && c.Span != [8]byte{} }

// Sampled reports whether spans of this trace are kept.
func (c Context) Sampled() bool { return c.Flags&Sampled != 0 }

// ID is the trace's id in hexadecimal, empty without a trace.
func (c Context) ID() string {
	if !c.Valid() {
		return ""
	}
	return hex.EncodeToString(c.Trace[:])
}

// Attrs is attrs with the trace's id behind them, as a line of the log has it; attrs alone without a trace.
func (c Context) Attrs(attrs ...any) []any {
	if !c.Valid() {
		return attrs
	}
	return append(attrs, slog.String("trace_id", c.ID()))
}

// Positions in a traceparent of version 00: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.
const (
	traceAt   = 3
	spanAt    = traceAt + 32 + 1
	flagsAt   = spanAt + 16 + 1
	headerLen = flagsAt + 2
)

// Parse reads a traceparent (W3C Trace Context, Levels 1 and 2). Of a version that is newer than 00 it takes what 00 has, as the rule is. What is
// malformed is no trace: a caller's broken tracing is no reason to refuse what they ask for. It allocates nothing.
func Parse[T string | []byte](s T) (c Context, ok bool) {
	if len(s) < headerLen || s[2] != '-' || s[spanAt-1] != '-' || s[flagsAt-1] != '-' {
		return Context{}, false
	}
	var version, flags [1]byte
	if !unhex(version[:], s[:2]) || version[0] == 0xff || !unhex(flags[:], s[flagsAt:headerLen]) {
		return Context{}, false
	}
	if len(s) > headerLen && (version[0] == 0 || s[headerLen] != '-') {
		return Context{}, false
	}
	if !unhex(c.Trace[:], s[traceAt:spanAt-1]) || !unhex(c.Span[:], s[spanAt:flagsAt-1]) || !c.Valid() {
		return Context{}, false
	}
	c.Flags = flags[0] & (Sampled | Random)
	return c, true
}

// AppendTo appends the traceparent, of version 00; nothing without a trace.
func (c Context) AppendTo(dst []byte) []byte {
	if !c.Valid() {
		return dst
	}
	dst = hex.AppendEncode(append(dst, "00-"...), c.Trace[:])
	dst = hex.AppendEncode(append(dst, '-'), c.Span[:])
	return hex.AppendEncode(append(dst, '-'), []byte{c.Flags})
}

// String is the traceparent.
func (c Context) String() string {
	var room [headerLen]byte
	return string(c.AppendTo(room[:0]))
}

// unhex decodes src, which is twice as long as dst. Only lower-case digits are hexadecimal here.
func unhex[T string | []byte](dst []byte, src T) bool {
	bad := byte(0)
	for i := range dst {
		high, low := digits[src[2*i]], digits[src[2*i+1]]
		bad |= high | low
		dst[i] = high<<4 | low&15
	}
	return bad < 16
}

// digits are the values of digits; what is over 15 is none.
var digits = func() (d [256]byte) {
	for i := range d {
		d[i] = 0xff
	}
	for i, c := range []byte("0123456789abcdef") {
		d[c] = byte(i)
	}
	return d
}()
