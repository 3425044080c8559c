package kafkaio

// TailRetry is the pause after a fetch that failed.
const TailRetry = tailRetry
