package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// openMembers are the members of a job that are no part of what is said. A member that is none of them,
// as of a job that is not valid, is masked like the message: the text of a reply may stand in it.
var openMembers = []string{"complaint_id", "complainted_mchid", "idempotent_id", "mchid", "expires_at", "labels"}

// plainMembers are the members of a message whose strings say nothing of what is said: enumerations,
// ids and times.
var plainMembers = []string{
	"type", "color", "image_style_type", "action_type", "button_layout", "sender_identity",
	"media_id", "faq_id", "action_id", "appid", "expired_time",
}

// maxWordLength is the most characters of a string or a name that is shown within a message.
const maxWordLength = 128

// maskMessage returns a job with the texts of its message masked, and everything else, the order of
// its members too, as it is. A value that is no JSON object is masked as a whole.
func maskMessage(value []byte) json.RawMessage {
	if !bytes.HasPrefix(bytes.TrimLeft(value, jsonWhite), []byte("{")) {
		return maskedWhole(value)
	}
	return mask(value, (*masker).job)
}

// maskStrings returns a message, or a part of one, with its texts masked as maskMessage does.
func maskStrings(value []byte) json.RawMessage {
	return mask(value, func(m *masker) error { return m.value(showNothing) })
}

func mask(value []byte, copyMasked func(*masker) error) json.RawMessage {
	var out bytes.Buffer
	m := masker{in: json.NewDecoder(bytes.NewReader(value)), out: &out}
	m.in.UseNumber()
	if !json.Valid(value) || copyMasked(&m) != nil {
		return maskedWhole(value)
	}
	return out.Bytes()
}

func maskedWhole(value []byte) json.RawMessage {
	masked, _ := json.Marshal(fmt.Sprintf("(%d bytes, not JSON)", len(value))) //nolint:errchkjson // a string always can be
	return masked
}

// masker copies JSON, token by token.
type masker struct {
	in  *json.Decoder
	out *bytes.Buffer
}

// show is how much of a value is shown: all of it, or of its strings those that are ids and the like,
// or none of them.
type show int

const (
	showAll show = iota
	showWords
	showNothing
)

// job copies the object that is the whole value.
func (m *masker) job() error {
	begin, err := m.in.Token()
	if err != nil {
		return err //nolint:wrapcheck // only whether there is one matters
	}
	return m.group(begin.(json.Delim), func(name string) show { //nolint:forcetypeassert // the value begins with a brace
		if slices.Contains(openMembers, name) {
			return showAll
		}
		return showNothing
	}, showNothing)
}

// value copies one value.
func (m *masker) value(how show) error {
	token, err := m.in.Token()
	if err != nil {
		return err //nolint:wrapcheck // as above
	}
	switch t := token.(type) {
	case json.Delim:
		return m.group(t, func(name string) show {
			switch {
			case how == showAll:
				return showAll
			case slices.Contains(plainMembers, name):
				return showWords
			}
			return showNothing
		}, how)
	case string:
		if how == showAll || how == showWords && isWord(t) {
			return m.write(t)
		}
		return m.write(characters(t))
	case json.Number:
		if how == showAll {
			return m.write(t)
		}
		return m.write("(a number)") // no message has any: it may be somebody's
	default: // true, false, null
		return m.write(t)
	}
}

// group copies an object or an array whose beginning has been read. members says how much is shown of
// an object's members, by their names, and elements how much of what an array has.
func (m *masker) group(begin json.Delim, members func(name string) show, elements show) error {
	m.out.WriteString(begin.String())
	for first := true; m.in.More(); first = false {
		if !first {
			m.out.WriteByte(',')
		}
		how := elements
		if begin == '{' {
			token, err := m.in.Token()
			if err != nil {
				return err //nolint:wrapcheck // as above
			}
			name, _ := token.(string)
			how = members(name)
			if how != showAll && !isWord(name) {
				name = characters(name)
			}
			if err := m.write(name); err != nil {
				return err
			}
			m.out.WriteByte(':')
		}
		if err := m.value(how); err != nil {
			return err
		}
	}
	end, err := m.in.Token()
	if err != nil {
		return err //nolint:wrapcheck // as above
	}
	_, err = fmt.Fprint(m.out, end)
	return err //nolint:wrapcheck // a buffer takes everything
}

func characters(text string) string {
	return fmt.Sprintf("(%d characters)", utf8.RuneCountInString(text))
}

// isWord says that a text may be an enumeration, an id, a time or the name of a member, and is no sentence
// and no address.
func isWord(text string) bool {
	return len(text) <= maxWordLength && !strings.Contains(text, "//") && !strings.ContainsFunc(text, func(r rune) bool {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		return !letter && !strings.ContainsRune("_-.:+/=", r)
	})
}

// write writes a value. <, > and & stay as they are.
func (m *masker) write(v any) error {
	encoder := json.NewEncoder(m.out)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(v)
	m.out.Truncate(m.out.Len() - 1) // its line break
	return err                      //nolint:wrapcheck // what came from JSON can be JSON
}
