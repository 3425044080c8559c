package export

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"replyworker/internal/outcome"
)

// NDJSON writes each outcome on a line, as it stands in the topic, with its ce_id as a first member.
type NDJSON struct {
	to   *bufio.Writer
	line bytes.Buffer
}

// NewNDJSON makes an NDJSON.
func NewNDJSON(to io.Writer) *NDJSON {
	return &NDJSON{to: bufio.NewWriterSize(to, bufferBytes)}
}

// Write writes an outcome.
func (n *NDJSON) Write(r *outcome.Record) error {
	n.line.Reset()
	if err := compact(&n.line, r); err != nil {
		return err
	}
	n.line.WriteByte('\n')
	if _, err := n.to.Write(n.line.Bytes()); err != nil {
		return fmt.Errorf("write NDJSON: %w", err)
	}
	return nil
}

func compact(line *bytes.Buffer, r *outcome.Record) error {
	var own struct {
		ID json.RawMessage `json:"ce_id"`
	}
	if err := json.Unmarshal(r.Value, &own); err != nil {
		return fmt.Errorf("outcome %s: %w", r.ID, err)
	}
	var body bytes.Buffer
	if err := json.Compact(&body, r.Value); err != nil { // it has no line break within then
		return fmt.Errorf("outcome %s: %w", r.ID, err)
	}
	if own.ID != nil { // a later version's; there are no two of one name
		line.Write(body.Bytes())
		return nil
	}
	id := json.NewEncoder(line)
	id.SetEscapeHTML(false)
	line.WriteString(`{"ce_id":`)
	if err := id.Encode(r.ID); err != nil {
		return fmt.Errorf("outcome %s: %w", r.ID, err)
	}
	line.Truncate(line.Len() - 1) // the encoder's line break
	line.WriteByte(',')
	line.Write(body.Bytes()[1:]) // it is an object of some members, or it would not have been read
	return nil
}

// Close writes what is left.
func (n *NDJSON) Close() error {
	if err := n.to.Flush(); err != nil {
		return fmt.Errorf("write NDJSON: %w", err)
	}
	return nil
}
