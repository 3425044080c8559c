package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"unicode/utf8"
)

// plainMembers are the members of a message whose strings say nothing of what is said: enumerations,
// ids and times.
var plainMembers = []string{
	"type", "color", "image_style_type", "action_type", "button_layout", "sender_identity",
	"media_id", "faq_id", "action_id", "appid", "expired_time",
}

// maskMessage returns a job with the strings of its message masked, and everything else, the order of
// its members too, as it is. A value that is no JSON object is masked as a whole.
func maskMessage(value []byte) json.RawMessage {
	var out bytes.Buffer
	m := masker{in: json.NewDecoder(bytes.NewReader(value)), out: &out}
	m.in.UseNumber()
	if !bytes.HasPrefix(bytes.TrimLeft(value, jsonWhite), []byte("{")) || !json.Valid(value) || m.value("", false) != nil {
		masked, _ := json.Marshal(fmt.Sprintf("(%d bytes, not JSON)", len(value))) // a string always can be
		return masked
	}
	return out.Bytes()
}

// masker copies JSON, token by token.
type masker struct {
	in  *json.Decoder
	out *bytes.Buffer
}

// value copies one value. member is the name under which it stands, and inside says that it is in the
// message.
func (m *masker) value(member string, inside bool) error {
	token, err := m.in.Token()
	if err != nil {
		return err //nolint:wrapcheck // only whether there is one matters
	}
	switch t := token.(type) {
	case json.Delim:
		return m.group(t, member, inside)
	case string:
		if inside && !slices.Contains(plainMembers, member) {
			t = fmt.Sprintf("(%d characters)", utf8.RuneCountInString(t))
		}
		return m.write(t)
	default:
		return m.write(t)
	}
}

// group copies an object or an array whose beginning has been read.
func (m *masker) group(begin json.Delim, member string, inside bool) error {
	m.out.WriteString(begin.String())
	for first := true; m.in.More(); first = false {
		if !first {
			m.out.WriteByte(',')
		}
		name := member
		if begin == '{' {
			token, err := m.in.Token()
			if err != nil {
				return err //nolint:wrapcheck // as above
			}
			name, _ = token.(string)
			if err := m.write(name); err != nil {
				return err
			}
			m.out.WriteByte(':')
		}
		if err := m.value(name, inside || name == "message"); err != nil {
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

func (m *masker) write(v any) error {
	text, err := json.Marshal(v)
	m.out.Write(text)
	return err //nolint:wrapcheck // what came from JSON can be JSON
}
