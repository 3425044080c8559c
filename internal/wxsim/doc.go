// Package wxsim is a simulator of the WeChat Pay API for immediate replies to complaints. It checks
// every call as the API does (headers, signature, time, body), keeps one effect per merchant and
// idempotent_id on both hosts, signs its answers, and misbehaves on request: statuses, hangs,
// resets, wrong signatures, quotas, latency, a host that is down.
//
// It is an independent counterpart of the worker's client: it shares no signing, verifying or
// validating code with it, so that a mistake made there shows here.
//
// The usual way is Generate (or Prepare, which keeps the keys in a directory), New with
// Materials.Config, and Listen. Handler serves one host without sockets of its own. ControlHandler
// is the plain HTTP interface by which people and other programs change faults and read the ledger.
package wxsim
