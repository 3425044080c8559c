package job

import (
	"unicode/utf16"
	"unicode/utf8"
)

// text is a string literal as the scanner saw it.
type text struct {
	start, end    int // of what stands between the quotes
	runes         int // code points; an invalid byte counts as one
	escaped       bool
	invalidUTF8   bool
	loneSurrogate bool
	astral        bool // has a character outside the Basic Multilingual Plane
}

// scanText reads the string literal whose opening quote is data[start]. Where it is broken, it
// returns what is wrong and where.
func scanText(data []byte, start int) (t text, fault string, at int) {
	t.start = start + 1
	for i := t.start; i < len(data); {
		switch c := data[i]; {
		case c == '"':
			t.end = i
			return t, "", 0
		case c == '\\':
			size := escapeSize(data[i:])
			if size == 0 {
				return t, "a broken escape in a string", i
			}
			t.escaped = true
			if size > 2 {
				size = t.addEscape(data[i:])
			}
			t.runes++
			i += size
		case c < ' ':
			return t, "a control character in a string, not escaped", i
		case c < utf8.RuneSelf:
			t.runes++
			i++
		default:
			r, size := utf8.DecodeRune(data[i:])
			t.invalidUTF8 = t.invalidUTF8 || r == utf8.RuneError && size == 1
			t.astral = t.astral || size == 4
			t.runes++
			i += size
		}
	}
	return t, "the end inside a string", len(data)
}

// addEscape notes what the \u escape at the head of b stands for, and returns its size: twelve for a
// pair of surrogates.
func (t *text) addEscape(b []byte) int {
	r, size := unescape(b)
	t.loneSurrogate = t.loneSurrogate || utf16.IsSurrogate(r)
	t.astral = t.astral || r > 0xffff
	return size
}

// escapeSize returns the length of the escape at the head of b, two or six, and zero where it is
// broken.
func escapeSize(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if len(b) < 6 {
			return 0
		}
		for _, c := range b[2:6] {
			if hexValue(c) < 0 {
				return 0
			}
		}
		return 6
	}
	return 0
}

// unescape returns what the escape at the head of b stands for, and its size. The escape is whole. A
// surrogate that has no partner is returned as it is.
func unescape(b []byte) (rune, int) {
	switch b[1] {
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'u':
		r := hexRune(b[2:6])
		if utf16.IsSurrogate(r) && len(b) >= 12 && b[6] == '\\' && b[7] == 'u' && escapeSize(b[6:]) == 6 {
			if pair := utf16.DecodeRune(r, hexRune(b[8:12])); pair != utf8.RuneError {
				return pair, 12
			}
		}
		return r, 6
	}
	return rune(b[1]), 2 // the quote, the backslash and the slash stand for themselves
}

func hexRune(b []byte) rune {
	r := rune(0)
	for _, c := range b {
		r = r<<4 | hexValue(c)
	}
	return r
}

func hexValue(c byte) rune {
	switch {
	case c >= '0' && c <= '9':
		return rune(c - '0')
	case c >= 'a' && c <= 'f':
		return rune(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return rune(c-'A') + 10
	}
	return -1
}

// unquote returns the value of a literal without its quotes. It is raw itself where nothing is
// escaped. Lone surrogates become U+FFFD; invalid UTF-8 stays as it is.
func unquote(raw []byte, escaped bool) []byte {
	if !escaped {
		return raw
	}
	value := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); {
		if raw[i] != '\\' {
			value = append(value, raw[i])
			i++
			continue
		}
		r, size := unescape(raw[i:])
		value = utf8.AppendRune(value, r)
		i += size
	}
	return value
}

// scanNumber returns where the number that begins at data[i] ends, or false where it is none.
func scanNumber(data []byte, i int) (end int, ok bool) {
	if i < len(data) && data[i] == '-' {
		i++
	}
	first := i
	if i = skipDigits(data, i); i == first || i > first+1 && data[first] == '0' {
		return i, false
	}
	if i < len(data) && data[i] == '.' {
		first = i + 1
		if i = skipDigits(data, first); i == first {
			return i, false
		}
	}
	if i < len(data) && data[i]|0x20 == 'e' {
		i++
		if i < len(data) && (data[i] == '+' || data[i] == '-') {
			i++
		}
		first = i
		if i = skipDigits(data, first); i == first {
			return i, false
		}
	}
	return i, true
}

func skipDigits(data []byte, i int) int {
	for i < len(data) && data[i] >= '0' && data[i] <= '9' {
		i++
	}
	return i
}
