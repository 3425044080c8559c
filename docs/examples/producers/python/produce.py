"""Puts a reply job on Kafka for each reply on standard input."""

import json
import os
import sys

from confluent_kafka import Producer

CONFIG = {
    "bootstrap.servers": os.environ.get("KAFKA_BROKERS", "127.0.0.1:9092"),
    # Without this the client partitions by CRC32, and every other one by murmur2.
    "partitioner": "murmur2_random",
    "enable.idempotence": True,  # and so acks=all
    "delivery.timeout.ms": 30_000,
}
TOPIC = os.environ.get("TOPIC_JOBS", "reply-jobs")


def job(reply):
    """The job of a reply whose idempotent_id was made once, when you decided to say it, and is kept with it."""
    return {
        "complaint_id": reply["complaint_id"],
        "complainted_mchid": reply["complainted_mchid"],
        "idempotent_id": reply["idempotent_id"],
        "message": {
            "blocks": [{"type": "TEXT", "text": {"text": reply["text"]}}],
            "sender_identity": "MACHINE",
        },
    }


def main():
    producer = Producer(CONFIG)
    failed = 0

    def produce(reply):
        def done(error, acked):
            nonlocal failed
            if error is not None:
                failed += 1
                print(f"not acknowledged: {reply['idempotent_id']}: {error}", file=sys.stderr)
            else:
                print(acked.partition(), acked.offset(), reply["idempotent_id"])

        value = json.dumps(job(reply), ensure_ascii=False).encode()
        while True:
            try:
                producer.produce(TOPIC, key=reply["complaint_id"].encode(), value=value, on_delivery=done)
                return
            except BufferError:  # the queue is full: let some be acknowledged
                producer.poll(1)

    for line in sys.stdin.buffer:
        produce(json.loads(line))
        producer.poll(0)  # calls done for what is acknowledged meanwhile
    producer.flush()  # waits for every acknowledgement, delivery.timeout.ms at most
    if failed:
        sys.exit(f"{failed} not acknowledged: produce them again, with the same idempotent_id")


if __name__ == "__main__":
    main()
