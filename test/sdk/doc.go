// Package sdk checks the worker's signing and verifying with WeChat Pay's own Go SDK, which others
// wrote. It is a module of its own, so that the worker does not depend on the SDK. It has tests only.
package sdk
