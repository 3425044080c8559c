package replyworker.bench;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpHeaders;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.PrivateKey;
import java.security.PublicKey;
import java.security.SecureRandom;
import java.security.Signature;
import java.security.spec.PKCS8EncodedKeySpec;
import java.security.spec.X509EncodedKeySpec;
import java.time.Duration;
import java.time.Instant;
import java.util.Base64;
import java.util.HexFormat;

/** Sends a reply in one signed call and verifies the signed answer. Safe for concurrent use. */
final class SignedCall {
  private static final Duration TIMEOUT = Duration.ofSeconds(10);
  private static final int NONCE_BYTES = 16;
  private static final long MAX_SKEW_SECONDS = 300; // The API's five-minute rule.

  private final Settings settings;
  private final PrivateKey key;
  private final PublicKey answerKey;
  private final SecureRandom random = new SecureRandom();
  private final HttpClient http =
      HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).connectTimeout(TIMEOUT).build();

  SignedCall(Settings settings) throws IOException, GeneralSecurityException {
    this.settings = settings;
    var rsa = KeyFactory.getInstance("RSA");
    this.key = rsa.generatePrivate(new PKCS8EncodedKeySpec(pem(settings.keyFile())));
    this.answerKey = rsa.generatePublic(new X509EncodedKeySpec(pem(settings.answerKeyFile())));
  }

  /**
   * Returns the log_id of the verified answer.
   *
   * @throws PermanentException where no repeat can help
   * @throws IOException where the call failed and a repeat may help
   */
  String send(Job job) throws PermanentException, IOException, InterruptedException, GeneralSecurityException {
    byte[] body = job.body();
    String path = "/v3/merchant-service/complaints-v2/" + segment(job.complaintId()) + "/response-immediate-service";
    HttpRequest request =
        HttpRequest.newBuilder(URI.create(settings.api() + path))
            .timeout(TIMEOUT)
            .header("Accept", "application/json")
            .header("Authorization", authorization("POST", path, body))
            .header("Content-Type", "application/json")
            .header("User-Agent", "replyworker-bench-peer")
            .header("Wechatpay-Serial", settings.answerKeyId())
            .POST(HttpRequest.BodyPublishers.ofByteArray(body))
            .build();
    HttpResponse<byte[]> answer = http.send(request, HttpResponse.BodyHandlers.ofByteArray());
    if (answer.statusCode() != 200) {
      String said = "HTTP " + answer.statusCode() + ": " + new String(answer.body(), StandardCharsets.UTF_8);
      said = said.substring(0, Math.min(said.length(), 200));
      if (isRefusal(answer.statusCode())) {
        throw new PermanentException(said);
      }
      throw new IOException(said);
    }
    verify(answer.headers(), answer.body());
    JsonNode logId = Job.JSON.readTree(answer.body()).get("log_id");
    if (logId == null || logId.asText().isEmpty()) {
      throw new IOException("answer has no log_id");
    }
    return logId.asText();
  }

  /** A signature over method, path, timestamp, nonce and body, each ended by a line feed. */
  private String authorization(String method, String path, byte[] body) throws GeneralSecurityException {
    byte[] seed = new byte[NONCE_BYTES];
    random.nextBytes(seed);
    String nonce = HexFormat.of().formatHex(seed);
    long timestamp = Instant.now().getEpochSecond();
    var signer = Signature.getInstance("SHA256withRSA");
    signer.initSign(key);
    signer.update(lines(body, method, path, Long.toString(timestamp), nonce));
    return "WECHATPAY2-SHA256-RSA2048 mchid=\"%s\",nonce_str=\"%s\",timestamp=\"%d\",serial_no=\"%s\",signature=\"%s\""
        .formatted(
            settings.mchId(), nonce, timestamp, settings.certSerial(), Base64.getEncoder().encodeToString(signer.sign()));
  }

  /** Checks an answer's signature over timestamp, nonce and body, each ended by a line feed. */
  private void verify(HttpHeaders headers, byte[] body) throws IOException, GeneralSecurityException {
    String id = header(headers, "Wechatpay-Serial");
    if (!id.equals(settings.answerKeyId())) {
      throw new IOException("answer signed with key " + id + ", want " + settings.answerKeyId());
    }
    String timestamp = header(headers, "Wechatpay-Timestamp");
    if (!isNow(timestamp)) {
      throw new IOException("answer's timestamp \"" + timestamp + "\" is not within 5 minutes of our clock");
    }
    var verifier = Signature.getInstance("SHA256withRSA");
    verifier.initVerify(answerKey);
    verifier.update(lines(body, timestamp, header(headers, "Wechatpay-Nonce")));
    boolean good;
    try {
      good = verifier.verify(Base64.getDecoder().decode(header(headers, "Wechatpay-Signature")));
    } catch (IllegalArgumentException e) {
      throw new IOException("answer's signature is not base64", e);
    }
    if (!good) {
      throw new IOException("answer's signature is wrong");
    }
  }

  private static boolean isNow(String timestamp) {
    try {
      return Math.abs(Long.parseLong(timestamp) - Instant.now().getEpochSecond()) < MAX_SKEW_SECONDS;
    } catch (NumberFormatException e) {
      return false;
    }
  }

  private static boolean isRefusal(int status) {
    return status >= 400 && status < 500 && status != 408 && status != 425 && status != 429;
  }

  private static String header(HttpHeaders headers, String name) {
    return headers.firstValue(name).orElse("");
  }

  private static byte[] lines(byte[] last, String... first) {
    var out = new ByteArrayOutputStream(last.length + 256);
    out.writeBytes((String.join("\n", first) + "\n").getBytes(StandardCharsets.UTF_8));
    out.writeBytes(last);
    out.write('\n');
    return out.toByteArray();
  }

  private static String segment(String text) {
    return URLEncoder.encode(text, StandardCharsets.UTF_8).replace("+", "%20");
  }

  private static byte[] pem(Path file) throws IOException {
    String text = Files.readString(file);
    return Base64.getMimeDecoder().decode(text.replaceAll("-----[A-Z ]+-----", ""));
  }
}
