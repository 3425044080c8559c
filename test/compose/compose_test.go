package compose_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"replyworker/internal/cli"
	"replyworker/internal/config"
)

const top = "../.."

// project is the part of a compose file that is looked at.
type project struct {
	Services map[string]service
	Volumes  map[string]any
}

type service struct {
	Image       string
	Build       *struct{ Context, Dockerfile string }
	Entrypoint  []string
	Command     []string
	Environment map[string]string
	Ports       []string
	Volumes     []string
	Restart     string
	Healthcheck *struct{ Test []string }
	DependsOn   map[string]struct{ Condition string } `yaml:"depends_on"`
}

func read(t *testing.T) project {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(top, "docker-compose.yml"))
	require.NoError(t, err)
	var p project
	require.NoError(t, yaml.Unmarshal(text, &p))
	require.NotEmpty(t, p.Services)
	return p
}

// oneShot says that a service ends by itself.
func (p project) oneShot(name string) bool {
	for _, s := range p.Services {
		if s.DependsOn[name].Condition == "service_completed_successfully" {
			return p.Services[name].Restart == "no"
		}
	}
	return false
}

func TestSettingsAreKnownAndValid(t *testing.T) {
	t.Parallel()
	known := []string{config.EnvName(config.FileFlag)}
	for _, setting := range config.Settings() {
		known = append(known, setting.Env())
	}
	for name, s := range read(t).Services {
		var env []string
		for variable, value := range s.Environment {
			if strings.HasPrefix(variable, config.EnvPrefix) {
				require.Contains(t, known, variable, name)
				env = append(env, variable+"="+value)
			}
		}
		_, err := config.Load(config.Sources{Env: env})
		require.NoError(t, err, name)
	}
}

func TestPortsAreOnLoopback(t *testing.T) {
	t.Parallel()
	for name, s := range read(t).Services {
		for _, port := range s.Ports {
			require.True(t, strings.HasPrefix(port, "127.0.0.1:"), "%s publishes %s to the network", name, port)
		}
	}
}

// pinned is an image with a tag that does not move to another version by itself. The tags of
// distroless name the Debian release and move with its security fixes only.
var pinned = regexp.MustCompile(`^(gcr\.io/distroless/[a-z]+-debian\d+:(debug-)?nonroot|[a-z./-]+:\d+\.\d+\.\d+(-[a-z0-9]+)?)$`)

func TestImagesArePinned(t *testing.T) {
	t.Parallel()
	for name, s := range read(t).Services {
		if s.Build == nil {
			require.Regexp(t, pinned, s.Image, name)
		}
	}
	dockerfile, err := os.ReadFile(filepath.Join(top, "Dockerfile"))
	require.NoError(t, err)
	images := regexp.MustCompile(`(?m)^(?:FROM|ARG BASE=)\s*([^$\s]+)`).FindAllStringSubmatch(string(dockerfile), -1)
	require.Len(t, images, 2, "the builder and the default base")
	for _, image := range images {
		require.Regexp(t, pinned, image[1])
	}
	compose, err := os.ReadFile(filepath.Join(top, "docker-compose.yml"))
	require.NoError(t, err)
	base := regexp.MustCompile(`(?m)^\s+BASE: (\S+)$`).FindStringSubmatch(string(compose))
	require.Len(t, base, 2)
	require.Regexp(t, pinned, base[1])
}

// The version that builds the image is the one that go.mod asks for.
func TestGoVersions(t *testing.T) {
	t.Parallel()
	mod, err := os.ReadFile(filepath.Join(top, "go.mod"))
	require.NoError(t, err)
	dockerfile, err := os.ReadFile(filepath.Join(top, "Dockerfile"))
	require.NoError(t, err)
	asked := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(string(mod))
	used := regexp.MustCompile(`(?m)^FROM golang:(\d+\.\d+)`).FindStringSubmatch(string(dockerfile))
	require.Len(t, asked, 2)
	require.Len(t, used, 2)
	require.Equal(t, asked[1], used[1])
}

