package wxclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

const (
	pathHistory = "/negotiation-historys" // the API's own spelling

	// MaxHistoryLimit is the most entries that the API puts on a page.
	MaxHistoryLimit = 300

	// maxHistoryBytes is the most that is read of a page: entries may have long messages.
	maxHistoryBytes = 8 << 20

	// tooMuch is in the message with which the API refuses a page that would be too large. It has no
	// code of its own for that.
	tooMuch = "数据量过大"
)

// ErrTooMuch is the cause of an [Error] where a page of the history is larger than the API sends, or
// than is read here: one with a lower limit may be had.
var ErrTooMuch = errors.New("this page of the history is too large, ask for fewer entries")

// OperateMerchantResponse is the operate_type of a merchant's reply.
const OperateMerchantResponse = "MERCHANT_RESPONSE"

// HistoryEntry is one entry of a complaint's negotiation history (xieshang lishi), as the API has it. It
// may hold personal data of the user. Texts are as they came: not printable by themselves.
type HistoryEntry struct {
	LogID          string
	Operator       string
	OperateTime    string // RFC 3339
	OperateType    string // such as OperateMerchantResponse; the set is the API's
	OperateDetails string
	Images         []string        // image_list
	Media          json.RawMessage // complaint_media_list, nil where there is none
	NormalMessage  json.RawMessage // normal_message, of an immediate service reply; nil where there is none
	ClickMessage   json.RawMessage // click_message, nil where there is none
}

// HistoryPage is a page of a complaint's negotiation history, in the API's order.
type HistoryPage struct {
	Entries []HistoryEntry
	Total   int // entries of the whole history, now
}

// History asks for the entries of a complaint's negotiation history from offset on, at most limit, which
// is 1 to [MaxHistoryLimit].
//
//	GET {host}/v3/merchant-service/complaints-v2/{complaint_id}/negotiation-historys?limit=&offset=
//
// Errors are as those of [Client.Reply]; a page that is too large has [ErrTooMuch] as its cause. The
// call changes nothing, so it may be repeated after every error. net/http may send it twice by itself,
// where a connection turns out to be dead.
func (c *Client) History(
	ctx context.Context, host Host, m *Merchant, complaintID string, limit, offset int,
) (HistoryPage, error) {
	if fault := c.ready(ctx, host, m); fault != nil {
		return HistoryPage{}, fault
	}
	err := checkComplaintID(complaintID)
	if err == nil && (limit < 1 || limit > MaxHistoryLimit || offset < 0) {
		err = fmt.Errorf("limit %d and offset %d: must be 1 to %d, and not negative", limit, offset, MaxHistoryLimit)
	}
	if err != nil {
		return HistoryPage{}, &Error{Class: ClassRefused, Host: host, Err: err}
	}
	got, fault := c.exchange(ctx, host, m, outgoing{
		method: http.MethodGet, path: complaintPath(complaintID, pathHistory),
		query:     "limit=" + strconv.Itoa(limit) + "&offset=" + strconv.Itoa(offset),
		maxAnswer: maxHistoryBytes,
	})
	if fault != nil {
		return HistoryPage{}, asTooMuch(fault)
	}
	page, err := parseHistory(got.body, limit)
	if err != nil {
		return HistoryPage{}, got.noSuccess(host, err)
	}
	return page, nil
}

// asTooMuch marks the errors of a page that is too large.
func asTooMuch(e *Error) *Error {
	_, ours := errors.AsType[*tooLargeError](e.Err)
	theirs := e.Status == http.StatusBadRequest && strings.Contains(e.Message, tooMuch)
	switch {
	case ours:
		e.Err = fmt.Errorf("%w (%w)", ErrTooMuch, e.Err)
	case theirs:
		e.Err = ErrTooMuch
	}
	return e
}

// parseHistory reads a verified page. Members that it does not know are passed over.
func parseHistory(body []byte, limit int) (HistoryPage, error) {
	fields, err := parseFields(body)
	if err != nil {
		return HistoryPage{}, err
	}
	var page HistoryPage
	var entries []map[string]json.RawMessage
	if json.Unmarshal(fields["data"], &entries) != nil && !isAbsent(fields["data"]) {
		return HistoryPage{}, errors.New("answer's data is no list of entries")
	}
	if len(entries) > limit {
		return HistoryPage{}, fmt.Errorf("answer has %d entries, %d were asked for", len(entries), limit)
	}
	if json.Unmarshal(fields["total_count"], &page.Total) != nil || page.Total < 0 {
		return HistoryPage{}, errors.New("answer has no total_count")
	}
	for _, e := range entries {
		entry, err := parseHistoryEntry(e)
		if err != nil {
			return HistoryPage{}, err
		}
		page.Entries = append(page.Entries, entry)
	}
	return page, nil
}

func parseHistoryEntry(fields map[string]json.RawMessage) (HistoryEntry, error) {
	var e HistoryEntry
	for _, f := range [...]struct {
		name string
		into *string
	}{
		{"log_id", &e.LogID},
		{"operator", &e.Operator},
		{"operate_time", &e.OperateTime},
		{"operate_type", &e.OperateType},
		{"operate_details", &e.OperateDetails},
	} {
		raw := fields[f.name]
		var ok bool
		if *f.into, ok = text(raw); !ok && !isAbsent(raw) {
			return HistoryEntry{}, fmt.Errorf("answer has an entry whose %s is no string", f.name)
		}
	}
	if !isPlain(e.LogID, maxLogIDChars) {
		return HistoryEntry{}, errors.New("answer has an entry without a log_id")
	}
	if raw := fields["image_list"]; json.Unmarshal(raw, &e.Images) != nil && !isAbsent(raw) {
		return HistoryEntry{}, errors.New("answer has an entry whose image_list is no list of strings")
	}
	for name, into := range map[string]*json.RawMessage{
		"complaint_media_list": &e.Media, "normal_message": &e.NormalMessage, "click_message": &e.ClickMessage,
	} {
		if raw := fields[name]; !isAbsent(raw) {
			*into = raw
		}
	}
	return e, nil
}

func isAbsent(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }
