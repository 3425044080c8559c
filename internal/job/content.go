package job

import (
	"bytes"
	"crypto/sha256"
	"slices"
	"strconv"
)

// content returns the hash of three JSON values that the walk has found valid.
func content(complaintID, complaintedMchID, message []byte) [32]byte {
	c := canonicalizer{
		out:     make([]byte, 0, len(complaintID)+len(complaintedMchID)+len(message)+len("[,,]")),
		members: make([]segment, 0, 16),
	}
	for i, value := range [][]byte{complaintID, complaintedMchID, message} {
		c.out = append(c.out, "[,,"[i])
		c.in, c.pos = value, 0
		c.value()
	}
	return sha256.Sum256(append(c.out, ']'))
}

// canonicalizer writes JSON that was found valid in the form that [Job.ContentSHA256] describes.
type canonicalizer struct {
	in      []byte
	pos     int
	out     []byte
	members []segment // of the objects that are open, the innermost last
	scratch []byte
}

// segment is where a member lies in out, with the comma or brace that follows it.
type segment struct {
	start, nameEnd, end int
}

// value writes the value at hand. There is no null: the walk refuses it everywhere.
func (c *canonicalizer) value() {
	c.space()
	switch c.in[c.pos] {
	case '{':
		c.object()
	case '[':
		c.array()
	case '"':
		c.text()
	case 't':
		c.word("true")
	case 'f':
		c.word("false")
	default:
		end, _ := scanNumber(c.in, c.pos)
		c.out = appendCanonicalNumber(c.out, c.in[c.pos:end])
		c.pos = end
	}
}

// object writes the members as they come, each with a comma behind it, and then puts them in order.
func (c *canonicalizer) object() {
	c.pos++
	c.out = append(c.out, '{')
	start, base := len(c.out), len(c.members)
	for c.item('}') {
		s := segment{start: len(c.out)}
		c.text()
		s.nameEnd = len(c.out)
		c.space()
		c.pos++ // the colon
		c.out = append(c.out, ':')
		c.value()
		c.out = append(c.out, ',')
		s.end = len(c.out)
		c.members = append(c.members, s)
	}
	c.sort(start, c.members[base:])
	c.members = c.members[:base]
	c.close(start, '}')
}

// sort orders the members that lie in out from start on.
func (c *canonicalizer) sort(start int, members []segment) {
	byName := func(a, b segment) int {
		return bytes.Compare(c.out[a.start+1:a.nameEnd-1], c.out[b.start+1:b.nameEnd-1])
	}
	if slices.IsSortedFunc(members, byName) {
		return
	}
	slices.SortFunc(members, byName)
	c.scratch = slices.Grow(c.scratch[:0], len(c.out)-start)
	for _, m := range members {
		c.scratch = append(c.scratch, c.out[m.start:m.end]...)
	}
	copy(c.out[start:], c.scratch)
}

func (c *canonicalizer) array() {
	c.pos++
	c.out = append(c.out, '[')
	start := len(c.out)
	for c.item(']') {
		c.value()
		c.out = append(c.out, ',')
	}
	c.close(start, ']')
}

// close ends a list whose items begin at start: the last comma gives way to end.
func (c *canonicalizer) close(start int, end byte) {
	if len(c.out) > start {
		c.out = c.out[:len(c.out)-1]
	}
	c.out = append(c.out, end)
}

// item steps to the next item of the list that is open, and over its end where there is none.
func (c *canonicalizer) item(end byte) bool {
	for {
		c.space()
		switch c.in[c.pos] {
		case ',':
			c.pos++
		case end:
			c.pos++
			return false
		default:
			return true
		}
	}
}

func (c *canonicalizer) space() {
	for {
		switch c.in[c.pos] {
		case ' ', '\t', '\n', '\r':
			c.pos++
		default:
			return
		}
	}
}

func (c *canonicalizer) word(s string) {
	c.out = append(c.out, s...)
	c.pos += len(s)
}

// text writes a string. One without escapes is canonical as it is: control characters cannot stand
// in it.
func (c *canonicalizer) text() {
	t, _, _ := scanText(c.in, c.pos)
	c.pos = t.end + 1
	if !t.escaped {
		c.out = append(c.out, c.in[t.start-1:t.end+1]...)
		return
	}
	c.out = appendCanonicalString(c.out, string(unquote(c.in[t.start:t.end], true)))
}

// appendCanonicalString appends s as RFC 8785 writes it: only what must be escaped is, as shortly as
// possible.
func appendCanonicalString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := range len(s) {
		switch ch := s[i]; ch {
		case '"', '\\':
			b = append(b, '\\', ch)
		case '\b':
			b = append(b, '\\', 'b')
		case '\f':
			b = append(b, '\\', 'f')
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			if ch < ' ' {
				b = append(b, '\\', 'u', '0', '0', hex[ch>>4], hex[ch&15])
				continue
			}
			b = append(b, ch)
		}
	}
	return append(b, '"')
}

// appendCanonicalNumber appends a number as its digits without zeros at either end, and a decimal
// exponent where it is not zero: 1500 and 1.5e3 are 15e2. The value is never computed, so that
// 1e999999999 costs as little as 1.
func appendCanonicalNumber(b, n []byte) []byte {
	negative := n[0] == '-'
	if negative {
		n = n[1:]
	}
	var exponent []byte
	if i := bytes.IndexAny(n, "eE"); i >= 0 {
		n, exponent = n[:i], n[i+1:]
	}
	whole, fraction, _ := bytes.Cut(n, []byte{'.'})
	digits := slices.Concat(whole, fraction)
	significant := bytes.TrimRight(digits, "0")
	shift := len(digits) - len(significant) - len(fraction)
	significant = bytes.TrimLeft(significant, "0")
	if len(significant) == 0 {
		return append(b, '0') // minus zero too: the two are equal
	}
	if negative {
		b = append(b, '-')
	}
	b = append(b, significant...)
	return appendExponent(b, exponent, int64(shift))
}

// appendExponent appends the exponent as written plus shift, unless that is zero.
func appendExponent(b, exponent []byte, shift int64) []byte {
	negative := len(exponent) > 0 && exponent[0] == '-'
	exponent = bytes.TrimLeft(bytes.TrimLeft(exponent, "+-"), "0")
	if len(exponent) > 18 {
		return appendLongExponent(b, exponent, negative, shift)
	}
	sum := int64(0)
	for _, c := range exponent {
		sum = sum*10 + int64(c-'0')
	}
	if negative {
		sum = -sum
	}
	if sum += shift; sum == 0 {
		return b
	}
	return strconv.AppendInt(append(b, 'e'), sum, 10)
}

// appendLongExponent appends an exponent that may not fit into an integer, plus shift. Shift is far
// smaller, so that the sign stays and the sum is a matter of the last digits and a carry.
func appendLongExponent(b, exponent []byte, negative bool, shift int64) []byte {
	b = append(b, 'e')
	if negative {
		b = append(b, '-')
		shift = -shift
	}
	sum := slices.Clone(exponent)
	for i := len(sum) - 1; i >= 0 && shift != 0; i-- {
		digit := int64(sum[i]-'0') + shift
		shift = digit / 10
		if digit %= 10; digit < 0 {
			digit += 10
			shift--
		}
		sum[i] = '0' + byte(digit) //nolint:gosec // 0 to 9.
	}
	if shift > 0 {
		b = strconv.AppendInt(b, shift, 10)
	} else {
		sum = bytes.TrimLeft(sum, "0")
	}
	return append(b, sum...)
}