func TestServicesSayWhenTheyAreReady(t *testing.T) {
	t.Parallel()
	p := read(t)
	for name, s := range p.Services {
		require.True(t, s.Healthcheck != nil || p.oneShot(name), "%s has neither a health check nor an end", name)
		for other, on := range s.DependsOn {
			require.Contains(t, p.Services, other, name)
			if on.Condition == "service_healthy" {
				require.NotNil(t, p.Services[other].Healthcheck, "%s waits for the health of %s", name, other)
			} else {
				require.True(t, p.oneShot(other), "%s waits for the end of %s", name, other)
			}
		}
	}
}

func TestFilesAndVolumesExist(t *testing.T) {
	t.Parallel()
	p := read(t)
	for name, s := range p.Services {
		if s.Build != nil {
			dockerfile := s.Build.Dockerfile
			if dockerfile == "" {
				dockerfile = "Dockerfile"
			}
			require.FileExists(t, filepath.Join(top, s.Build.Context, dockerfile), name)
		}
		for _, volume := range s.Volumes {
			source, _, _ := strings.Cut(volume, ":")
			if strings.HasPrefix(source, ".") {
				_, err := os.Stat(filepath.Join(top, source))
				require.NoError(t, err, name)
				continue
			}
			require.Contains(t, p.Volumes, source, name)
		}
	}
	text, err := os.ReadFile(filepath.Join(top, "Dockerfile"))
	require.NoError(t, err)
	for _, line := range regexp.MustCompile(`(?m)^COPY ([^-].*)$`).FindAllStringSubmatch(string(text), -1) {
		words := strings.Fields(line[1])
		for _, source := range words[:len(words)-1] {
			_, err := os.Stat(filepath.Join(top, source))
			require.NoError(t, err)
		}
	}
}

// script returns what a service gives a shell to run; empty where it starts the program itself.
func (s service) script() string {
	if len(s.Entrypoint) > 0 && strings.HasSuffix(s.Entrypoint[0], "/sh") {
		return strings.Join(s.Command, "\n")
	}
	return ""
}

// workers returns the command lines of the worker that a service of ours runs, without its name.
func (s service) workers() [][]string {
	if s.script() == "" {
		return [][]string{s.Command}
	}
	var lines [][]string
	for _, line := range strings.FieldsFunc(s.script(), func(r rune) bool { return strings.ContainsRune("\n;&|", r) }) {
		words := strings.Fields(line)
		if at := slices.Index(words, "worker"); at == 0 || at == 1 && words[0] == "exec" {
			lines = append(lines, words[at+1:])
		}
	}
	return lines
}

func run(t *testing.T, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	status := cli.Run(t.Context(), args, nil, strings.NewReader(""), &stdout, &stderr)
	require.Zero(t, status, "worker %s: %s", strings.Join(args, " "), stderr.String())
	return stdout.String()
}

func TestCommandLinesAreUnderstood(t *testing.T) {
	t.Parallel()
	checked := 0
	for name, s := range read(t).Services {
		if s.Build == nil {
			continue
		}
		lines := s.workers()
		require.NotEmpty(t, lines, "%s runs no worker", name)
		for _, args := range lines {
			words := slices.IndexFunc(append(slices.Clone(args), "-"), func(a string) bool { return strings.HasPrefix(a, "-") })
			run(t, append([]string{"help"}, args[:words]...)...) // the command exists
			run(t, append(slices.Clone(args), "--help")...)      // so do its flags, and their values are of the right kind
			checked++
		}
	}
	require.GreaterOrEqual(t, checked, 3)
}

// Comments show commands to people.
func TestCommandsInCommentsExist(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(top, "docker-compose.yml"))
	require.NoError(t, err)
	found := regexp.MustCompile(`(?m)^#.* worker worker ([a-z ]+)`).FindAllStringSubmatch(string(text), -1)
	require.NotEmpty(t, found)
	for _, f := range found {
		run(t, append([]string{"help"}, strings.Fields(f[1])...)...)
	}
}

func TestScriptsAreShell(t *testing.T) {
	t.Parallel()
	sh, err := exec.LookPath("sh")
	require.NoError(t, err)
	for name, s := range read(t).Services {
		if s.script() == "" {
			continue
		}
		// Compose reads $ itself; a shell's must be written $$.
		require.NotRegexp(t, `(^|[^$])\$([^$]|$)`, s.script(), name)
		cmd := exec.CommandContext(t.Context(), sh, "-n", "-c", strings.ReplaceAll(s.script(), "$$", "$"))
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s: %s", name, out)
	}
}
