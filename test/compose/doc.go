// Package compose checks docker-compose.yml and the Dockerfile against the program that they run. It
// has tests only, and needs no Docker.
package compose
