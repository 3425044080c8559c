//go:build linux

package main

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// Kind is one way of making trouble.
type Kind string

// Lane is what a kind happens to. Steps of one lane follow each other; lanes run side by side.
type Lane string

// The lanes.
const (
	Workers Lane = "workers"
	Brokers Lane = "brokers"
	Redis   Lane = "redis"
	Network Lane = "network"
	API     Lane = "api"
)

// The kinds of trouble.
const (
	WorkerKill  Kind = "worker: kill -9"
	WorkerPause Kind = "worker: SIGSTOP beyond session timeout and lease"
	WorkerTerm  Kind = "worker: SIGTERM, started again"

	BrokerKill Kind = "broker: kill -9"
	BrokerStop Kind = "broker: restart"
	BrokerFull Kind = "broker: its disk takes no more"

	RedisFlush    Kind = "redis: FLUSHALL"
	RedisFailover Kind = "redis: Sentinel fails over"
	RedisKill     Kind = "redis: the master is killed"
	RedisStop     Kind = "redis: the master restarts"

	CutKafka   Kind = "network: Kafka cut"
	StallKafka Kind = "network: Kafka silent"
	SlowKafka  Kind = "network: Kafka slow"
	CutRedis   Kind = "network: Redis cut"
	StallRedis Kind = "network: Redis silent"
	SlowRedis  Kind = "network: Redis slow"
	CutAPI     Kind = "network: API cut"
	StallAPI   Kind = "network: API silent"
	SlowAPI    Kind = "network: API slow"

	PrimaryDown   Kind = "api: primary refuses"
	BackupDown    Kind = "api: backup refuses"
	BothDown      Kind = "api: both hosts refuse"
	PrimaryHangs  Kind = "api: primary hangs"
	BothHang      Kind = "api: both hosts hang"
	BadGateway    Kind = "api: 502, 503 and 504"
	ServerError   Kind = "api: 500 for a third of the calls"
	TooMany       Kind = "api: 429 for a fifth of the calls"
	Quota         Kind = "api: a quota of 60 calls a second"
	Unauthorized  Kind = "api: 401"
	Forbidden     Kind = "api: 403"
	AnswersLost   Kind = "api: a third of the answers lost after the effect"
	AnswersCut    Kind = "api: a third of the answers cut off"
	BadSignature  Kind = "api: a third of the signatures wrong, missing or stale"
	UnknownKey    Kind = "api: answers signed with a key that nobody has"
	StrangeBodies Kind = "api: bodies without log_id, of garbage, huge or slow"
)

// trouble says how often a kind is drawn in its lane, and how long it lasts.
type trouble struct {
	kind     Kind
	lane     Lane
	weight   int
	from, to time.Duration
}

func troubles() []trouble {
	const s = time.Second
	return []trouble{
		{WorkerKill, Workers, 3, s / 2, 5 * s},
		{WorkerPause, Workers, 1, 9 * s, 13 * s},
		{WorkerTerm, Workers, 1, s / 2, 3 * s},

		{BrokerKill, Brokers, 2, s, 6 * s},
		{BrokerStop, Brokers, 1, 0, s},
		{BrokerFull, Brokers, 1, s, 3 * s},

		{RedisFlush, Redis, 2, 0, 0},
		{RedisFailover, Redis, 1, 0, 0},
		{RedisKill, Redis, 1, 5 * s, 8 * s},
		{RedisStop, Redis, 1, 0, 0},

		{CutKafka, Network, 1, 0, 2 * s},
		{StallKafka, Network, 1, s, 8 * s},
		{SlowKafka, Network, 1, 3 * s, 8 * s},
		{CutRedis, Network, 1, 0, 3 * s},
		{StallRedis, Network, 1, s, 8 * s},
		{SlowRedis, Network, 1, 3 * s, 8 * s},
		{CutAPI, Network, 1, 0, 3 * s},
		{StallAPI, Network, 1, s, 5 * s},
		{SlowAPI, Network, 1, 3 * s, 8 * s},

		{PrimaryDown, API, 1, 2 * s, 6 * s},
		{BackupDown, API, 1, 2 * s, 6 * s},
		{BothDown, API, 1, 2 * s, 5 * s},
		{PrimaryHangs, API, 1, 2 * s, 6 * s},
		{BothHang, API, 1, 2 * s, 5 * s},
		{BadGateway, API, 1, 2 * s, 5 * s},
		{ServerError, API, 1, 2 * s, 5 * s},
		{TooMany, API, 1, 2 * s, 6 * s},
		{Quota, API, 1, 3 * s, 8 * s},
		{Unauthorized, API, 1, s, 3 * s},
		{Forbidden, API, 1, s, 3 * s},
		{AnswersLost, API, 2, 2 * s, 6 * s},
		{AnswersCut, API, 1, 2 * s, 5 * s},
		{BadSignature, API, 1, 2 * s, 5 * s},
		{UnknownKey, API, 1, s / 2, s},
		{StrangeBodies, API, 1, 2 * s, 5 * s},
	}
}

