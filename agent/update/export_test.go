package update

// OnWrite lets before see each write of the journal; an error of its own means that the write does not happen.
func (u *Updater) OnWrite(around func(write func() error) error) {
	write := u.write
	u.write = func(path string, data []byte) error {
		return around(func() error { return write(path, data) })
	}
}

// Offer gives a document to Run and does not wait for what it makes of it.
func (u *Updater) Offer(payload []byte) { u.accept(payload) }
