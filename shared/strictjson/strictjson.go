// Package strictjson walks JSON that strangers sent, without allocating a tree
// and without forgiving anything.
//
// # What is accepted
//
// Exactly one value as RFC 8259 defines it, in UTF-8, with white space around
// it. Refused are, among all else that the RFC refuses: trailing data, a byte
// order mark, raw bytes that are not UTF-8 (overlong forms and encoded
// surrogates included), unescaped control characters, a \u escape that names
// one half of a surrogate pair only, and more nesting than the caller allows.
// Values are handed out as the bytes that were sent, so a number never loses a
// digit: 1e400 is a number. Duplicate names are the caller's to judge.
//
// # Usage
//
// [Object] and [Array] hand out the members of the outermost value. [Reader] is
// what they are made of, for callers that read nested values in the same pass.
//
// # Cost
//
// One pass over the bytes; nothing is allocated unless a name or a string
// holds an escape. The first fault ends the walk, so a document nested ten
// thousand levels deep costs no more than the levels that are allowed.
//
// # Concurrency
//
// Functions keep nothing. A Reader belongs to one goroutine.
package strictjson

import "strconv"

// Error says what is wrong with a document, and where. It never quotes the document.
type Error struct {
	Offset int    // bytes from the start of the document
	Reason string // for a person: "nesting over 32 levels"
}

func (e *Error) Error() string {
	return e.Reason + " at byte " + strconv.Itoa(e.Offset)
}

// Valid reports whether data is exactly one well-formed value whose nesting does
// not exceed maxDepth levels (the outermost object or array is level 1). Its
// errors are of type *Error.
func Valid(data []byte, maxDepth int) error {
	r := NewReader(data, maxDepth)
	if err := r.skip(); err != nil {
		return err
	}
	return r.End()
}

// Object validates data, which must be exactly one JSON object, in a single pass, and hands each
// of its members to member: the decoded name and the raw, validated value, both
// aliasing data where possible and valid until it changes. Names are matched as sent (case-sensitive),
// with escapes decoded: "user\u005fid" is user_id. An error of
// member stops the walk and is returned as it is; all others are of type *Error, and they can come
// after members were handed out. Duplicate names are the caller's to judge.
func Object(data []byte, maxDepth int, member func(name, value []byte) error) error {
	r := NewReader(data, maxDepth)
	if err := r.Open('{'); err != nil {
		return err
	}
	for {
		name, ok, err := r.Member()
		if err != nil {
			return err
		}
		if !ok {
			return r.End()
		}
		value, err := r.Value()
		if err != nil {
			return err
		}
		if err := member(name, value); err != nil {
			return err
		}
	}
}

// Array is Object's counterpart for arrays.
func Array(data []byte, maxDepth int, element func(value []byte) error) error {
	r := NewReader(data, maxDepth)
	if err := r.Open('['); err != nil {
		return err
	}
	for {
		ok, err := r.Element()
		if err != nil {
			return err
		}
		if !ok {
			return r.End()
		}
		value, err := r.Value()
		if err != nil {
			return err
		}
		if err := element(value); err != nil {
			return err
		}
	}
}
