// Package wxclient makes one call of the WeChat Pay API: the immediate service reply to a complaint,
//
//	POST {host}/v3/merchant-service/complaints-v2/{complaint_id}/response-immediate-service
//
// and two more for people: [Client.UploadImage] and [Client.History]. What is said here of a reply holds
// for them too, with a media_id or a page of entries in the place of the log_id.
//
// It signs, sends, verifies the answer's signature and says what the call's end means. It keeps to
// one request per call: it does not retry, does not wait, follows no redirect and chooses no host.
// Those are the caller's, who reads [Error.Class] and [Error.Sent] for it.
//
// What counts as success is narrow: a 2xx answer (not 202), read to its end, with a good and fresh
// signature of a key that we have, without an error code, and with a log_id. Everything else is an
// [Error] of one of the [Classes]. A 2xx that misses any of it was probably processed, so it is
// [ClassUnknown] and never a refusal: the same request sent again, with the same idempotent_id,
// gets a proper answer. Answers other than 2xx are classified by status without asking for a
// signature, because the API leaves many of them unsigned; a forged one cannot make a reply count
// as taken.
//
// # The connection
//
// HTTP/1.1 only: each call in flight has its own connection, so a connection that breaks takes one
// call with it and not all of them, and "was this request written" has a plain answer. Idle
// connections are dropped after 5 s because the API drops them after 8 s ("Keep-Alive: timeout=8").
// HTTPS_PROXY and NO_PROXY are honoured as by other Go programs; the proxy carries a TLS tunnel and
// sees neither reply nor signature.
//
// net/http re-sends a request by itself when a reused connection turns out to be dead: always for
// requests it deems idempotent, and for others where no byte was written and Request.GetBody can
// make the body again. Here GetBody is nil and the method POST without an Idempotency-Key header, so
// neither happens, but to the GET of a history, which changes nothing. The price is that a connection
// which the server closes at the very moment of reuse ends the call as [ClassHostFailed]; the caller's
// next attempt uses another connection.
//
// # Texts
//
// No error text holds a key, the Authorization header, or the request's body. It may hold the API's
// own code and message, bounded and made printable, as that is what an operator needs.
package wxclient
