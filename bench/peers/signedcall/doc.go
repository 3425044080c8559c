// Package signedcall is the work that a peer does for one reply job: it reads the job, signs the call to
// the API, sends it, verifies the signed answer, and writes the outcome. The Go peers share it, so that what
// differs between them is what they are measured for: how they consume, retry, deduplicate and publish.
//
// It is plain net/http and crypto/rsa on purpose, as a user of those libraries would write it, and shares no
// code with replyworker.
package signedcall
