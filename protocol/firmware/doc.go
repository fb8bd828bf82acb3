// Package firmware reads and writes update files: a signed header, then the
// bytes that go into a slot as they are.
//
//	offset      size
//	0           8     magic "TELLTALE"
//	8           4     length n of the header, big endian, at most MaxHeader
//	12          n     header: COSE_Sign1 (RFC 9052), ES256, key id in the protected part
//	12+n        size  payload, what a slot holds (for our boards a signed FIT image)
//
// The header's content is a deterministic CBOR map:
//
//	{1: layout version, 2: board, 3: version, 4: release, 5: payload size, 6: SHA-256 of the payload}
//
// The release counts up with every firmware that is given out, so that an older
// one is told by a number and never by the text of its version. The external
// data of the signature separates update files from all else that the same key may sign.
//
// Open verifies the header before it says anything of its content, and the
// payload while it is read. It is not the place that says where an update comes
// from or when it is installed: that is agent/update and cloud/update.
package firmware
