// Package bare is the client that the worker is measured against: it signs, posts and verifies, over as many
// kept connections, and does nothing else. It is plain net/http and crypto, as a page of the API's
// documentation would have it, and shares no code with the worker.
package bare

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"replyworker/bench/internal/jobs"
	"replyworker/internal/wxsim"
)

const (
	scheme  = "WECHATPAY2-SHA256-RSA2048"
	timeout = 10 * time.Second // The worker's default.
)

// Config is what a client calls.
type Config struct {
	// URL is the API's.
	URL string
	// Dir has the keys, as wxsim.Prepare makes them.
	Dir string
	// Batch is the jobs. They are called once each, in their order.
	Batch jobs.Batch
	// Concurrency is the calls at once, and the connections.
	Concurrency int
}

// Run makes the calls and returns when all have ended, or with the first error.
func Run(ctx context.Context, cfg Config) error {
	m, err := wxsim.Prepare(cfg.Dir, wxsim.Params{})
	if err != nil {
		return fmt.Errorf("bare client: %w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	transport := &http.Transport{MaxIdleConnsPerHost: cfg.Concurrency, DisableCompression: true, IdleConnTimeout: 5 * time.Second}
	c := &client{cfg: cfg, m: m, http: &http.Client{Transport: transport, Timeout: timeout}}
	var all sync.WaitGroup
	for range cfg.Concurrency {
		all.Go(func() {
			for n := int(c.next.Add(1)) - 1; n < cfg.Batch.Jobs && ctx.Err() == nil; n = int(c.next.Add(1)) - 1 {
				if err := c.call(ctx, n); err != nil {
					cancel(fmt.Errorf("bare client: job %d: %w", n, err))
				}
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

type client struct {
	cfg  Config
	m    *wxsim.Materials
	http *http.Client
	next atomic.Int64
}

func (c *client) call(ctx context.Context, n int) error {
	body, path := c.cfg.Batch.Body(n), c.cfg.Batch.Path(n)
	authorization, err := c.authorize(path, body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.cfg.URL+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header = http.Header{
		"Accept": {"application/json"}, "Content-Type": {"application/json"}, "User-Agent": {"bare"},
		"Wechatpay-Serial": {c.m.PublicKeyID}, "Authorization": {authorization},
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // It is read to its end.
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return c.verify(resp.Header, answer)
}

func (c *client) authorize(path string, body []byte) (string, error) {
	var seed [16]byte
	_, _ = rand.Read(seed[:]) // It never fails.
	nonce, timestamp := hex.EncodeToString(seed[:]), strconv.FormatInt(time.Now().Unix(), 10)
	sum := sha256.New()
	sum.Write([]byte("POST\n" + path + "\n" + timestamp + "\n" + nonce + "\n"))
	sum.Write(body)
	sum.Write([]byte("\n"))
	signature, err := rsa.SignPKCS1v15(rand.Reader, c.m.MerchantKey, crypto.SHA256, sum.Sum(nil))
	if err != nil {
		return "", err
	}
	return scheme + ` mchid="` + c.m.MchID + `",nonce_str="` + nonce + `",timestamp="` + timestamp + `",serial_no="` +
		c.m.CertSerial + `",signature="` + base64.StdEncoding.EncodeToString(signature) + `"`, nil
}

func (c *client) verify(h http.Header, body []byte) error {
	signature, err := base64.StdEncoding.DecodeString(h.Get("Wechatpay-Signature"))
	if err != nil {
		return err
	}
	if got := h.Get("Wechatpay-Serial"); got != c.m.PublicKeyID {
		return fmt.Errorf("answer signed with key %q", got)
	}
	sum := sha256.New()
	sum.Write([]byte(h.Get("Wechatpay-Timestamp") + "\n" + h.Get("Wechatpay-Nonce") + "\n"))
	sum.Write(body)
	sum.Write([]byte("\n"))
	if err := rsa.VerifyPKCS1v15(&c.m.PlatformKey.PublicKey, crypto.SHA256, sum.Sum(nil), signature); err != nil {
		return err
	}
	var said struct {
		LogID string `json:"log_id"`
	}
	if err := json.Unmarshal(body, &said); err != nil {
		return err
	}
	if said.LogID == "" {
		return errors.New("no log_id")
	}
	return nil
}
