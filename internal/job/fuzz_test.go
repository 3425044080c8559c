package job_test

import (
	"encoding/json"
	"slices"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"replyworker/internal/job"
)

// FuzzDecode holds that Decode never panics, takes only what encoding/json takes too, keeps the
// message's bytes, and agrees with the JSON Schemas wherever those can see the fault.
func FuzzDecode(f *testing.F) {
	for _, dir := range []string{"good", "bad", "bad-beyond-schema", "lenient"} {
		for _, doc := range corpus(f, dir) {
			f.Add(doc.value, false)
			f.Add(doc.value, true)
		}
	}
	strict, lenient := compileSchema(f, "job"), compileSchema(f, "job-lenient")
	f.Fuzz(func(t *testing.T, value []byte, isLenient bool) {
		validation, schema := job.Strict, strict
		if isLenient {
			validation, schema = job.Lenient, lenient
		}
		j, err := job.Decode(value, validation)
		if err != nil {
			e := invalid(t, err)
			for _, id := range []string{
				e.Partial.ComplaintID, e.Partial.ComplaintedMchID, e.Partial.IdempotentID, e.Partial.MchID,
			} {
				require.LessOrEqual(t, len(id), 1024)
				require.True(t, utf8.ValidString(id))
			}
			if json.Valid(value) && utf8.Valid(value) && !onlyBeyondSchema(err) && e.Omitted == 0 {
				// A duplicate hides a value from the schema, and a lone surrogate is U+FFFD to it.
				if !hasBeyondSchema(e) {
					require.Error(t, validateSchema(t, schema, value), "Decode: %v", err)
				}
			}
			return
		}
		require.True(t, json.Valid(value))
		require.NoError(t, validateSchema(t, schema, value))
		requireSameAsEncodingJSON(t, value, j)
	})
}

func hasBeyondSchema(e *job.InvalidError) bool {
	for _, p := range e.Problems {
		if onlyBeyondSchema(&job.InvalidError{Problems: []job.Problem{p}}) {
			return true
		}
	}
	return false
}

// requireSameAsEncodingJSON compares a decoded job with what the standard library reads.
func requireSameAsEncodingJSON(t *testing.T, value []byte, j *job.Job) {
	t.Helper()
	var members map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(value, &members))
	var labels map[string]string
	if raw, ok := members["labels"]; ok {
		require.NoError(t, json.Unmarshal(raw, &labels))
	}
	require.Equal(t, labels, j.LabelPairs())
	for name, got := range map[string]string{
		"complaint_id": j.ComplaintID, "complainted_mchid": j.ComplaintedMchID, "idempotent_id": j.IdempotentID,
		"mchid": j.MchID,
	} {
		var want string
		if raw, ok := members[name]; ok {
			require.NoError(t, json.Unmarshal(raw, &want))
		}
		require.Equal(t, want, got, name)
	}
	var body map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(j.Body(), &body))
	require.Len(t, body, 3)
	for name, raw := range body {
		require.Equal(t, string(members[name]), string(raw), name)
	}
	require.Len(t, j.ContentSHA256(), 64)

	// The content does not depend on the writing: encoding/json sorts, escapes and packs anew.
	if containsNumber(members["message"]) {
		return // it would round the number
	}
	var message any
	require.NoError(t, json.Unmarshal(members["message"], &message))
	rewritten, err := json.Marshal(map[string]any{
		"complaint_id": j.ComplaintID, "complainted_mchid": j.ComplaintedMchID, "idempotent_id": "1", "message": message,
	})
	require.NoError(t, err)
	if len(rewritten) > job.MaxBytes {
		return
	}
	again, err := job.Decode(rewritten, job.Lenient)
	require.NoError(t, err)
	require.Equal(t, j.ContentSHA256(), again.ContentSHA256())
}

func containsNumber(raw json.RawMessage) bool {
	var v any
	_ = json.Unmarshal(raw, &v) // an error is a number that float64 cannot hold
	var search func(any) bool
	search = func(v any) bool {
		switch v := v.(type) {
		case nil, float64:
			return true
		case []any:
			if slices.ContainsFunc(v, search) {
				return true
			}
		case map[string]any:
			for _, item := range v {
				if search(item) {
					return true
				}
			}
		}
		return false
	}
	return search(v)
}
