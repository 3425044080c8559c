package wxsim

import "encoding/json"

// bodyOverhead is about what a body that is kept takes besides its bytes.
const bodyOverhead = 64

// bodies keeps the bodies of the latest effects, by sequence, up to a number of bytes. The ledger locks
// it. Most runs make very many effects and look at no history: a body is kept as it came, and read only
// when it is asked for.
type bodies struct {
	limit, size int
	oldest      int64
	bySequence  map[int64][]byte
}

func newBodies(limit int) *bodies {
	return &bodies{limit: limit, oldest: 1, bySequence: map[int64][]byte{}}
}

// keep takes the body of the latest effect over.
func (b *bodies) keep(sequence int64, body []byte) {
	b.bySequence[sequence] = body
	b.size += cap(body) + bodyOverhead
	for ; b.size > b.limit && b.oldest <= sequence; b.oldest++ {
		b.size -= cap(b.bySequence[b.oldest]) + bodyOverhead
		delete(b.bySequence, b.oldest)
	}
}

// message returns the message of an effect, nil where it is not kept any more.
func (b *bodies) message(sequence int64) json.RawMessage {
	var reply struct {
		Message json.RawMessage `json:"message"`
	}
	if json.Unmarshal(b.bySequence[sequence], &reply) != nil {
		return nil
	}
	return reply.Message
}
