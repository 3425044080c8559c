package cli

import (
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"replyworker/internal/wxclient"
)

func newVersionCommand(s *state) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "print the version and what it was built from",
		GroupID: groupSetup,
		Example: "  worker version\n  worker version -o json | jq -r .version",
		Args:    exactArgs(),
		RunE: func(*cobra.Command, []string) error {
			v := readVersion(s)
			if s.output == outputJSON {
				return printJSON(s, v)
			}
			rows := [][]string{
				{v.Name, v.Version},
				{"revision", orDash(v.Revision)},
				{"built from", orDash(v.builtFrom())},
				{"go", v.Go},
				{"platform", v.Platform},
				{"signing", v.Signing},
			}
			return writeTable(s.stdout, rows)
		},
	}
}

// version is the line of `version -o json`. Revision and Time are empty where the binary was not
// built in a checkout.
type version struct {
	Name     string `json:"name"`
	Version  string `json:"version"`
	Revision string `json:"revision"`
	Time     string `json:"time"`
	Modified bool   `json:"modified"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
	// Signing is the library that makes the signatures of calls.
	Signing string `json:"signing"`
}

func (v version) builtFrom() string {
	parts := []string{}
	if v.Time != "" {
		parts = append(parts, "commit of "+v.Time)
	}
	if v.Modified {
		parts = append(parts, "with changes that are not committed")
	}
	return strings.Join(parts, ", ")
}

// readVersion asks the binary itself.
func readVersion(s *state) version {
	v := version{
		Name: "replyworker", Version: "unknown",
		Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, Signing: wxclient.SigningLibrary(),
	}
	info, ok := s.buildInfo()
	if !ok {
		return v
	}
	if info.Main.Version != "" {
		v.Version = info.Main.Version
	}
	for _, setting := range info.Settings {
		switch setting.Key {
		case "vcs.revision":
			v.Revision = setting.Value
		case "vcs.time":
			v.Time = setting.Value
		case "vcs.modified":
			v.Modified = setting.Value == "true"
		}
	}
	return v
}
