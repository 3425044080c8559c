// Package config turns flags, environment, file and defaults into one Config, and says everything
// that is wrong with them at once.
//
// Each setting is declared once, in settings.go. Its flag, its environment variable, its key in the
// file, its row in the README and its line in "config print" all come from that declaration.
//
// A flag wins over the environment, the environment over the file, the file over the default. White
// space around a value is dropped. A setting that is given but empty is set to "nothing" where that
// has a meaning (an empty backup-url is no backup, an empty redis-password-file no password) and is a
// fault where it has none; so REPLYWORKER_KAFKA_GROUP= is refused, and does not mean the default.
// Paths are relative to the working directory, wherever the path was written.
package config
