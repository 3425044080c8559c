// Package cli is the command line: it reads arguments, asks the other packages, and prints. Data goes
// to stdout, everything else to stderr. One file holds one command; what they share is in state.go,
// output.go, progress.go, help.go and errors.go, which alone decides exit statuses. process.go has the
// signals of a process, helptopics.go the pages of help that are no commands. testdata/script has a script
// for each command, run by TestScripts, whose comment says what scripts can do.
//
// A new command is a constructor newXCommand(s *state) *cobra.Command in a file of its own, and a
// line in root.go. It defines its own flags first, then calls s.useSettings where it needs the
// configuration, reads that with s.load in its RunE, and prints with printRecords or printJSON.
package cli
