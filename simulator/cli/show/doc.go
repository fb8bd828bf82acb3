// Package show has the commands that show files: logs, DBC files, campaigns, payloads and lakes.
package show
