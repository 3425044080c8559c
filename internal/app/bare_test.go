package app_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// bareVariable holds, in a process of this test binary that is to be a bare client, where it finds its
// keys and what it calls.
const bareVariable = "TEST_BARE_CLIENT"

// bareClient signs, posts and verifies, and does nothing else: what a worker costs more than this, it
// costs for being a worker.
type bareClient struct {
	url, ca, merchantKey, publicKey string

	key    *rsa.PrivateKey
	answer *rsa.PublicKey
	http   *http.Client
}

// cpuOfBareClient runs a bare client in a process of its own and returns the CPU time of one call.
func cpuOfBareClient(b *testing.B, s *bench, api *quickAPI, calls int) time.Duration {
	b.Helper()
	files := s.stack.Materials.Files
	cmd := exec.CommandContext(b.Context(), os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), bareVariable+"="+strconv.Itoa(calls),
		"BARE_URL="+api.url, "BARE_CA="+files.CA, "BARE_KEY="+files.MerchantKey, "BARE_PUBLIC="+files.PublicKey)
	out, err := cmd.CombinedOutput()
	require.NoError(b, err, string(out))
	state := cmd.ProcessState
	return (state.UserTime() + state.SystemTime()) / time.Duration(calls)
}

// runBareClient is the process.
func runBareClient(calls string) error {
	n, err := strconv.Atoi(calls)
	if err != nil {
		return err
	}
	c := &bareClient{
		url: os.Getenv("BARE_URL"), ca: os.Getenv("BARE_CA"), merchantKey: os.Getenv("BARE_KEY"),
		publicKey: os.Getenv("BARE_PUBLIC"),
	}
	if err := c.load(); err != nil {
		return err
	}
	var made atomic.Int64
	var wg sync.WaitGroup
	errs := make(chan error, 64)
	for range cap(errs) {
		wg.Go(func() {
			for i := made.Add(1); int(i) <= n; i = made.Add(1) {
				if err := c.call(costValue(int(i))); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	return <-errs
}

func (c *bareClient) load() error {
	ca, err := os.ReadFile(c.ca)
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	c.http = &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, MaxIdleConnsPerHost: 64,
	}}
	private, err := readPEM(c.merchantKey)
	if err != nil {
		return err
	}
	key, err := x509.ParsePKCS8PrivateKey(private)
	if err != nil {
		return err
	}
	c.key, _ = key.(*rsa.PrivateKey)
	public, err := readPEM(c.publicKey)
	if err != nil {
		return err
	}
	answer, err := x509.ParsePKIXPublicKey(public)
	c.answer, _ = answer.(*rsa.PublicKey)
	return err
}

func readPEM(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New(path + " is no PEM")
	}
	return block.Bytes, nil
}

func (c *bareClient) call(body []byte) error {
	const path = "/v3/merchant-service/complaints-v2/200201820201080011/response-immediate-service"
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, c.url+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	var seed [16]byte
	_, _ = rand.Read(seed[:]) // it never fails
	nonce, now := hex.EncodeToString(seed[:]), strconv.FormatInt(time.Now().Unix(), 10)
	sum := sha256.Sum256(fmt.Appendf(nil, "POST\n%s\n%s\n%s\n%s\n", path, now, nonce, body))
	signature, err := rsa.SignPKCS1v15(rand.Reader, c.key, crypto.SHA256, sum[:])
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", `WECHATPAY2-SHA256-RSA2048 mchid="1900000001",nonce_str="`+nonce+`",timestamp="`+now+
		`",serial_no="0",signature="`+base64.StdEncoding.EncodeToString(signature)+`"`)
	res, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	h := res.Header
	sum = sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%s\n", h.Get("Wechatpay-Timestamp"), h.Get("Wechatpay-Nonce"), text))
	raw, err := base64.StdEncoding.DecodeString(h.Get("Wechatpay-Signature"))
	if err != nil {
		return err
	}
	return rsa.VerifyPKCS1v15(c.answer, crypto.SHA256, sum[:], raw)
}
