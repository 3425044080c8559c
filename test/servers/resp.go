package servers

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// dialer asks a Redis one question per connection, in the protocol RESP2.
type dialer struct {
	addr     string
	password string      // "" for none
	tls      *tls.Config // nil for none
}

// do sends one command and returns the answer as Redis.Do does. Without a deadline in ctx it waits for
// askTimeout.
func (d *dialer) do(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	conn, err := d.connect(ctx)
	if err != nil {
		return "", fmt.Errorf("connect: %w", err)
	}
	defer conn.Close() //nolint:errcheck // the answer has been read
	// A cancelled context ends what is being read.
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })() //nolint:errcheck // it is closed then
	in := bufio.NewReader(conn)
	if d.password != "" {
		if _, err := ask(conn, in, []string{"AUTH", d.password}); err != nil {
			return "", fmt.Errorf("log in: %w", err)
		}
	}
	return ask(conn, in, args)
}

func (d *dialer) connect(ctx context.Context) (net.Conn, error) {
	if d.tls != nil {
		return (&tls.Dialer{Config: d.tls}).DialContext(ctx, "tcp", d.addr) //nolint:wrapcheck // the caller says what
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", d.addr) //nolint:wrapcheck // the caller says what
}

func ask(out io.Writer, in *bufio.Reader, args []string) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, arg := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(arg), arg)
	}
	if _, err := io.WriteString(out, b.String()); err != nil {
		return "", fmt.Errorf("%s: %w", args[0], err)
	}
	answer, err := readAnswer(in)
	if err != nil {
		return "", fmt.Errorf("%s: %w", args[0], err)
	}
	return answer, nil
}

// readAnswer reads one answer. An error within an array stands as text among its elements.
func readAnswer(in *bufio.Reader) (string, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("read: %w", err)
	}
	line = strings.TrimRight(line, "\r\n")
	if line == "" {
		return "", errors.New("an empty line for an answer")
	}
	kind, rest := line[0], line[1:]
	switch kind {
	case '+', ':':
		return rest, nil
	case '-':
		return "", replyError(rest)
	case '$':
		return readBulk(in, rest)
	case '*':
		return readArray(in, rest)
	default:
		return "", fmt.Errorf("no answer in RESP2: %q", line)
	}
}

// replyError is what a server has refused.
type replyError string

func (e replyError) Error() string { return string(e) }

func readBulk(in *bufio.Reader, size string) (string, error) {
	n, err := strconv.Atoi(size)
	if err != nil {
		return "", fmt.Errorf("length of an answer: %w", err)
	}
	if n < 0 {
		return "", nil
	}
	data := make([]byte, n+len("\r\n"))
	if _, err := io.ReadFull(in, data); err != nil {
		return "", fmt.Errorf("read: %w", err)
	}
	return string(data[:n]), nil
}

func readArray(in *bufio.Reader, size string) (string, error) {
	n, err := strconv.Atoi(size)
	if err != nil {
		return "", fmt.Errorf("length of an answer: %w", err)
	}
	var all []string
	for range n {
		element, err := readAnswer(in)
		if refused, ok := errors.AsType[replyError](err); ok {
			element = refused.Error()
		} else if err != nil {
			return "", err
		}
		all = append(all, element)
	}
	return strings.Join(all, "\n"), nil
}

// trust makes a client's TLS configuration that trusts one CA.
func trust(caFile string) (*tls.Config, error) {
	data, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("no certificate in %s", caFile)
	}
	return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, nil
}
