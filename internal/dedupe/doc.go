// Package dedupe keeps in Redis what all workers must agree on: the claim of each job, the holds of
// merchants, and the pace at which a merchant's calls may start.
//
// A claim is one hash per job, `<prefix>:job:{<mchid>:<idempotent_id>}`. It says who is working on the
// job until when, how many attempts have been made, and how the job ended. Every step is one Lua
// script on that one key, so it happens whole or not at all, on a single server, behind Sentinel and
// in Redis Cluster. The scripts are in scripts/, each with its keys, arguments and answers; the fields
// of the hash are listed in scripts/job.lua. A finished claim takes about 280 bytes, plus its details.
//
// Three rules hold whatever happens to workers and connections:
//
//   - A lease has one holder. The holder is known by its token, and whoever lost the claim learns so
//     at its next step (ErrLost) and has to claim again before it says anything about the job.
//   - A job that succeeded stays so, with the log_id first recorded.
//   - One record gets one verdict. What a record was told for good (succeeded, dead, expired, in
//     conflict) is told again to each redelivery of it, also after another record took the key over.
//
// Times are Redis' own, and answers give durations, so workers' clocks do not matter. Every step may
// be repeated with the same arguments: the second time finds its work done and answers as the first.
// That is what makes it safe to retry a call whose answer was lost, which the client does by itself.
//
// Where Redis cannot be reached nothing is decided: the *Error says so, and the job has to wait.
package dedupe
