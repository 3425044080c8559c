package wxclient

import (
	"context"
	"errors"
	"fmt"
	"net/http"
)

const pathReply = "/response-immediate-service"

// Answer is a reply that the API took: its signature is verified and it has a log_id.
type Answer struct {
	LogID      string
	RequestID  string // the Request-ID header; empty where there was none
	HTTPStatus int
}

// Reply sends body, byte for byte, as the merchant's reply to the complaint, in exactly one request
// with a fresh timestamp and nonce, and waits for the answer.
//
// Every error is an [*Error]. Faults that show before anything is sent have no Status and are not
// Sent: a merchant that cannot sign is [ClassCredentials], a complaint id or body that cannot be sent
// is [ClassRefused], a host that is not configured is [ClassHostFailed].
//
// Body must not be changed any more, not even after Reply has returned: of a call that timed out, the
// connection may still be reading it.
func (c *Client) Reply(ctx context.Context, host Host, m *Merchant, complaintID string, body []byte) (Answer, error) {
	if fault := c.ready(ctx, host, m); fault != nil {
		return Answer{}, fault
	}
	if err := checkReply(complaintID, body); err != nil {
		return Answer{}, &Error{Class: ClassRefused, Host: host, Err: err}
	}
	got, fault := c.exchange(ctx, host, m, outgoing{
		method: http.MethodPost, path: complaintPath(complaintID, pathReply), contentType: jsonType,
		signed: body, body: body, maxAnswer: maxBodyBytes,
	})
	if fault != nil {
		return Answer{}, fault
	}
	logID, err := parseLogID(got.body)
	if err != nil {
		return Answer{}, got.noSuccess(host, err)
	}
	return Answer{LogID: logID, RequestID: requestID(got.header), HTTPStatus: got.status}, nil
}

// checkReply refuses what job validation should not have let through.
func checkReply(complaintID string, body []byte) error {
	if err := checkComplaintID(complaintID); err != nil {
		return err
	}
	if len(body) == 0 {
		return errors.New("empty body")
	}
	return nil
}

// checkComplaintID refuses what cannot stand in the path.
func checkComplaintID(id string) error {
	switch {
	case id == "" || id == "." || id == "..":
		return fmt.Errorf("complaint id %q cannot be a path segment", id)
	case len(id) > maxComplaintIDBytes:
		return fmt.Errorf("complaint id of %d bytes, limit %d", len(id), maxComplaintIDBytes)
	}
	return nil
}
