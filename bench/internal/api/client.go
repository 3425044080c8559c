package api

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Client tells an API what to do and asks it what came of it. It is safe for concurrent use.
type Client struct {
	// URL is where the API is, without a slash at its end.
	URL string
}

// patience is for answers of the API itself, of all times of a large batch on a busy machine too.
const patience = 30 * time.Second

// Begin makes the API forget all it has counted, and count this from now on.
func (c Client) Begin(ctx context.Context, o Order) error {
	_, err := c.do(ctx, http.MethodPost, "/bench/begin", o)
	return err
}

// Trouble makes trouble from now on.
func (c Client) Trouble(ctx context.Context, t Trouble) error {
	_, err := c.do(ctx, http.MethodPost, "/bench/trouble", t)
	return err
}

// Quota makes the API refuse with 429, from now on, what is more than so many calls in a second; 0 is any number.
func (c Client) Quota(ctx context.Context, perSecond int) error {
	_, err := c.do(ctx, http.MethodPost, "/bench/quota", perSecond)
	return err
}

// Counts is what the API has counted.
func (c Client) Counts(ctx context.Context) (Counts, error) {
	var found Counts
	text, err := c.do(ctx, http.MethodGet, "/bench/counts", nil)
	if err != nil {
		return found, err
	}
	if err := json.Unmarshal(text, &found); err != nil {
		return found, fmt.Errorf("api: %w", err)
	}
	return found, nil
}

// Times is the times of each job of the batch, by its number.
func (c Client) Times(ctx context.Context) ([]Times, error) {
	text, err := c.do(ctx, http.MethodGet, "/bench/times", nil)
	if err != nil {
		return nil, err
	}
	all := make([]Times, len(text)/binary.Size(Times{}))
	if err := binary.Read(bytes.NewReader(text), binary.LittleEndian, all); err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	return all, nil
}

// Wait waits until the counts are as wanted. It asks some twenty times a second.
func (c Client) Wait(ctx context.Context, longest time.Duration, what string, wanted func(Counts) bool) (Counts, error) {
	const pause = 50 * time.Millisecond
	for deadline := time.Now().Add(longest); ; {
		found, err := c.Counts(ctx)
		switch {
		case err != nil:
			return found, err
		case wanted(found):
			return found, nil
		case found.Faulty > 0:
			return found, fmt.Errorf("the API got calls that break its rules: %s", found.FirstFlaw)
		case time.Now().After(deadline):
			return found, fmt.Errorf("waited %s for %s; so far: %+v", longest, what, found)
		}
		select {
		case <-ctx.Done():
			return found, context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

func (c Client) do(ctx context.Context, method, path string, value any) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	text, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.URL+path, bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	defer func() { _ = resp.Body.Close() }() // It is read to its end.
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, errors.New("api: " + resp.Status + " " + string(answer))
	}
	return answer, nil
}
