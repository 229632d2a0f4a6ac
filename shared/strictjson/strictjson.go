// Package strictjson walks JSON that strangers sent, without allocating a tree
// and without forgiving anything: one value, no trailing data, valid UTF-8, no
// lone surrogates, bounded nesting. Values are handed out as the bytes that were
// sent, so a number never loses a digit.
package strictjson

// Error says what is wrong with a document, and where.
type Error struct {
	Offset int    // bytes from the start of the document
	Reason string // for a person: "nesting over 32 levels"
}

func (e *Error) Error() string { panic("skeleton") }

// Valid reports whether data is exactly one well-formed value whose nesting does
// not exceed maxDepth levels (the outermost object or array is level 1).
func Valid(data []byte, maxDepth int) error { panic("skeleton") }

// Object validates data, which must be exactly one JSON object, in a single pass, and hands each
// of its members to member: the decoded name and the raw, validated value, both
// aliasing data where possible and valid until it changes. Names are matched as sent (case-sensitive). An error of
// member stops the walk and is returned as it is. Duplicate names are the caller's to judge.
func Object(data []byte, maxDepth int, member func(name, value []byte) error) error {
	panic("skeleton")
}

// Array is Object's counterpart for arrays.
func Array(data []byte, maxDepth int, element func(value []byte) error) error {
	panic("skeleton")
}

// String decodes a JSON string value (with its quotes); ok is false if value is of another type.
// The result aliases value when it holds no escape.
func String(value []byte) (s []byte, ok bool) { panic("skeleton") }

// AppendCompact appends a valid value without insignificant white space.
func AppendCompact(dst, value []byte) []byte { panic("skeleton") }

// AppendString appends s as a quoted JSON string.
func AppendString[T ~string | ~[]byte](dst []byte, s T) []byte { panic("skeleton") }
