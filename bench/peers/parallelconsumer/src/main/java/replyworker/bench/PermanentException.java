package replyworker.bench;

/** A job that no further call can help. */
final class PermanentException extends Exception {
  private static final long serialVersionUID = 1;

  PermanentException(String message) {
    super(message);
  }
}
