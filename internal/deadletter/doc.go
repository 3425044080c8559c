// Package deadletter writes and reads dead letters: the records of jobs that will not be sent, byte
// for byte, with what went wrong in their headers. A letter is open until a resolution, in a compacted
// topic of its own, says that it was replayed or discarded.
package deadletter
