package replay

// Verdict is what would become of a letter that is replayed.
type Verdict string

// The verdicts. Those up to Forgotten are sent.
const (
	// WillBeSent: the API will be called.
	WillBeSent Verdict = "will_be_sent"
	// AlreadySucceeded: its claim knows the log_id; it is answered as a duplicate.
	AlreadySucceeded Verdict = "already_succeeded"
	// MaybeSent: an attempt had no clear answer. The API takes each idempotent id once.
	MaybeSent Verdict = "maybe_sent"
	// Forgotten: its claim is not kept any more, and nothing tells that it may have been sent.
	Forgotten Verdict = "claim_forgotten"

	// ForgottenMaybeSent: its claim is not kept any more, and it may have been sent; only the API's own
	// memory stands between it and a second effect.
	ForgottenMaybeSent Verdict = "claim_forgotten_maybe_sent"
	// Superseded: a later reply to the complaint succeeded.
	Superseded Verdict = "superseded"
	// UnderWay: another record of the job is being worked on.
	UnderWay Verdict = "under_way"
	// Conflict: the idempotent id belongs to other content; it would fail again.
	Conflict Verdict = "conflict"
	// Expired: its expires_at has passed; it would not be sent.
	Expired Verdict = "expired"
	// Unreadable: it is no valid job; it would fail again.
	Unreadable Verdict = "unreadable"
	// TooOften: it has been replayed before, as often as is allowed.
	TooOften Verdict = "replayed_too_often"
	// Replayed: the letter is not open any more.
	Replayed Verdict = "replayed"
	// Elsewhere: it came from a topic that is none of the jobs topics.
	Elsewhere Verdict = "elsewhere"
)

// Verdicts lists every verdict, those that are sent first.
func Verdicts() []Verdict {
	return []Verdict{
		WillBeSent, AlreadySucceeded, MaybeSent, Forgotten, ForgottenMaybeSent, Superseded, UnderWay, Conflict, Expired,
		Unreadable, TooOften, Replayed, Elsewhere,
	}
}

// meanings are for people: what it means, and what to do about those that are left out.
var meanings = map[Verdict]string{
	WillBeSent:         "will be sent",
	AlreadySucceeded:   "already succeeded: answered as a duplicate, with the first log_id",
	MaybeSent:          "may have been sent before: sent under the same id, which the API takes once",
	Forgotten:          "claim forgotten, and nothing tells that it was sent: will be sent",
	ForgottenMaybeSent: "claim forgotten, and it may have been sent: ask `worker history`, then --include-forgotten",
	Superseded:         "superseded by a later reply to the complaint: --include-superseded",
	UnderWay:           "under way: another record of the job is being worked on",
	Conflict:           "its id belongs to other content: --edit sends it under another",
	Expired:            "expired: `worker dlq discard`, or --edit",
	Unreadable:         "not a valid job: --edit mends it",
	TooOften:           "replayed too often: --max-replays",
	Replayed:           "replayed already",
	Elsewhere:          "came from a topic that is none of the jobs topics here",
}

// Meaning says for people what the verdict means.
func (v Verdict) Meaning() string { return meanings[v] }
