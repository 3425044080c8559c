package replyworker.bench;

import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** What the peer is started with: the variables that bench/peers/README.md lists. */
record Settings(
    String brokers,
    String topic,
    String group,
    String outcomes,
    String dead,
    String api,
    String mchId,
    String certSerial,
    Path keyFile,
    String answerKeyId,
    Path answerKeyFile,
    int concurrency,
    int attempts,
    Duration retryInitial,
    Duration retryMax) {

  /** Reads the settings, and reports every fault at once. */
  static Settings from(Map<String, String> environment) {
    var r = new Reader(environment);
    var settings =
        new Settings(
            r.text("BENCH_BROKERS"),
            r.text("BENCH_TOPIC"),
            r.text("BENCH_GROUP"),
            r.text("BENCH_OUTCOMES"),
            r.text("BENCH_DEAD"),
            r.text("BENCH_API").replaceFirst("/$", ""),
            r.text("BENCH_MCHID"),
            r.text("BENCH_CERT_SERIAL"),
            Path.of(r.text("BENCH_KEY_FILE")),
            r.text("BENCH_ANSWER_KEY_ID"),
            Path.of(r.text("BENCH_ANSWER_KEY_FILE")),
            r.number("BENCH_CONCURRENCY", 0),
            r.number("BENCH_ATTEMPTS", 8),
            Duration.ofMillis(r.number("BENCH_RETRY_INITIAL_MS", 500)),
            Duration.ofMillis(r.number("BENCH_RETRY_MAX_MS", 60_000)));
    if (!r.faults.isEmpty()) {
      throw new IllegalArgumentException(String.join("\n", r.faults));
    }
    return settings;
  }

  private static final class Reader {
    final Map<String, String> environment;
    final List<String> faults = new ArrayList<>();

    Reader(Map<String, String> environment) {
      this.environment = environment;
    }

    String text(String name) {
      String value = environment.getOrDefault(name, "");
      if (value.isEmpty()) {
        faults.add(name + ": must be set (bench/peers/README.md lists the variables)");
      }
      return value;
    }

    /** Reads a number from 1; otherwise is taken where it is not set, and 0 there means that it must be. */
    int number(String name, int otherwise) {
      String value = environment.getOrDefault(name, "");
      if (value.isEmpty() && otherwise > 0) {
        return otherwise;
      }
      try {
        int n = Integer.parseInt(value);
        if (n > 0) {
          return n;
        }
      } catch (NumberFormatException e) {
        // Reported below, as a number that is too small.
      }
      faults.add(name + "=\"" + value + "\": must be a whole number from 1");
      return 1;
    }
  }
}
