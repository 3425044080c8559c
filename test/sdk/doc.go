// Package sdk checks the worker with programs that others wrote: its signing and verifying with WeChat
// Pay's own Go SDK, and its outcomes with that of CloudEvents, as it reads records of Kafka. It is a module
// of its own, so that the worker does not depend on them. It has tests only.
package sdk
