// Package job holds the words of the trade: the job that producers write, its delivery, and its
// result.
//
// [Decode] turns the value of a record of the jobs topic into a [Job], or says everything that is
// wrong with it. It walks the bytes once, because encoding/json hides duplicate keys, lone
// surrogates and nulls, and because the message must reach the API byte for byte. What the walk
// allows is one table (shape.go); the JSON Schemas that [Schema] returns say the same to programs in
// other languages, as far as JSON Schema can.
//
// The package does no input or output and keeps no state: everything in it is safe for concurrent
// use, a *Job as long as nobody changes it.
package job
