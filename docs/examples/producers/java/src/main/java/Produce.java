import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Puts a reply job on Kafka for each reply on standard input. */
public final class Produce {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);
  private static final PrintStream ERR = new PrintStream(System.err, true, StandardCharsets.UTF_8);

  /** What your system has decided to say. The idempotent_id was made then, once, and is kept with it. */
  private record Reply(String complaint_id, String complainted_mchid, String idempotent_id, String text) {}

  private static byte[] job(Reply reply) throws Exception {
    Map<String, Object> job = new LinkedHashMap<>();
    job.put("complaint_id", reply.complaint_id());
    job.put("complainted_mchid", reply.complainted_mchid());
    job.put("idempotent_id", reply.idempotent_id());
    job.put("message", Map.of(
        "blocks", List.of(Map.of("type", "TEXT", "text", Map.of("text", reply.text()))),
        "sender_identity", "MACHINE"));
    return JSON.writeValueAsBytes(job);
  }

  private static Properties config() {
    Properties p = new Properties();
    p.put(ProducerConfig.BOOTSTRAP_SERVERS_CONFIG, System.getenv().getOrDefault("KAFKA_BROKERS", "127.0.0.1:9092"));
    // These two are the client's defaults since Kafka 3.0. Records with a key are partitioned by murmur2.
    p.put(ProducerConfig.ACKS_CONFIG, "all");
    p.put(ProducerConfig.ENABLE_IDEMPOTENCE_CONFIG, true);
    p.put(ProducerConfig.DELIVERY_TIMEOUT_MS_CONFIG, 30_000);
    p.put(ProducerConfig.REQUEST_TIMEOUT_MS_CONFIG, 10_000);
    p.put(ProducerConfig.MAX_BLOCK_MS_CONFIG, 30_000); // how long send waits for the topic to be known
    return p;
  }

  public static void main(String[] args) throws Exception {
    String topic = System.getenv().getOrDefault("TOPIC_JOBS", "reply-jobs");
    AtomicInteger failed = new AtomicInteger();
    try (var producer = new KafkaProducer<>(config(), new StringSerializer(), new ByteArraySerializer());
        var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8))) {
      for (String line = in.readLine(); line != null; line = in.readLine()) {
        Reply reply = JSON.readValue(line, Reply.class);
        producer.send(new ProducerRecord<>(topic, reply.complaint_id(), job(reply)), (acked, error) -> {
          if (error != null) {
            failed.incrementAndGet();
            ERR.println("not acknowledged: " + reply.idempotent_id() + ": " + error);
          } else {
            OUT.println(acked.partition() + " " + acked.offset() + " " + reply.idempotent_id());
          }
        });
      }
      producer.flush(); // waits for every acknowledgement
    }
    if (failed.get() > 0) {
      ERR.println(failed + " not acknowledged: produce them again, with the same idempotent_id");
      System.exit(1);
    }
  }
}
