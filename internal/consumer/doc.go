// Package consumer reads the job topic as a member of a Kafka consumer group: it fetches, hands each
// record to a session, keeps track of what is finished, and commits.
//
// It uses kafka-go's ConsumerGroup and Generation, whose commits carry the generation, and fetches
// below kafka-go's Reader: the Reader gives out control records and the records of aborted
// transactions, and loses the difference between an empty key and none.
package consumer
