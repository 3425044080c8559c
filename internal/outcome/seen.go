package outcome

import "hash/maphash"

// Seen remembers the ids that it has been shown, the last Limit of them at least and twice as many at
// most, as hashes of 64 bits: a new id is taken for one that was seen with a probability of Limit * 2 in
// 2^64. It takes some 20 bytes for each.
type Seen struct {
	limit       int
	seed        maphash.Seed
	young, aged map[uint64]struct{} // aged goes when young is full
}

// NewSeen makes a Seen that remembers the last limit ids.
func NewSeen(limit int) *Seen {
	return &Seen{limit: limit, seed: maphash.MakeSeed(), young: map[uint64]struct{}{}}
}

// Add shows it an id, and says whether it is new.
func (s *Seen) Add(id string) bool {
	h := maphash.String(s.seed, id)
	if _, found := s.young[h]; found {
		return false
	}
	_, found := s.aged[h]
	if len(s.young) >= s.limit {
		s.young, s.aged = map[uint64]struct{}{}, s.young
	}
	s.young[h] = struct{}{}
	return !found
}
