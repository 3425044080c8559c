package dedupe

import (
	"context"
	"encoding/hex"
	"time"
)

// Record is what is known of a job.
type Record struct {
	State           State
	Attempts        int
	MaybeSent       bool
	LogID           string
	Reason, Details string
	Published       bool
	Source          string // the record that has the key
	Content         string // 64 hexadecimal digits
	UpdatedAt       time.Time
	// Wait is how long the lease still lasts (claimed) or until the next attempt is due (waiting).
	Wait time.Duration
}

// Lookup tells what is known of a job, and whether anything is. It changes nothing.
func (s *Store) Lookup(ctx context.Context, k Key) (Record, bool, error) {
	if err := k.check(opLookup); err != nil {
		return Record{}, false, err
	}
	key := s.jobKey(k)
	r, err := s.eval(ctx, opLookup, s.scripts.lookup, key)
	if err != nil || len(r.fields) == 0 {
		return Record{}, false, err
	}
	rec := r.record()
	return rec, true, s.done(opLookup, key, r)
}

// LookupResult is the answer to one of the keys given to LookupAll.
type LookupResult struct {
	Record Record
	Found  bool
	Err    error // an *Error or nil
}

// LookupAll is Lookup for many keys. The answer has one entry for each.
func (s *Store) LookupAll(ctx context.Context, keys []Key) []LookupResult {
	results := make([]LookupResult, len(keys))
	var calls []call
	var index []int
	for i, k := range keys {
		if results[i].Err = k.check(opLookup); results[i].Err == nil {
			calls, index = append(calls, call{key: s.jobKey(k)}), append(index, i)
		}
	}
	s.evalAll(ctx, opLookup, s.scripts.lookup, calls, func(i int, r *reader, err error) {
		result := &results[index[i]]
		if err != nil || len(r.fields) == 0 {
			result.Err = err
			return
		}
		result.Record, result.Found = r.record(), true
		result.Err = s.done(opLookup, calls[i].key, r)
	})
	return results
}

func (r *reader) record() Record {
	return Record{
		State: r.state(), Attempts: r.int(), MaybeSent: r.bool(), LogID: r.text(), Reason: r.text(),
		Details: r.text(), Published: r.bool(), Source: r.text(), Content: hex.EncodeToString([]byte(r.text())),
		UpdatedAt: time.UnixMilli(r.int64()).UTC(), Wait: time.Duration(r.int64()) * time.Millisecond,
	}
}
