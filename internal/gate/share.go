package gate

// spareShare says which part of the slots is kept for merchants that have not their equal share: one of
// so many. With fewest slots or less there are none to spare.
const (
	spareShare  = 16
	fewestSlots = 8
)

// spare is how many of the last free slots go only to merchants that have less than an equal share. So
// one whose calls are slow cannot take every slot, and another's job has one at once. While the jobs of
// only one merchant have come here nothing is kept.
func (g *Gate) spare() int {
	if g.cfg.Concurrency < fewestSlots || g.askers < 2 {
		return 0
	}
	return max(1, g.cfg.Concurrency/spareShare)
}

// share is an equal share of the slots among the merchants whose jobs have come here.
func (g *Gate) share() int { return max(1, g.cfg.Concurrency/max(1, g.askers)) }

// Forget drops what is known of a merchant that is not configured any more, its pace too. Calls of it that
// are out come back as others do, and what they tell is forgotten with it.
func (g *Gate) Forget(mchid string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if m := g.merchants[mchid]; m != nil && m.asked {
		g.askers--
	}
	delete(g.merchants, mchid)
	g.Wake()
}
