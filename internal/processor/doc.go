// Package processor is one job's life: decode, claim, call, wait and call again, settle.
//
// A job's life is a chain of steps (see package schedule). A step begins with the gate's leave to
// call, claims the job, calls, and either settles it or parks it until its next try. Between steps a
// job holds nothing but its place in its lane: what must be remembered is in its claim.
//
// What is settled is settled in this order: the claim first, then the dead letter, then the outcome,
// then the note in the claim that the outcome is published, and last the offset. A crash between any
// two of them repeats what came before, and changes nothing.
package processor
