package deadletter

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"replyworker/internal/job"
	"replyworker/internal/kafkaio"
)

// MaxLetters is the most letters that an Index holds, copies included; it bounds the memory, at about
// 1.5 KB a letter.
const MaxLetters = 1_000_000

// Limits of the texts that an Index keeps, in bytes. Who writes letters may have written anything.
const (
	maxWord = 256
	maxNote = 1024
)

// ErrTooMany says that there are more letters than an Index holds.
var ErrTooMany = errors.New("too many dead letters to be looked at together")

// clockMargin is how much earlier than its failure a letter's own time may be, where clocks differ.
const clockMargin = 5 * time.Minute

// Kafka is where letters and resolutions are read: a *kafkaio.Client.
type Kafka interface {
	kafkaio.SpanReader
	Spans(ctx context.Context, topic string, since time.Time) ([]kafkaio.Span, error)
}

// LoadConfig says which letters an Index has. All but Since, MaxLetters, Start and Progress
// are needed.
type LoadConfig struct {
	Kafka                Kafka
	Letters, Resolutions string // the topics
	Validation           job.Validation
	// Since leaves out letters that were written before; zero leaves out none.
	Since time.Time
	// Patience is how long Kafka may be away before Load gives up.
	Patience time.Duration
	// MaxLetters is the most letters that the Index may hold, copies included. Zero is MaxLetters.
	MaxLetters int
	// Start is told how many offsets there are to read, Progress how many more are read.
	Start    func(total int64)
	Progress func(passed int64)
}

// Index is the dead letters and what was done about them, as they were when it was loaded. It is safe
// for concurrent use.
type Index struct {
	// Letters has one letter for each job record, the first of those that tell of it, by ID.
	Letters []*Letter
	// Unreadable counts resolutions that cannot be read.
	Unreadable int64

	copies      map[ID][]Place // further letters of the same job record
	copyOf      map[ID]ID      // the first letter of each of them
	resolutions map[ID]Resolution
}

// Load reads the letters and the resolutions up to where their topics end now.
func Load(ctx context.Context, cfg LoadConfig) (*Index, error) {
	b := &builder{
		cfg: cfg, first: map[[16]byte]*Letter{}, known: map[string]string{},
		index:     &Index{copies: map[ID][]Place{}, copyOf: map[ID]ID{}, resolutions: map[ID]Resolution{}},
		positions: map[ID]position{},
	}
	if b.cfg.MaxLetters == 0 {
		b.cfg.MaxLetters = MaxLetters
	}
	since := cfg.Since
	if !since.IsZero() {
		since = since.Add(-clockMargin)
	}
	letters, err := b.spans(ctx, cfg.Letters, since)
	if err != nil {
		return nil, err
	}
	resolutions, err := b.spans(ctx, cfg.Resolutions, time.Time{})
	if err != nil {
		return nil, err
	}
	if cfg.Start != nil {
		cfg.Start(kafkaio.Offsets(letters) + kafkaio.Offsets(resolutions))
	}
	// The letters come first: of those that are read, every resolution is there that was there then.
	if err := b.read(ctx, letters, b.addLetter); err != nil {
		return nil, err
	}
	b.sort()
	if err := b.read(ctx, resolutions, b.addResolution); err != nil {
		return nil, err
	}
	return b.index, nil
}

// builder fills an Index, from several goroutines.
type builder struct {
	cfg LoadConfig

	mu        sync.Mutex
	index     *Index
	letters   int                  // that were read
	first     map[[16]byte]*Letter // by job record
	positions map[ID]position      // of the resolutions
	known     map[string]string    // words that many letters share, each kept once
}

// position is where a resolution stands.
type position struct {
	partition int
	offset    int64
}

func (b *builder) spans(ctx context.Context, topic string, since time.Time) ([]kafkaio.Span, error) {
	limited, cancel := context.WithTimeout(ctx, b.cfg.Patience)
	defer cancel()
	return b.cfg.Kafka.Spans(limited, topic, since)
}

func (b *builder) read(ctx context.Context, spans []kafkaio.Span, add func(*job.Delivery) error) error {
	return kafkaio.ReadSpans(ctx, b.cfg.Kafka, spans, b.cfg.Patience,
		func(_ kafkaio.Span, records []job.Delivery, passed int64) error {
			for i := range records {
				if err := add(&records[i]); err != nil {
					return err
				}
			}
			if b.cfg.Progress != nil {
				b.cfg.Progress(passed)
			}
			return nil
		})
}

