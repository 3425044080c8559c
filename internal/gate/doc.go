// Package gate decides which job may call the API now, and on which host.
//
// Slots, the merchant's pace, its hold and the two hosts' breakers are asked together, in one step
// and under one lock, and the answer is a Grant that goes back with the call's result. Asking them
// one after another races: between two of the questions the world changes, a probe is lost or a
// call is made that nobody allowed.
//
// The package does no I/O and starts no goroutine. Time comes with every call.
package gate
