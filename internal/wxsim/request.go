package wxsim

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	scheme = "WECHATPAY2-SHA256-RSA2048"

	maxBodyBytes      = 1 << 20
	maxUploadBytes    = 3 << 20 // Of an upload, so that an image that is too large is told from no image.
	maxComplaintID    = 64
	maxClockDeviation = 5 * time.Minute
)

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	limit := int64(maxBodyBytes)
	if r.URL.Path == pathUpload {
		limit = maxUploadBytes
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err != nil {
		return nil, fmt.Errorf("request body: %w", err)
	}
	return body, nil
}

// request is what the checks look at and find out.
type request struct {
	*http.Request
	body   []byte
	signed []byte // What stands for the body in the signed message.
	call   *Call
	upload upload // Of OperationUpload.
	page   page   // Of OperationHistory.
}

// check refuses what the API would refuse, and fills in whose call it is as far as it got.
func (s *Sim) check(r *request) *answer {
	if refusal := checkTarget(r); refusal != nil {
		return refusal
	}
	for _, step := range s.steps(r.call.Operation) {
		if refusal := step(r); refusal != nil {
			return refusal
		}
	}
	return nil
}

func (s *Sim) steps(o Operation) []func(*request) *answer {
	switch o {
	case OperationUpload:
		return []func(*request) *answer{
			checkHeaders, checkMultipart, s.checkAuthorization, s.checkAnswerKey, checkImage,
		}
	case OperationHistory:
		return []func(*request) *answer{
			checkHeaders, checkNoBody, s.checkAuthorization, s.checkAnswerKey, checkComplaintID, checkPage,
		}
	case OperationReply:
	}
	return []func(*request) *answer{
		checkHeaders, checkJSON, s.checkAuthorization, s.checkAnswerKey, checkComplaintID, s.checkBody,
	}
}

func checkComplaintID(r *request) *answer {
	c := r.call
	var issue string
	switch n := utf8.RuneCountInString(c.ComplaintID); {
	case !utf8.ValidString(c.ComplaintID):
		issue = "not UTF-8"
	case n == 0 || n > maxComplaintID:
		issue = fmt.Sprintf("length is %d, want 1 to %d", n, maxComplaintID)
	case c.ComplaintID == "." || c.ComplaintID == "..":
		issue = "is a relative path segment"
	default:
		return nil
	}
	a := complaintIDRefusal(c.ComplaintID, issue)
	return &a
}

func complaintIDRefusal(value, issue string) answer {
	return errorAnswer(http.StatusBadRequest, codeParam, "参数错误:complaint_id",
		&errorDetail{Field: "complaint_id", Value: short(value), Issue: issue, Location: "url"})
}

func checkHeaders(r *request) *answer {
	if r.Header.Get("Accept") == "" || r.Header.Get("User-Agent") == "" {
		a := errorAnswer(http.StatusBadRequest, codeInvalidRequest, "Http头缺少Accept或User-Agent", nil)
		return &a
	}
	return nil
}

func checkJSON(r *request) *answer {
	r.signed = r.body
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/json" {
		a := errorAnswer(http.StatusBadRequest, codeInvalidRequest, "Http头Content-Type必须为application/json",
			&errorDetail{Field: "Content-Type", Value: short(r.Header.Get("Content-Type")), Location: "header"})
		return &a
	}
	return nil
}

func (s *Sim) checkAuthorization(r *request) *answer {
	values := r.Header.Values("Authorization")
	if len(values) != 1 {
		return unauthorized("Authorization", fmt.Sprintf("%d Authorization headers, want one", len(values)),
			"Http头Authorization值格式错误,请参考《微信支付商户REST API签名规则》")
	}
	auth, err := parseAuthorization(values[0])
	if err != nil {
		return unauthorized("Authorization", err.Error(), "Http头Authorization值格式错误,请参考《微信支付商户REST API签名规则》")
	}
	merchant, known := s.keys.merchant(auth.mchID)
	if !known {
		return unauthorized("mchid", "unknown merchant", "商户号不存在")
	}
	r.call.MchID = auth.mchID
	if auth.serial != merchant.Serial {
		return unauthorized("serial_no", "not this merchant's certificate", "商户证书序列号有误。请使用签名私钥匹配的证书序列号")
	}
	if deviation := s.cfg.Now().Sub(auth.time); deviation.Abs() > maxClockDeviation {
		return unauthorized("timestamp", "deviates by more than 5 minutes",
			"Http头Authorization中的timestamp与发起请求的时间不得超过5分钟")
	}
	return auth.verify(merchant.Key, r.Method, r.RequestURI, r.signed)
}

