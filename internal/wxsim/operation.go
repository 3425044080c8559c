package wxsim

import (
	"net/http"
	"net/url"
	"strings"
)

// Operation is one of the calls that the API has.
type Operation string

// The operations. A call of none of them is refused.
const (
	OperationReply   Operation = "reply"   // POST .../{complaint_id}/response-immediate-service
	OperationUpload  Operation = "upload"  // POST /v3/merchant-service/images/upload
	OperationHistory Operation = "history" // GET .../{complaint_id}/negotiation-historys
)

// Operations lists the operations.
func Operations() []Operation { return []Operation{OperationReply, OperationUpload, OperationHistory} }

const (
	pathComplaints = "/v3/merchant-service/complaints-v2/"
	pathReply      = "/response-immediate-service"
	pathHistory    = "/negotiation-historys"
	pathUpload     = "/v3/merchant-service/images/upload"
)

// checkTarget finds out which operation is called, and on which complaint.
func checkTarget(r *request) *answer {
	path, _, _ := strings.Cut(r.RequestURI, "?")
	operation, escaped := operationOf(path)
	method := http.MethodPost
	switch operation {
	case "":
		a := errorAnswer(http.StatusNotFound, codeNotFound, "请求的资源不存在", nil)
		return &a
	case OperationHistory:
		method = http.MethodGet
	case OperationReply, OperationUpload:
	}
	if r.Method != method {
		a := errorAnswer(http.StatusMethodNotAllowed, codeInvalidRequest, "不支持的HTTP方法", nil)
		return &a
	}
	id, err := url.PathUnescape(escaped)
	if err != nil {
		a := complaintIDRefusal(escaped, "percent-escape is broken")
		return &a
	}
	r.call.Operation, r.call.ComplaintID = operation, id
	return nil
}

// operationOf returns the operation of a path and its complaint id, as it is written there.
func operationOf(path string) (o Operation, escapedID string) {
	if path == pathUpload {
		return OperationUpload, ""
	}
	rest, ok := strings.CutPrefix(path, pathComplaints)
	if !ok {
		return "", ""
	}
	o = OperationReply
	id, ok := strings.CutSuffix(rest, pathReply)
	if !ok {
		o = OperationHistory
		id, ok = strings.CutSuffix(rest, pathHistory)
	}
	if !ok || strings.Contains(id, "/") {
		return "", ""
	}
	return o, id
}
