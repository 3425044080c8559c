package signedcall

import (
	"bytes"
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

const (
	timeout        = 10 * time.Second // One call, from connecting to the last byte.
	idleTimeout    = 5 * time.Second  // Below the API's own 8 s.
	maxAnswerBytes = 1 << 20
	userAgent      = "replyworker-bench-peer"
	jsonType       = "application/json"
)

// Client calls the API. It is safe for concurrent use.
type Client struct {
	settings  Settings
	key       *rsa.PrivateKey
	answerKey *rsa.PublicKey
	http      *http.Client
	now       func() time.Time
}

// New returns a client with the keys that the settings name. It connects to nothing.
func New(s Settings) (*Client, error) {
	key, err := readPrivateKey(s.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("BENCH_KEY_FILE: %w", err)
	}
	answerKey, err := readPublicKey(s.AnswerKeyFile)
	if err != nil {
		return nil, fmt.Errorf("BENCH_ANSWER_KEY_FILE: %w", err)
	}
	return &Client{
		settings: s, key: key, answerKey: answerKey, now: time.Now,
		http: &http.Client{Timeout: timeout, Transport: &http.Transport{
			// Every call of a full concurrency keeps its connection, or each would be made anew.
			MaxIdleConns: s.Concurrency, MaxIdleConnsPerHost: s.Concurrency,
			IdleConnTimeout: idleTimeout, DisableCompression: true,
		}},
	}, nil
}

// Send sends the job's reply in one signed call, verifies the answer, and returns its log_id. An error that
// no repeat can help is a [PermanentError].
func (c *Client) Send(ctx context.Context, job Job) (logID string, err error) {
	body := job.body()
	path := "/v3/merchant-service/complaints-v2/" + url.PathEscape(job.ComplaintID) + "/response-immediate-service"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.settings.API+path, bytes.NewReader(body))
	if err != nil {
		return "", &PermanentError{fmt.Errorf("request: %w", err)}
	}
	authorization, err := c.authorize(http.MethodPost, req.URL.RequestURI(), body)
	if err != nil {
		return "", err
	}
	req.Header.Set("Accept", jsonType)
	req.Header.Set("Authorization", authorization)
	req.Header.Set("Content-Type", jsonType)
	req.Header.Set("User-Agent", userAgent)
	req.Header.Set("Wechatpay-Serial", c.settings.AnswerKeyID)
	req.GetBody = nil // Nothing but the peer's own retry sends a reply again.

	resp, err := c.http.Do(req)
	if err != nil {
		return "", fmt.Errorf("call: %w", err)
	}
	defer resp.Body.Close() //nolint:errcheck // nothing is left to be learned from it
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes+1))
	if err != nil {
		return "", fmt.Errorf("answer: %w", err)
	}
	if len(answer) > maxAnswerBytes {
		return "", fmt.Errorf("answer of more than %d bytes", maxAnswerBytes)
	}
	return c.judge(resp, answer)
}

// judge returns what an answer says, after its signature is verified.
func (c *Client) judge(resp *http.Response, answer []byte) (logID string, err error) {
	if resp.StatusCode != http.StatusOK {
		err := fmt.Errorf("HTTP %d: %.200q", resp.StatusCode, answer)
		if isRefusal(resp.StatusCode) {
			return "", &PermanentError{err}
		}
		return "", err
	}
	if err := c.verify(resp.Header, answer); err != nil {
		return "", err
	}
	var said struct {
		LogID string `json:"log_id"`
	}
	if err := json.Unmarshal(answer, &said); err != nil {
		return "", fmt.Errorf("answer: %w", err)
	}
	if said.LogID == "" {
		return "", errors.New("answer has no log_id")
	}
	return said.LogID, nil
}

// isRefusal says that the API will not take the reply however often it is sent.
func isRefusal(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return status >= 400 && status < 500
}
