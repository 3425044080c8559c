// Package judge compares what was asked of workers with what became of it: the jobs topic, the
// outcomes, the dead letters, the simulator's ledger, the committed offsets and the claims. It shares
// no code with the worker, so that a mistake in one shows in the other.
package judge
