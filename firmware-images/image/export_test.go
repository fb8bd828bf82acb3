package image

// CheckKeys opens the keys of a folder.
func CheckKeys(dir string) error {
	_, err := openKeys(dir)
	return err
}

// PURL makes a package URL.
func PURL(format string, parts ...any) string { return purl(format, parts...) }
