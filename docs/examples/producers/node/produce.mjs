// Puts a reply job on Kafka for each reply on standard input.
import { createInterface } from 'node:readline'
import { compatibilityPartitioner, ProduceAcks, Producer, stringSerializers } from '@platformatic/kafka'

const topic = process.env.TOPIC_JOBS ?? 'reply-jobs'

// The job of a reply whose idempotent_id was made once, when you decided to say it, and is kept with it.
function job (reply) {
  return {
    complaint_id: reply.complaint_id,
    complainted_mchid: reply.complainted_mchid,
    idempotent_id: reply.idempotent_id,
    message: {
      blocks: [{ type: 'TEXT', text: { text: reply.text } }],
      sender_identity: 'MACHINE'
    }
  }
}

const producer = new Producer({
  clientId: 'replyworker-example',
  bootstrapBrokers: (process.env.KAFKA_BROKERS ?? '127.0.0.1:9092').split(','),
  serializers: stringSerializers,
  // Without this the client takes another number out of murmur2's bits than Java's clients do.
  partitioner: compatibilityPartitioner,
  acks: ProduceAcks.ALL,
  idempotent: true,
  retries: 10, // a second apart; without this an idempotent producer tries for ever
  retryDelay: 1000
})

let failed = 0
for await (const line of createInterface({ input: process.stdin })) {
  const reply = JSON.parse(line)
  try {
    const acked = await producer.send({
      messages: [{ topic, key: reply.complaint_id, value: JSON.stringify(job(reply)) }]
    })
    const [{ partition, offset }] = acked.offsets
    console.log(`${partition} ${offset} ${reply.idempotent_id}`)
  } catch (error) {
    failed++
    const reasons = [error.message, ...(error.errors ?? []).map((inner) => inner.message)]
    console.error(`not acknowledged: ${reply.idempotent_id}: ${reasons.join(': ')}`)
  }
}
await producer.close()
if (failed > 0) {
  console.error(`${failed} not acknowledged: produce them again, with the same idempotent_id`)
  process.exitCode = 1
}
