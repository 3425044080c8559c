package gate

import "time"

const (
	// firstPatience is the patience of one who has seen no answer yet.
	firstPatience = time.Second
	// leastPatience is a little more than two processes on busy machines need for each other.
	leastPatience = 50 * time.Millisecond
)

// usual is how long successful calls take: mean and deviation, smoothed as TCP does for its
// retransmissions (RFC 6298, section 2).
type usual struct {
	known           bool
	mean, deviation time.Duration
}

// note takes account of one more. One that takes longer than patience allows twice counts as so long:
// hosts stall before they hang, and it takes several to make slowness usual.
func (u *usual) note(took time.Duration) {
	took = min(took, 2*u.patience())
	if !u.known {
		*u = usual{known: true, mean: took, deviation: took / 2}
		return
	}
	u.deviation += ((u.mean - took).Abs() - u.deviation) / 4
	u.mean += (took - u.mean) / 8
}

func (u *usual) patience() time.Duration {
	if !u.known {
		return firstPatience
	}
	return max(leastPatience, u.mean+4*u.deviation)
}

// Patience is how long a call on a host that is out is worth waiting for while the other one is well:
// as long as a successful call usually takes, with room for the unusual.
func (g *Gate) Patience() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.usual.patience()
}
