// Package reconcile holds the outcomes against the API: each log_id that an outcome has must be in its
// complaint's negotiation history, and each reply in that history should be one that an outcome knows.
//
// It works in two steps. First it reads the outcomes and gathers, by merchant and complaint, the log_ids
// and the jobs that may have been sent without one. What it keeps is bounded by MaxKept; where there is
// more it refuses, for the calls of the second step would take many hours. Then it asks for each
// complaint's history, one after another in the order of their ids, and tells each difference at once.
// It changes nothing anywhere, so it may be ended at any time and run again.
//
// A log_id that the history lacks is always a finding. A reply that no outcome has is one only where an
// outcome would have been read: not where it is older than the outcomes that were read or are still
// kept, or so young that its outcome may not be published yet.
package reconcile
