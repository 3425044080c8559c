// Package replay sends jobs of dead letters again: it plans what would become of each, and then does
// so in bounded steps that an interruption cannot tear apart.
//
// One replay runs at a time, held by a lock that ends by itself. Each job is sent between two
// resolutions, "replaying" and "replayed". A process that dies between them leaves letters of which it
// is not known whether their jobs were sent; they stay open, and the next replay sends them again. The
// claim of the job answers the second one as a duplicate.
package replay
