package image

// CheckKeys opens the keys of a folder.
func CheckKeys(dir string) error {
	_, err := openKeys(dir)
	return err
}

// PURL makes a package URL.
func PURL(format string, parts ...any) string { return purl(format, parts...) }

// BootScript is the text that U-Boot of a board runs.
func BootScript(dir string) (string, error) {
	board, err := LoadBoard(dir)
	if err != nil {
		return "", err
	}
	return (&build{board: board}).bootScript()
}
