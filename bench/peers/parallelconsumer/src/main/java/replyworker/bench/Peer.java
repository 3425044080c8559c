package replyworker.bench;

import io.confluent.parallelconsumer.PCRetriableException;
import io.confluent.parallelconsumer.ParallelConsumerOptions;
import io.confluent.parallelconsumer.ParallelConsumerOptions.ProcessingOrder;
import io.confluent.parallelconsumer.ParallelEoSStreamProcessor;
import io.confluent.parallelconsumer.ParallelStreamProcessor;
import io.confluent.parallelconsumer.PollContext;
import io.confluent.parallelconsumer.RecordContext;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ThreadLocalRandom;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Reply jobs through Confluent's parallel consumer: key order, one thread for each call under way, and the
 * produce flow, in which a job counts as done once Kafka has its outcome.
 */
public final class Peer {
  private static final Duration WATCH = Duration.ofMillis(200);

  private final Settings settings;
  private final SignedCall call;

  private Peer(Settings settings, SignedCall call) {
    this.settings = settings;
    this.call = call;
  }

  /** Runs until SIGTERM, or until the parallel consumer fails. */
  public static void main(String[] args) throws Exception {
    Settings settings;
    try {
      settings = Settings.from(System.getenv());
    } catch (IllegalArgumentException e) {
      System.err.println("parallelconsumer: " + e.getMessage());
      System.exit(1);
      return;
    }
    var peer = new Peer(settings, new SignedCall(settings));
    ParallelStreamProcessor<String, String> processor = ParallelStreamProcessor.createEosStreamProcessor(peer.options());
    processor.subscribe(List.of(settings.topic()));
    Runtime.getRuntime().addShutdownHook(new Thread(processor::close, "shutdown"));
    processor.pollAndProduceMany(peer::reply);
    while (!((ParallelEoSStreamProcessor<String, String>) processor).isClosedOrFailed()) {
      Thread.sleep(WATCH.toMillis());
    }
    System.err.println("parallelconsumer: it has closed");
    System.exit(1);
  }

  private ParallelConsumerOptions<String, String> options() {
    return ParallelConsumerOptions.<String, String>builder()
        .ordering(ProcessingOrder.KEY)
        .maxConcurrency(settings.concurrency())
        .consumer(consumer())
        .producer(producer())
        .retryDelayProvider(this::delay)
        .build();
  }

  /** The same exponential waits as of the other peers, spread by half. */
  private Duration delay(RecordContext<String, String> record) {
    int doublings = Math.min(record.getNumberOfFailedAttempts() - 1, 30);
    long wait = Math.min(settings.retryInitial().toMillis() << Math.max(doublings, 0), settings.retryMax().toMillis());
    return Duration.ofMillis((long) (wait * ThreadLocalRandom.current().nextDouble(0.5, 1.5)));
  }

  /** One attempt of one job. */
  private List<ProducerRecord<String, String>> reply(PollContext<String, String> context) {
    RecordContext<String, String> record = context.getSingleRecord();
    String value = record.value();
    try {
      Job job = Job.parse(value);
      return List.of(new ProducerRecord<>(settings.outcomes(), job.idempotentId(), job.succeeded(call.send(job))));
    } catch (PermanentException e) {
      return dead(record.getConsumerRecord(), e.getMessage());
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new PCRetriableException(e);
    } catch (Exception e) {
      if (record.getNumberOfFailedAttempts() + 1 < settings.attempts()) {
        throw new PCRetriableException(e);
      }
      return dead(record.getConsumerRecord(), String.valueOf(e.getMessage()));
    }
  }

  private List<ProducerRecord<String, String>> dead(ConsumerRecord<String, String> job, String reason) {
    return List.of(
        new ProducerRecord<>(settings.dead(), job.key(), job.value()),
        new ProducerRecord<>(settings.outcomes(), Job.idempotentId(job.value()), Job.failed(job.value(), reason)));
  }

  private Consumer<String, String> consumer() {
    return new KafkaConsumer<>(
        Map.of(
            ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, settings.brokers(),
            ConsumerConfig.GROUP_ID_CONFIG, settings.group(),
            ConsumerConfig.ENABLE_AUTO_COMMIT_CONFIG, false,
            ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest"),
        new StringDeserializer(),
        new StringDeserializer());
  }

  private Producer<String, String> producer() {
    return new KafkaProducer<>(
        Map.of(ProducerConfig.BOOTSTRAP_SERVERS_CONFIG, settings.brokers()), new StringSerializer(), new StringSerializer());
  }
}
