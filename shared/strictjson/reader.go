package strictjson

import "strconv"

// Reader pulls a document apart from front to back, validating as it goes. The
// order of calls follows the document: Open, then Member (or Element) and for
// each of them either Value or, to walk into it, Open again; Member (or
// Element) closes a container when it answers false; End comes last. A document
// is valid only once End said so. After an error a Reader is of no more use.
type Reader struct {
	data   []byte
	pos    int
	depth  int  // containers open now
	max    int  // containers that may be open at once
	first  bool // the innermost container was opened and nothing of it read
	spaced bool // white space was skipped
}

// NewReader reads data, in which no more than maxDepth containers may be nested.
func NewReader(data []byte, maxDepth int) Reader {
	return Reader{data: data, max: maxDepth}
}

// Open enters the next value, which must be an object (kind '{') or an array (kind '[').
func (r *Reader) Open(kind byte) error {
	if r.peek() != kind {
		if kind == '{' {
			return r.fail("want an object")
		}
		return r.fail("want an array")
	}
	if r.depth >= r.max {
		return r.fail("nesting over " + strconv.Itoa(r.max) + " levels")
	}
	r.pos++
	r.depth++
	r.first = true
	return nil
}

// Member reads the next name of the innermost object, with its escapes decoded; it
// aliases the document when it has none. At the end of the object ok is false.
func (r *Reader) Member() (name []byte, ok bool, err error) {
	if ok, err = r.next('}'); !ok {
		return nil, false, err
	}
	start := r.pos + 1
	escaped, err := r.name()
	if err != nil {
		return nil, false, err
	}
	name = r.data[start : r.pos-1 : r.pos-1]
	if escaped {
		name, _ = unescape(name)
	}
	return name, true, r.colon()
}

// Element reports whether the innermost array holds another element.
func (r *Reader) Element() (ok bool, err error) { return r.next(']') }

// Value validates the next value, whatever it is, and hands out its bytes, which alias
// the document.
func (r *Reader) Value() ([]byte, error) {
	r.space()
	start := r.pos
	if err := r.skip(); err != nil {
		return nil, err
	}
	return r.data[start:r.pos:r.pos], nil
}

// End reports an error if anything but white space follows what was read.
func (r *Reader) End() error {
	r.space()
	if r.pos < len(r.data) {
		return r.fail("trailing data after the value")
	}
	return nil
}

// Compact reports whether no white space was met so far, except inside strings.
func (r *Reader) Compact() bool { return !r.spaced }

// next finds out whether the innermost container goes on, and closes it if not.
func (r *Reader) next(closing byte) (bool, error) {
	c := r.peek()
	if c == closing {
		r.pos++
		r.depth--
		r.first = false
		return false, nil
	}
	if r.first {
		r.first = false
		return true, nil
	}
	if c != ',' {
		return false, r.fail("want a comma or a closing bracket")
	}
	r.pos++
	r.space() // Member needs to know where the name begins
	return true, nil
}

func (r *Reader) name() (escaped bool, err error) {
	if r.peek() != '"' {
		return false, r.fail("want a name in quotes")
	}
	return r.string()
}

func (r *Reader) colon() error {
	if r.peek() != ':' {
		return r.fail("want a colon after the name")
	}
	r.pos++
	return nil
}

// skip validates one value. It recurses at most max levels deep.
func (r *Reader) skip() error {
	switch c := r.peek(); c {
	case '"':
		_, err := r.string()
		return err
	case '{':
		return r.skipObject()
	case '[':
		return r.skipArray()
	case 't':
		return r.literal("true")
	case 'f':
		return r.literal("false")
	case 'n':
		return r.literal("null")
	default:
		if c == '-' || isDigit(c) {
			return r.number()
		}
		return r.fail("want a value")
	}
}

func (r *Reader) skipObject() error {
	if err := r.Open('{'); err != nil {
		return err
	}
	for {
		if ok, err := r.next('}'); !ok {
			return err
		}
		if _, err := r.name(); err != nil {
			return err
		}
		if err := r.colon(); err != nil {
			return err
		}
		if err := r.skip(); err != nil {
			return err
		}
	}
}

func (r *Reader) skipArray() error {
	if err := r.Open('['); err != nil {
		return err
	}
	for {
		if ok, err := r.next(']'); !ok {
			return err
		}
		if err := r.skip(); err != nil {
			return err
		}
	}
}

// peek skips white space and returns the byte after it, 0 at the end of the document.
// (A NUL in the document is no valid byte outside strings either.)
func (r *Reader) peek() byte {
	if r.pos < len(r.data) && r.data[r.pos] > ' ' {
		return r.data[r.pos]
	}
	r.space()
	if r.pos < len(r.data) {
		return r.data[r.pos]
	}
	return 0
}

func (r *Reader) space() {
	for r.pos < len(r.data) && isSpace(r.data[r.pos]) {
		r.pos++
		r.spaced = true
	}
}

// fail makes the error for the byte at the current position.
func (r *Reader) fail(reason string) error {
	if r.pos >= len(r.data) {
		reason = "unexpected end: " + reason
	}
	return &Error{Offset: r.pos, Reason: reason}
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
