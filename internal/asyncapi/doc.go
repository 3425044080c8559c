// Package asyncapi describes the topics and messages as AsyncAPI 3.0 does, so that documentation and
// clients can be made of them.
//
// What is said is in document.yaml; the schemas of the values are those of [job.Schema], whose keywords are in
// JSON Schema draft-07, which AsyncAPI takes, and in draft 2020-12 alike; brokers, topics and the group
// are those of the configuration.
package asyncapi
