package wxsim

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"
)

const (
	foreignKeyID    = "PUB_KEY_ID_9999999999999999999999999999999999"
	signatureAge    = 6 * time.Minute
	defaultHugeBody = 2 << 20
)

// misbehave ends a call as its fault wants. The body is the right answer's, nil before the effect.
func (c *exchange) misbehave(a *active, body []byte) {
	right := jsonAnswer(http.StatusOK, body)
	switch f := a.Fault; f.Kind {
	case KindStatus:
		c.write(f.statusAnswer(c.r.RequestURI), signing{})
	case KindQuota:
		c.refuseOverQuota(f)
	case KindHang:
		c.hang(a)
	case KindReset, KindDown:
		c.drop()
	case KindPartial:
		c.cutShort(right)
	case KindWrongSignature:
		c.write(right, signing{forged: true})
	case KindStaleSignature:
		c.write(right, signing{age: signatureAge})
	case KindFutureSignature:
		c.write(right, signing{age: -signatureAge})
	case KindMissingSignature:
		c.write(right, signing{none: true})
	case KindUnknownKey:
		c.write(right, signing{keyID: or(f.KeyID, foreignKeyID)})
	case KindSignTest:
		c.write(right, signing{probe: true})
	case KindSlowBody:
		c.drip(right, f.Delay)
	case KindNoLogID, KindGarbageBody, KindHugeBody, KindTextBody:
		c.write(c.oddBody(f, body), signing{})
	case KindLatency: // Never decides a call's fate.
	}
}

func (c *exchange) refuseOverQuota(f Fault) {
	f.Status = http.StatusTooManyRequests
	c.write(f.statusAnswer(""), signing{})
}

func (c *exchange) oddBody(f Fault, body []byte) answer {
	a := jsonAnswer(http.StatusOK, body)
	switch f.Kind { //nolint:exhaustive // Those of bodies.
	case KindNoLogID:
		a.body = []byte(or(f.Body, "{}"))
	case KindGarbageBody:
		a.body = append([]byte{'{', 0}, c.sim.dice.bytes(254)...)
	case KindTextBody:
		a.contentType, a.body = textType, []byte(or(f.Body, "success"))
	case KindHugeBody:
		a.body = padded(body, f.Bytes)
	}
	return a
}

// padded is the right body with a long member in front.
func padded(body []byte, size int) []byte {
	if size == 0 {
		size = defaultHugeBody
	}
	const start, end = `{"padding":"`, `",`
	fill := max(0, size-len(start)-len(end)-len(body)+1)
	return bytes.Join([][]byte{[]byte(start), bytes.Repeat([]byte("x"), fill), []byte(end), body[1:]}, nil)
}

// hang holds the call until its client leaves, its fault ends or the simulator closes.
func (c *exchange) hang(a *active) {
	select {
	case <-c.r.Context().Done():
	case <-a.done:
	case <-c.sim.closing:
	}
	c.drop()
}

func (c *exchange) cutShort(a answer) {
	c.end(a.status)
	c.prepare(a, signing{})
	c.w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	c.w.WriteHeader(a.status)
	_, _ = c.w.Write(a.body[:len(a.body)/2])
	_ = http.NewResponseController(c.w).Flush()
	panic(http.ErrAbortHandler) // The way to close the connection without ending the answer.
}

func (c *exchange) drip(a answer, each time.Duration) {
	c.end(a.status)
	c.prepare(a, signing{})
	c.w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	c.w.WriteHeader(a.status)
	flusher := http.NewResponseController(c.w)
	for i := range a.body {
		_ = flusher.Flush()
		if !c.sim.sleep(c.r.Context(), each) {
			panic(http.ErrAbortHandler)
		}
		_, _ = c.w.Write(a.body[i : i+1])
	}
}

// reset breaks the connection with a TCP RST where it can, or else just ends it.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if wrapped, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = wrapped.NetConn()
	}
	if tcp, ok := conn.(interface{ SetLinger(seconds int) error }); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// statusAnswer is an error as the API, or the gateway before it, would answer it.
func (f Fault) statusAnswer(target string) answer {
	code, message := usual(f.Status)
	a := errorAnswer(f.Status, or(f.Code, code), or(f.Message, message), nil)
	a.signed = f.Signed
	a.header = map[string]string{}
	switch {
	case f.Body != "":
		a.body = []byte(f.Body)
	case f.Code != "" || f.Message != "":
	case f.Status >= 502 && f.Status <= 504:
		a.gateway, a.contentType, a.body = !f.Signed, htmlType, gatewayPage(f.Status)
	case f.Status < 400:
		a.contentType, a.body = "", nil
	}
	if f.Status == http.StatusNoContent || f.Status == http.StatusNotModified {
		a.contentType, a.body = "", nil // HTTP allows none.
	}
	if f.Status/100 == 3 {
		a.header["Location"] = target
	}
	if f.RetryAfter != "" {
		a.header["Retry-After"] = f.RetryAfter
	}
	a.contentType = or(f.ContentType, a.contentType)
	return a
}

// usual is the code and message that a status of the API comes with.
func usual(status int) (code, message string) {
	switch status {
	case http.StatusBadRequest:
		return codeInvalidRequest, "提交商户回复失败,请稍后重试"
	case http.StatusUnauthorized:
		return codeSign, "签名错误,请检查后再试"
	case http.StatusForbidden:
		return codeNoAuth, "您暂无权限为该投诉单提交商户回复"
	case http.StatusNotFound:
		return codeNotFound, "请求的资源不存在"
	case http.StatusTooManyRequests:
		return codeFrequency, "触发接口全局限频,可以过一段时间再重试"
	}
	if status >= http.StatusInternalServerError {
		return codeSystem, "系统繁忙,请稍后重试"
	}
	return codeInvalidRequest, http.StatusText(status)
}

func gatewayPage(status int) []byte {
	title := strconv.Itoa(status) + " " + http.StatusText(status)
	return fmt.Appendf(nil, "<html>\r\n<head><title>%s</title></head>\r\n<body>\r\n<center><h1>%s</h1></center>\r\n"+
		"<hr><center>stgw</center>\r\n</body>\r\n</html>\r\n", title, title)
}

func or(first, second string) string {
	if first != "" {
		return first
	}
	return second
}
