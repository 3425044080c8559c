// Package peers builds and starts the programs that replyworker is compared with, and checks that each does
// the client work that it is compared for. README.md says what they are.
package peers