// gaps is the longest pause between two steps of a lane; the shortest is a quarter of it.
var gaps = map[Lane]time.Duration{
	Workers: 8 * time.Second, Brokers: 30 * time.Second, Redis: 25 * time.Second, Network: 10 * time.Second, API: 3 * time.Second,
}

// Step is one trouble of a plan.
type Step struct {
	At   time.Duration // From the start of the load.
	For  time.Duration
	Kind Kind
	Lane Lane
	Draw uint64 // Decides the rest: which worker, which broker, which odd answer.
}

func (s Step) String() string {
	return fmt.Sprintf("%7.1fs  %-55s for %4.1fs  %d", s.At.Seconds(), s.Kind, s.For.Seconds(), s.Draw)
}

// MakePlan makes the schedule of a seed: the same for the same seed and length. In each lane the
// kinds come up as often as their weights say, each at least once before any comes round again.
func MakePlan(seed uint64, length time.Duration) []Step {
	var plan []Step
	for i, lane := range []Lane{Workers, Brokers, Redis, Network, API} {
		dice := rand.New(rand.NewPCG(seed, uint64(i))) //nolint:gosec // A schedule, not a secret.
		plan = append(plan, layLane(dice, lane, length)...)
	}
	slices.SortStableFunc(plan, func(a, b Step) int { return cmp.Compare(a.At, b.At) })
	return plan
}

func layLane(dice *rand.Rand, lane Lane, length time.Duration) []Step {
	var plan []Step
	var deck []trouble
	for at := between(dice, 0, gaps[lane]); ; {
		if len(deck) == 0 {
			deck = newDeck(dice, lane)
		}
		t := deck[0]
		deck = deck[1:]
		step := Step{At: at, For: between(dice, t.from, t.to), Kind: t.kind, Lane: lane, Draw: dice.Uint64N(1 << 32)}
		if step.At+step.For > length {
			return plan
		}
		plan = append(plan, step)
		at += step.For + between(dice, gaps[lane]/4, gaps[lane])
	}
}

// newDeck is a lane's kinds in random order: first each once, then the rest of its weight.
func newDeck(dice *rand.Rand, lane Lane) []trouble {
	var once, more []trouble
	for _, t := range troubles() {
		if t.lane != lane {
			continue
		}
		once = append(once, t)
		for range t.weight - 1 {
			more = append(more, t)
		}
	}
	shuffle := func(deck []trouble) {
		dice.Shuffle(len(deck), func(i, j int) { deck[i], deck[j] = deck[j], deck[i] })
	}
	shuffle(once)
	shuffle(more)
	return append(once, more...)
}

func between(dice *rand.Rand, from, to time.Duration) time.Duration {
	if to <= from {
		return from
	}
	return from + time.Duration(dice.Int64N(int64(to-from))).Round(time.Millisecond)
}