func (b *builder) addLetter(d *job.Delivery) error {
	l := Parse(d, b.cfg.Validation)
	record := recordOf(d, &l)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.letters++; b.letters > b.cfg.MaxLetters {
		return fmt.Errorf("%s: %w: there are more than %d", b.cfg.Letters, ErrTooMany, b.cfg.MaxLetters)
	}
	b.slim(&l)
	same := b.first[record]
	switch {
	case same == nil:
		b.first[record] = &l
		b.index.Letters = append(b.index.Letters, &l)
	case compareID(l.ID, same.ID) < 0: // partitions are read side by side
		copies := b.index.copies[same.ID]
		delete(b.index.copies, same.ID)
		b.index.copies[l.ID] = append(copies, same.Place())
		*same = l
	default:
		b.index.copies[same.ID] = append(b.index.copies[same.ID], l.Place())
	}
	return nil
}

// slim leaves out of a letter what an Index does not keep, and bounds the rest.
func (b *builder) slim(l *Letter) {
	l.Message, l.RequestID = "", ""
	for _, text := range []*string{&l.Source.Topic, &l.ErrorCode, &l.ReplayID} {
		*text = b.word(cut(*text, maxWord))
	}
	l.Reason, l.MchID = job.Reason(b.word(cut(string(l.Reason), maxWord))), b.word(l.MchID)
}

// recordOf identifies the job record that a letter is of. Letters are at least once: two of one record
// are one.
func recordOf(d *job.Delivery, l *Letter) [16]byte {
	h := sha256.New()
	var n [8]byte
	number := func(v int64) {
		binary.BigEndian.PutUint64(n[:], uint64(v)) //nolint:gosec // only to be told apart
		h.Write(n[:])
	}
	if l.Source.Topic == "" || l.Source.Partition < 0 || l.Source.Offset < 0 { // not known: each letter is of its own
		number(int64(l.ID.Partition))
		number(l.ID.Offset)
		return [16]byte(h.Sum(nil))
	}
	h.Write([]byte(l.Source.Topic))
	number(int64(l.Source.Partition))
	number(l.Source.Offset)
	if !l.Source.Timestamp.IsZero() {
		number(l.Source.Timestamp.UnixMilli())
	} else { // another topic may have had that name before
		number(int64(len(d.Key)))
		h.Write(d.Key)
		h.Write(d.Value)
	}
	return [16]byte(h.Sum(nil))
}

func (b *builder) word(w string) string {
	if known, found := b.known[w]; found {
		return known
	}
	b.known[w] = w
	return w
}

func (b *builder) addResolution(d *job.Delivery) error {
	id, r, err := parseResolution(d)
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		b.index.Unreadable++
		return nil
	}
	p, found := b.index.place(id)
	if !found || !r.concerns(p) {
		return nil // of a letter that is gone: the topic of resolutions keeps them for ever
	}
	at := position{d.Source.Partition, d.Source.Offset}
	before, known := b.positions[id]
	switch {
	case !known:
	case before.partition == at.partition && before.offset > at.offset:
		return nil
	case before.partition != at.partition && b.index.resolutions[id].At > r.At: // the topic got more partitions
		return nil
	}
	r.Status, r.At, r.LetterTimestamp = Status(b.word(string(r.Status))), cut(r.At, maxWord), "" // it is the letter's
	r.By, r.Note, r.ReplayID = b.word(cut(r.By, maxWord)), b.word(cut(r.Note, maxNote)), b.word(cut(r.ReplayID, maxWord))
	b.positions[id], b.index.resolutions[id] = at, r
	return nil
}

// sort puts the letters in order, after which they can be found.
func (b *builder) sort() {
	slices.SortFunc(b.index.Letters, func(x, y *Letter) int { return compareID(x.ID, y.ID) })
	for first, copies := range b.index.copies {
		for _, p := range copies {
			b.index.copyOf[p.ID] = first
		}
	}
}

func compareID(a, b ID) int {
	return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
}

// Places returns where all letters of the job record stand that l is of, with l's own place first.
func (x *Index) Places(l *Letter) []Place { return append([]Place{l.Place()}, x.copies[l.ID]...) }

// Resolution returns what was done about a letter: the zero value, but StatusOpen, where nothing was.
func (x *Index) Resolution(l *Letter) Resolution {
	for _, p := range x.Places(l) {
		if r, found := x.resolutions[p.ID]; found && r.Status != StatusOpen {
			return r
		}
	}
	return Resolution{Status: StatusOpen}
}

// Find returns the letter with that ID, also where it is a copy of another, and whether there is one.
func (x *Index) Find(id ID) (*Letter, bool) {
	if first, isCopy := x.copyOf[id]; isCopy {
		id = first
	}
	i, found := slices.BinarySearchFunc(x.Letters, id, func(l *Letter, id ID) int { return compareID(l.ID, id) })
	if !found {
		return nil, false
	}
	return x.Letters[i], true
}

// place returns the place of the letter with that ID, and whether there is one.
func (x *Index) place(id ID) (Place, bool) {
	l, found := x.Find(id)
	if !found {
		return Place{}, false
	}
	places := x.Places(l)
	return places[slices.IndexFunc(places, func(p Place) bool { return p.ID == id })], true
}
