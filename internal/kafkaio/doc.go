// Package kafkaio is the way to Kafka for everything but the consumer group: connections, topics
// and publishing. With package consumer it is the home of the kafka-go client.
package kafkaio
