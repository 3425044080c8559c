// Package analytics runs the SQL of docs/analytics.md: DuckDB's and ClickHouse's in these, from Python's
// packages, on outcomes of the corpus; Flink's through Flink's own parser.
//
// The tests run where TEST_SQL names a folder with both; the script run beside this file fills it and
// runs them.
package analytics
