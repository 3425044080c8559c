// Package pace finds out how many calls per second the API takes from a merchant, and shares them
// among all workers. Nobody tells the quota, and nobody tells the workers of each other.
//
// A merchant has no limit until the API refuses a call with 429. From then on each call needs a permit,
// a moment at which it may start, from the schedule that the workers share (a Store, which is Redis).
// The workers report with their asking how their calls were answered; several times a second one of
// them is given the sum and works out, by Learned.Next, the limit that holds for all.
//
// The parts: Learned is what is known of one quota, a value and pure arithmetic. A Pacer is one
// merchant's part of it in this worker: the permits in hand and the answers to report. Pacers asks the
// Store for all of them. Memory is a Store for tests and simulations; the one in Redis is dedupe's.
package pace
