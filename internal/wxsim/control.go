package wxsim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

const (
	maxControlBody = 1 << 20
	effectsPage    = 1000
)

// EffectsPage is what the control interface answers on /effects.
type EffectsPage struct {
	Effects []Effect `json:"effects"` // In order; the first ones after "after".
	Total   int      `json:"total"`   // How many match after "after", those beyond the page included.
}

// ControlHandler is the plain HTTP interface for people and other programs. It asks for no
// credentials: serve it on loopback only.
//
//	GET    /         what there is, with the kinds of fault
//	GET    /faults   the faults in force, a JSON array
//	PUT    /faults   one fault or an array, in the place of all others
//	POST   /faults   one fault or an array, behind the others
//	DELETE /faults   no faults; ?name=N removes only those of that name
//	GET    /effects  ?idempotent_id= ?complaint_id= ?mchid= ?after=SEQUENCE ?limit=1000
//	GET    /media    the latest uploads
//	GET    /calls    the latest calls
//	GET    /stats    the counters
//
// Mistakes get 400 and a line of text that says what is wrong; nothing is changed then.
func (s *Sim) ControlHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", controlHelp)
	mux.HandleFunc("GET /faults", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, s.Faults()) })
	mux.HandleFunc("PUT /faults", func(w http.ResponseWriter, r *http.Request) { s.controlFaults(w, r, s.Set) })
	mux.HandleFunc("POST /faults", func(w http.ResponseWriter, r *http.Request) { s.controlFaults(w, r, s.Add) })
	mux.HandleFunc("DELETE /faults", s.controlDelete)
	mux.HandleFunc("GET /effects", s.controlEffects)
	mux.HandleFunc("GET /media", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, s.Media()) })
	mux.HandleFunc("GET /calls", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, s.Calls()) })
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, s.Stats()) })
	return http.NewCrossOriginProtection().Handler(mux)
}

func controlHelp(w http.ResponseWriter, _ *http.Request) {
	var b strings.Builder
	b.WriteString("GET /faults, PUT or POST /faults (one or an array), DELETE /faults[?name=N],\n" +
		"GET /effects?idempotent_id=&complaint_id=&mchid=&after=&limit=, GET /media, GET /calls, GET /stats\n\n" +
		"A fault: {\"kind\": K, \"name\", \"host\": \"primary\"|\"backup\",\n" +
		"\"operation\": \"reply\"|\"upload\"|\"history\", \"mchid\", \"complaint_id\", \"idempotent_id\",\n" +
		"\"probability\": 0..1, \"count\": N, \"for\": \"30s\"} and the kind's own fields:\n\n")
	for _, k := range Kinds() {
		fmt.Fprintf(&b, "%-18s %s\n", k.Kind, k.Does)
		if len(k.Fields) > 0 {
			fmt.Fprintf(&b, "%-18s   %s\n", "", strings.Join(k.Fields, " "))
		}
	}
	w.Header().Set("Content-Type", textType)
	_, _ = io.WriteString(w, b.String())
}

func (s *Sim) controlFaults(w http.ResponseWriter, r *http.Request, apply func(...Fault) error) {
	faults, err := readFaults(http.MaxBytesReader(w, r.Body, maxControlBody))
	if err == nil {
		for _, f := range faults {
			err = errors.Join(err, f.Validate())
		}
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.controlDone(w, apply(faults...))
}

func readFaults(from io.Reader) ([]Fault, error) {
	text, err := io.ReadAll(from)
	if err != nil {
		return nil, fmt.Errorf("read faults: %w", err)
	}
	text = bytes.TrimSpace(text)
	if len(text) == 0 {
		return nil, errors.New("want one fault or an array of faults as JSON")
	}
	if text[0] != '[' {
		var one Fault
		err := json.Unmarshal(text, &one)
		return []Fault{one}, err //nolint:wrapcheck // It says what is wrong where.
	}
	var many []Fault
	err = json.Unmarshal(text, &many)
	return many, err //nolint:wrapcheck // It says what is wrong where.
}

func (s *Sim) controlDelete(w http.ResponseWriter, r *http.Request) {
	if name := r.URL.Query().Get("name"); name != "" {
		s.controlDone(w, s.Remove(name))
		return
	}
	s.controlDone(w, s.Clear())
}

// controlDone answers a change with the faults now in force.
func (s *Sim) controlDone(w http.ResponseWriter, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	writeJSON(w, s.Faults())
}

func (s *Sim) controlEffects(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	after, errAfter := number(query.Get("after"), 0)
	limit, errLimit := number(query.Get("limit"), effectsPage)
	if err := errors.Join(errAfter, errLimit); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	matches := func(name, value string) bool { want := query.Get(name); return want == "" || want == value }
	found := s.ledger.where(func(e *effect) bool {
		return e.Sequence > after && matches("idempotent_id", e.IdempotentID) &&
			matches("complaint_id", e.ComplaintID) && matches("mchid", e.MchID)
	})
	writeJSON(w, EffectsPage{Effects: found[:min(int64(len(found)), limit)], Total: len(found)})
}

func number(text string, otherwise int64) (int64, error) {
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%q: want a number that is not negative", text)
	}
	return n, nil
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(encode(v), '\n'))
}
