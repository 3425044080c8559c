package wxsim

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

const (
	maxHistoryLimit     = 300
	defaultHistoryLimit = 100

	// complaintAge is how long before its first reply a complaint was made.
	complaintAge = time.Minute
)

// page is the part of a history that is asked for.
type page struct{ limit, offset int }

// checkNoBody refuses a body where the API knows none.
func checkNoBody(r *request) *answer {
	if len(r.body) == 0 {
		return nil
	}
	a := errorAnswer(http.StatusBadRequest, codeInvalidRequest, "请求不应包含请求体", nil)
	return &a
}

// checkPage reads the query. The API documents no other parameters; more are refused here, as they are
// a mistake of the client.
func checkPage(r *request) *answer {
	r.page = page{limit: defaultHistoryLimit}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return pageRefusal("query", r.URL.RawQuery, "is no query")
	}
	for name, values := range query {
		n, err := strconv.Atoi(values[0])
		switch {
		case len(values) > 1 || err != nil:
			return pageRefusal(name, values[0], "want one number")
		case name == "limit" && n >= 1 && n <= maxHistoryLimit:
			r.page.limit = n
		case name == "offset" && n >= 0:
			r.page.offset = n
		default:
			return pageRefusal(name, values[0], "want limit, 1 to 300, or offset, not negative")
		}
	}
	return nil
}

func pageRefusal(name, value, issue string) *answer {
	a := errorAnswer(http.StatusBadRequest, codeParam, "参数错误:"+short(name),
		&errorDetail{Field: short(name), Value: short(value), Issue: issue, Location: "query"})
	return &a
}

type historyEntry struct {
	LogID          string          `json:"log_id"`
	Operator       string          `json:"operator"`
	OperateTime    string          `json:"operate_time"`
	OperateType    string          `json:"operate_type"`
	OperateDetails string          `json:"operate_details,omitempty"`
	NormalMessage  json.RawMessage `json:"normal_message,omitempty"`
}

type historyBody struct {
	Data       []historyEntry `json:"data"`
	Limit      int            `json:"limit"`
	Offset     int            `json:"offset"`
	TotalCount int            `json:"total_count"`
}

// history makes a page of a complaint's history from the effects: the replies, the latest one first,
// and at last the user's complaint. The simulator knows a complaint of a merchant from the merchant's
// first reply on; before it answers 404.
func (s *Sim) history(c *Call, p page) ([]byte, *answer) {
	replies := s.ledger.where(func(e *effect) bool { return e.MchID == c.MchID && e.ComplaintID == c.ComplaintID })
	if len(replies) == 0 {
		a := errorAnswer(http.StatusNotFound, codeNotFound, "投诉单不存在", nil)
		return nil, &a
	}
	out := historyBody{Data: []historyEntry{}, Limit: p.limit, Offset: p.offset, TotalCount: len(replies) + 1}
	for i := p.offset; i < min(p.offset+p.limit, out.TotalCount); i++ {
		if i == len(replies) {
			out.Data = append(out.Data, complaintEntry(replies[0]))
			continue
		}
		out.Data = append(out.Data, s.replyEntry(replies[len(replies)-1-i]))
	}
	body := encode(out)
	if len(body) > s.cfg.MaxHistoryBytes {
		a := errorAnswer(http.StatusBadRequest, codeInvalidRequest, "当前查询结果数据量过大", nil)
		return nil, &a
	}
	s.ledger.count(func(st *Stats) { st.Histories++ })
	return body, nil
}

func (s *Sim) replyEntry(e Effect) historyEntry {
	return historyEntry{
		LogID: e.LogID, Operator: "商家", OperateTime: chinaTime(e.Time), OperateType: "MERCHANT_RESPONSE",
		NormalMessage: s.ledger.message(e.Sequence),
	}
}

func complaintEntry(first Effect) historyEntry {
	sum := sha256.Sum256([]byte(first.ComplaintID))
	return historyEntry{
		LogID: "3001" + hex.EncodeToString(sum[:8]), Operator: "投诉人",
		OperateTime: chinaTime(first.Time.Add(-complaintAge)), OperateType: "USER_CREATE_COMPLAINT",
		OperateDetails: fmt.Sprintf("投诉单%s:商品未收到,请退款", first.ComplaintID),
	}
}

// chinaTime writes a time as the API does.
func chinaTime(t time.Time) string {
	const east8 = 8 * 60 * 60
	return t.In(time.FixedZone("", east8)).Format(time.RFC3339)
}