type authorization struct {
	mchID, nonce, timestamp, serial string
	time                            time.Time
	signature                       []byte
}

// parseAuthorization reads the five parts by name, in any order, each exactly once.
func parseAuthorization(value string) (*authorization, error) {
	list, ok := strings.CutPrefix(value, scheme+" ")
	if !ok {
		return nil, fmt.Errorf("scheme is not %s", scheme)
	}
	parts := make(map[string]string, 5)
	for part := range strings.SplitSeq(list, ",") {
		name, quoted, _ := strings.Cut(part, "=")
		if len(quoted) < 2 || quoted[0] != '"' || quoted[len(quoted)-1] != '"' {
			return nil, fmt.Errorf("part %q is not name=\"value\"", short(name))
		}
		if _, twice := parts[name]; twice {
			return nil, fmt.Errorf("part %q stands twice", short(name))
		}
		parts[name] = quoted[1 : len(quoted)-1]
	}
	for _, name := range []string{"mchid", "nonce_str", "timestamp", "serial_no", "signature"} {
		if parts[name] == "" {
			return nil, fmt.Errorf("part %q is missing", name)
		}
	}
	if len(parts) != 5 {
		return nil, errors.New("there are parts besides the five")
	}
	return newAuthorization(parts)
}

func newAuthorization(parts map[string]string) (*authorization, error) {
	seconds, err := strconv.ParseUint(parts["timestamp"], 10, 40)
	if err != nil {
		return nil, errors.New("timestamp is not a number of seconds")
	}
	signature, err := base64.StdEncoding.Strict().DecodeString(parts["signature"])
	if err != nil {
		return nil, errors.New("signature is not base64")
	}
	return &authorization{
		mchID: parts["mchid"], nonce: parts["nonce_str"], timestamp: parts["timestamp"], serial: parts["serial_no"],
		time: time.Unix(int64(seconds), 0), signature: signature,
	}, nil
}

// verify checks the signature over METHOD\nTARGET\nTIMESTAMP\nNONCE\nBODY\n, where the target is the
// request target as it was received.
func (a *authorization) verify(key *rsa.PublicKey, method, target string, body []byte) *answer {
	head := method + "\n" + target + "\n" + a.timestamp + "\n" + a.nonce + "\n"
	hash := sha256.New()
	hash.Write([]byte(head))
	hash.Write(body)
	hash.Write([]byte("\n"))
	if rsa.VerifyPKCS1v15(key, crypto.SHA256, hash.Sum(nil), a.signature) == nil {
		return nil
	}
	refusal := jsonAnswer(http.StatusUnauthorized, signErrorBody(method, target, head, body))
	refusal.code = codeSign
	return &refusal
}

func (s *Sim) checkAnswerKey(r *request) *answer {
	if got := r.Header.Get("Wechatpay-Serial"); !s.keys.knows(got) {
		a := errorAnswer(http.StatusBadRequest, codeParam, "平台证书序列号Wechatpay-Serial错误",
			&errorDetail{Field: "Wechatpay-Serial", Value: short(got), Issue: "unknown key id", Location: "header"})
		return &a
	}
	return nil
}

func (s *Sim) checkBody(r *request) *answer {
	reply, problem := s.body.read(r.body, s.cfg.Lenient)
	if problem != nil {
		a := errorAnswer(http.StatusBadRequest, codeParam, "参数错误:"+problem.field,
			&errorDetail{Field: problem.field, Value: problem.value, Issue: problem.issue, Location: "body"})
		return &a
	}
	r.call.IdempotentID = reply.member("idempotent_id").text
	return nil
}
