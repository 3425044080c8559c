package wxclient_test

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"strings"
	"time"

	"replyworker/internal/wxclient"
)

// A fixed clock and fixed nonces make the Authorization header repeatable.
func ExampleClient_Reply() {
	merchant := &wxclient.Merchant{
		MchID:       "1900000001",
		CertSerial:  "1DDE55AD98ED71D6EDD4A4A16996DE7B47773A8C",
		Key:         stubSigner{&rsa.PublicKey{N: exampleModulus(), E: 65537}},
		AnswerKeyID: "PUB_KEY_ID_1",
		AnswerKeys:  map[string]*rsa.PublicKey{"PUB_KEY_ID_1": {}},
	}
	client, err := wxclient.New(wxclient.Config{
		PrimaryURL: "https://api.mch.weixin.qq.com",
		UserAgent:  "replyworker/1.2.3",
		Now:        func() time.Time { return time.Unix(1735689600, 0) },
		Rand:       strings.NewReader("0123456789abcdef"),
		Transport: fake(func(req *http.Request) (*http.Response, error) {
			fmt.Println(req.Method, req.URL)
			authorization, _, _ := strings.Cut(req.Header.Get("Authorization"), ",signature=")
			fmt.Println(strings.ReplaceAll(authorization, ",", "\n  "))
			return &http.Response{
				StatusCode: http.StatusTooManyRequests,
				Header:     http.Header{"Retry-After": {"3"}, "Request-Id": {"08F4A1"}},
				Body:       io.NopCloser(strings.NewReader(`{"code":"FREQUENCY_LIMITED","message":"频率超限"}`)),
			}, nil
		}),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	_, err = client.Reply(context.Background(), wxclient.Primary, merchant, "2002/1", []byte("{}"))
	fmt.Println(err)
	if e, ok := errors.AsType[*wxclient.Error](err); ok {
		fmt.Println(e.Class, e.RetryAfter, e.Sent)
	}
	// Output:
	// POST https://api.mch.weixin.qq.com/v3/merchant-service/complaints-v2/2002%2F1/response-immediate-service
	// WECHATPAY2-SHA256-RSA2048 mchid="1900000001"
	//   nonce_str="30313233343536373839616263646566"
	//   timestamp="1735689600"
	//   serial_no="1DDE55AD98ED71D6EDD4A4A16996DE7B47773A8C"
	// primary host: slow_down: HTTP 429: FREQUENCY_LIMITED: 频率超限 (request id 08F4A1)
	// slow_down 3s true
}

// exampleModulus has the length of a key's and nothing else of one.
func exampleModulus() *big.Int { return new(big.Int).Lsh(big.NewInt(1), 2047) }
