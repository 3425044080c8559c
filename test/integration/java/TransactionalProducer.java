import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.Future;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.errors.InvalidProducerEpochException;
import org.apache.kafka.common.errors.ProducerFencedException;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.common.utils.Utils;

/**
 * Produces reply jobs in transactions, as a partner's Java system may: committed and aborted ones among
 * each other, one that is left open until another producer of the same transactional id fences it off,
 * and control records at the end of every partition.
 *
 * <p>Arguments: bootstrap servers, topic, number of its partitions. It prints a line for each job when
 * its transaction is over: fate (committed, aborted or fenced), partition, offset, complaint id and
 * idempotent id, with tabs between them. While the transaction is left open it prints "open" and waits
 * for a line on standard input.
 */
public final class TransactionalProducer {
  private static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);

  private final String brokers;
  private final String topic;
  private final int partitions;
  private int made;

  private TransactionalProducer(String brokers, String topic, int partitions) {
    this.brokers = brokers;
    this.topic = topic;
    this.partitions = partitions;
  }

  /** A job that was sent, and where it went. */
  private record Sent(String complaint, String id, Future<RecordMetadata> where) {}

  /** A producer and the jobs of its present transaction. */
  private final class Party implements AutoCloseable {
    private final KafkaProducer<String, String> producer;
    private final List<Sent> open = new ArrayList<>();

    Party(String transactionalId, String compression) {
      Properties p = new Properties();
      p.put(ProducerConfig.BOOTSTRAP_SERVERS_CONFIG, brokers);
      p.put(ProducerConfig.TRANSACTIONAL_ID_CONFIG, topic + "-" + transactionalId);
      p.put(ProducerConfig.COMPRESSION_TYPE_CONFIG, compression);
      p.put(ProducerConfig.LINGER_MS_CONFIG, 2);
      p.put(ProducerConfig.BATCH_SIZE_CONFIG, 2000); // many batches to a transaction
      producer = new KafkaProducer<>(p, new StringSerializer(), new StringSerializer());
      producer.initTransactions();
    }

    void begin() {
      producer.beginTransaction();
      open.clear();
    }

    /** Sends the next job, for a complaint that the number stands for. */
    void send() {
      send(complaint(made));
    }

    void send(String complaint) {
      String id = "java-" + made++;
      String value = "{\"complaint_id\":\"" + complaint + "\",\"complainted_mchid\":\"1900012181\",\"idempotent_id\":\""
          + id + "\",\"message\":{\"blocks\":[{\"type\":\"TEXT\",\"text\":{\"text\":\"reply " + id + "\"}}]}}";
      open.add(new Sent(complaint, id, producer.send(new ProducerRecord<>(topic, complaint, value))));
    }

    void send(int jobs) {
      for (int i = 0; i < jobs; i++) {
        send();
      }
      producer.flush();
    }

    void commit() throws Exception {
      producer.commitTransaction();
      tell("committed");
    }

    void abort() throws Exception {
      producer.flush(); // else what was not sent yet is dropped, and there is nothing to abort
      producer.abortTransaction();
      tell("aborted");
    }

    void tell(String fate) throws Exception {
      for (Sent s : open) {
        RecordMetadata where = s.where.get();
        OUT.println(String.join("\t", fate, "" + where.partition(), "" + where.offset(), s.complaint, s.id));
      }
    }

    @Override
    public void close() {
      producer.close();
    }
  }

  /** Complaint ids of every length, some beyond ASCII: keys are hashed by their bytes. */
  private static String complaint(int n) {
    String name = "complaint-" + "x".repeat(n % 5) + n % 97;
    return n % 7 == 0 ? "\u6295\u8bc9\u00e9" + name : name;
  }

  /** A complaint whose key belongs into a partition. */
  private String complaintOf(int partition) {
    for (int n = 0; ; n++) {
      String name = "last-" + n;
      byte[] key = name.getBytes(StandardCharsets.UTF_8);
      if (Utils.toPositive(Utils.murmur2(key)) % partitions == partition) {
        return name;
      }
    }
  }

  private void run() throws Exception {
    try (Party first = new Party("first", "none"); Party second = new Party("second", "lz4")) {
      among(first, second);
      leftOpen(first);
      ends(second);
    }
  }

  /** Transactions whose records lie between each other's, with every pair of fates. */
  private void among(Party first, Party second) throws Exception {
    for (int fates = 0; fates < 8; fates++) {
      first.begin();
      second.begin();
      for (int i = 0; i < 5; i++) {
        first.send(8);
        second.send(8);
      }
      if (fates < 4) {
        finish(first, fates % 2 == 0);
        second.send(8);
        finish(second, fates / 2 == 0);
      } else {
        finish(second, fates % 2 == 0);
        first.send(8);
        finish(first, fates / 2 % 2 == 0);
      }
    }
  }

  private static void finish(Party p, boolean commit) throws Exception {
    if (commit) {
      p.commit();
    } else {
      p.abort();
    }
  }

  /** A transaction that its producer never ends, and others behind it. */
  private void leftOpen(Party other) throws Exception {
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    try (Party left = new Party("left", "zstd")) {
      left.begin();
      for (int p = 0; p < partitions; p++) {
        left.send(complaintOf(p));
      }
      left.send(30);
      other.begin();
      other.send(60);
      other.commit();
      OUT.println("open");
      in.readLine();
      try (Party successor = new Party("left", "snappy")) {
        left.tell("fenced");
        try {
          left.producer.commitTransaction();
          throw new IllegalStateException("a fenced producer could commit");
        } catch (ProducerFencedException | InvalidProducerEpochException expected) {
          // So it must be.
        } catch (KafkaException e) {
          if (!(e.getCause() instanceof ProducerFencedException)
              && !(e.getCause() instanceof InvalidProducerEpochException)) {
            throw e;
          }
        }
        successor.begin();
        successor.send(30);
        successor.commit();
      }
    }
  }

  /** The last job of each partition: committed in those of even numbers, aborted in the others. */
  private void ends(Party p) throws Exception {
    for (int odd = 0; odd < 2; odd++) {
      p.begin();
      for (int partition = odd; partition < partitions; partition += 2) {
        p.send(complaintOf(partition));
      }
      finish(p, odd == 0);
    }
  }

  public static void main(String[] args) throws Exception {
    new TransactionalProducer(args[0], args[1], Integer.parseInt(args[2])).run();
  }
}
