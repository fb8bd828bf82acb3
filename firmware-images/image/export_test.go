package image

// CheckKeys opens the keys of a folder.
func CheckKeys(dir string) error {
	_, err := openKeys(dir)
	return err
}
