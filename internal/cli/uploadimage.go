package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"replyworker/internal/config"
	"replyworker/internal/inquiry"
	"replyworker/internal/wxclient"
)

const uploadLong = `Upload an image to the API, and print its media_id, for the image blocks of jobs:

  {"type": "IMAGE", "image": {"media_id": "...", "image_style_type": "IMAGE_STYLE_TYPE_NARROW"}}

It takes JPEG, PNG and BMP, known by their content, of at most 2 MiB (2,097,152 bytes). The API is told the
file's name with the ending that goes with the content, or, where it is not of ASCII letters, digits, dots,
underlines and hyphens, another name.

A few tries are made, over both hosts. To upload an image again does no harm: it gets another media_id.

-o json prints one line: media_id, file, filename (as the API was told), sha256, bytes, mchid.`

func newUploadImageCommand(s *state) *cobra.Command {
	var merchant string
	cmd := &cobra.Command{
		Use:     "upload-image FILE [flags]",
		Short:   "upload an image for image blocks",
		Long:    uploadLong,
		GroupID: groupJobs,
		Example: "  worker upload-image receipt.png\n" +
			"  worker upload-image --merchant 1900000002 -o json receipt.jpg | jq -r .media_id",
		Args: exactArgs("FILE"),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{"jpg", "jpeg", "png", "bmp"}, cobra.ShellCompDirectiveFilterFileExt
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := s.load(cmd)
			if err != nil {
				return err
			}
			return s.uploadImage(cmd.Context(), cfg, merchant, args[0])
		},
	}
	s.addMerchantFlag(cmd, &merchant)
	s.useSettings(cmd, config.GroupAPI, config.GroupMerchant)
	return cmd
}

// uploadRow is the line of `upload-image -o json`.
type uploadRow struct {
	MediaID  string `json:"media_id"`
	File     string `json:"file"`
	Filename string `json:"filename"`
	SHA256   string `json:"sha256"`
	Bytes    int    `json:"bytes"`
	MchID    string `json:"mchid"`
}

func (s *state) uploadImage(ctx context.Context, cfg *config.Config, merchant, path string) error {
	mchID, err := merchantOf(cfg, merchant)
	if err != nil {
		return err
	}
	img, err := readImage(ctx, path)
	if err != nil {
		return stopped(ctx, err)
	}
	return s.withAPI(ctx, cfg, 0, func(asker *inquiry.Asker) error {
		got, err := asker.Upload(ctx, mchID, img)
		if err != nil {
			return fmt.Errorf("%s was not uploaded: %w", path, err)
		}
		row := uploadRow{
			MediaID: got.MediaID, File: path, Filename: img.Filename, SHA256: img.SHA256, Bytes: img.Bytes, MchID: mchID,
		}
		if s.output == outputJSON {
			return printJSON(s, row)
		}
		return writeTable(s.stdout, [][]string{
			{"media_id", row.MediaID},
			{"file", row.File},
			{"filename", row.Filename},
			{"sha256", row.SHA256},
			{"bytes", strconv.Itoa(row.Bytes)},
			{"mchid", row.MchID},
		})
	})
}

// isOpenPipe says that a path names a pipe that this process was given open, as `| worker upload-image
// /dev/stdin` and <(...) of a shell do: its writer is there.
func isOpenPipe(path string, info os.FileInfo) bool {
	return info.Mode().Type() == os.ModeNamedPipe && (path == "/dev/stdin" || strings.HasPrefix(path, "/dev/fd/"))
}

// readImage reads and checks an image; of a file that is too large no more than shows it.
func readImage(ctx context.Context, path string) (*wxclient.Image, error) {
	info, err := os.Stat(path) // before it is opened: to open a pipe is to wait for who writes to it
	switch {
	case err != nil:
		return nil, err //nolint:wrapcheck // it names the path
	case info.IsDir():
		return nil, fmt.Errorf("%s is a folder, not an image", path)
	case !info.Mode().IsRegular() && !isOpenPipe(path, info):
		return nil, withHint(fmt.Errorf("%s is no regular file, but a pipe, a device or the like", path),
			"write the image to a file first, or pipe it to /dev/stdin")
	case info.Size() > wxclient.MaxImageBytes:
		return nil, withHint(fmt.Errorf("%s has %d bytes, the API takes %d (2 MiB) at most",
			path, info.Size(), wxclient.MaxImageBytes), "make the image smaller")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err //nolint:wrapcheck // it names the path
	}
	defer f.Close() //nolint:errcheck // it was only read
	content, err := io.ReadAll(io.LimitReader(&stoppableReader{ctx: ctx, from: f}, wxclient.MaxImageBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	img, err := wxclient.NewImage(path, content)
	if errors.Is(err, wxclient.ErrNotImage) {
		return nil, withHint(fmt.Errorf("%s: %w", path, err),
			"the content counts, not the name; `file "+shellWord(path)+"` tells what it is")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return img, nil
}
