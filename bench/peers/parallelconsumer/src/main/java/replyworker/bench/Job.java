package replyworker.bench;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;

/** What the peer needs of a reply job, and what it says of it. */
record Job(String complaintId, String complaintedMchId, String idempotentId, JsonNode message) {
  static final ObjectMapper JSON = new ObjectMapper();
  private static final int MAX_MESSAGE = 1024;

  /** Reads a job. It checks only what the call cannot do without; replyworker checks much more. */
  static Job parse(String value) throws PermanentException {
    JsonNode job = read(value);
    if (job == null || !job.isObject()) {
      throw new PermanentException("job: not a JSON object");
    }
    var parsed =
        new Job(text(job, "complaint_id"), text(job, "complainted_mchid"), text(job, "idempotent_id"), job.get("message"));
    if (parsed.complaintId.isEmpty()
        || parsed.complaintedMchId.isEmpty()
        || parsed.idempotentId.isEmpty()
        || parsed.message == null) {
      throw new PermanentException("job: complaint_id, complainted_mchid, idempotent_id and message are needed");
    }
    return parsed;
  }

  /** What the API gets. */
  byte[] body() {
    ObjectNode body = JSON.createObjectNode();
    body.put("complainted_mchid", complaintedMchId);
    body.set("message", message);
    body.put("idempotent_id", idempotentId);
    try {
      return JSON.writeValueAsBytes(body);
    } catch (JsonProcessingException e) {
      throw new IllegalStateException(e); // What was read can be written.
    }
  }

  /** The outcome of a job that the API took. */
  String succeeded(String logId) {
    return outcome(idempotentId, complaintId, "succeeded", logId, "");
  }

  /** The outcome of a job value that became a dead letter. Of a value that cannot be read, the ids are empty. */
  static String failed(String value, String reason) {
    JsonNode job = read(value);
    String message = reason.length() > MAX_MESSAGE ? reason.substring(0, MAX_MESSAGE) : reason;
    return outcome(text(job, "idempotent_id"), text(job, "complaint_id"), "failed", "", message);
  }

  /** The job's id, empty where it cannot be read. */
  static String idempotentId(String value) {
    return text(read(value), "idempotent_id");
  }

  private static JsonNode read(String value) {
    try {
      return value == null ? null : JSON.readTree(value);
    } catch (JsonProcessingException e) {
      return null;
    }
  }

  private static String text(JsonNode object, String name) {
    JsonNode member = object == null ? null : object.get(name);
    return member == null || !member.isTextual() ? "" : member.textValue();
  }

  private static String outcome(String id, String complaint, String status, String logId, String error) {
    return JSON.createObjectNode()
        .put("idempotent_id", id)
        .put("complaint_id", complaint)
        .put("status", status)
        .put("log_id", logId)
        .put("error_message", error)
        .toString();
  }
}
