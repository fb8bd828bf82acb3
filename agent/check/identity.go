package check

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"telltale.dev/hal/keystore"
	"telltale.dev/protocol"
)

// renewal is how long before its end a certificate should be renewed.
const renewal = 30 * 24 * time.Hour

// Identity looks at key and certificate. err is why the store could not be opened;
// readable says that others on the machine can read the key.
func Identity(store keystore.Signer, roots *x509.CertPool, err error, readable bool, now time.Time) []Line {
	if err != nil {
		hint := "put the device's certificate, its key and the cloud's authority where the configuration says"
		switch {
		case errors.Is(err, keystore.ErrExposed):
			hint = "chmod 600 FILE, or 640 with the agent's group; a key that others have read should be replaced"
		case errors.Is(err, fs.ErrPermission):
			hint = "make the file readable for the agent's group: chgrp telltale FILE, chmod 640 FILE"
		}
		return []Line{Failure("key store", hint, "%v", err)}
	}
	lines := []Line{protection(store, readable)}
	own := store.Chain()[0]
	if len(own.URIs) != 1 {
		lines = append(lines, Failure("certificate", "let the cloud's authority issue it for this device", "expected one name of the form urn:dev:VEHICLE:DEVICE, found %d", len(own.URIs)))
	} else if _, _, err := protocol.ParseDeviceURN(own.URIs[0].String()); err != nil {
		lines = append(lines, Failure("certificate", "let the cloud's authority issue it for this device", "%v", err))
	}
	return append(lines, validity(own, now), issuer(store.Chain(), roots, now))
}

func protection(store keystore.Signer, readable bool) Line {
	switch {
	case readable:
		return Warning("key store", "chmod 600 FILE, or 640 with the agent's group", "%s, and others on this machine can read the key", store.Protection())
	case store.Protection() == keystore.NotHardwareProtected:
		return Warning("key store", "whoever reads the disk has the key: right for development only", "%s", store.Protection())
	}
	return Okay("key store", "%s", store.Protection())
}

// validity says how long the certificate lasts.
func validity(own *x509.Certificate, now time.Time) Line {
	days := func(d time.Duration) int { return int(d / (24 * time.Hour)) }
	end := own.NotAfter.UTC().Format(time.DateOnly)
	switch {
	case now.Before(own.NotBefore):
		return Failure("certificate", "is the clock right? see its line", "valid from %s on, the clock says %s", own.NotBefore.UTC().Format(time.DateTime), now.UTC().Format(time.DateTime))
	case now.After(own.NotAfter):
		return Failure("certificate", "renew it; when the clock is wrong, see its line", "ended on %s", end)
	case own.NotAfter.Sub(now) < renewal && own.NotAfter.Sub(now) < own.NotAfter.Sub(own.NotBefore)/3:
		return Warning("certificate", "renew it", "%d days left, until %s", days(own.NotAfter.Sub(now)), end)
	}
	return Okay("certificate", "%d days left, until %s", days(own.NotAfter.Sub(now)), end)
}

// issuer says whether the authority that we trust has issued our certificate. A cloud
// may have another one for its devices, so that this is no failure.
func issuer(chain []*x509.Certificate, roots *x509.CertPool, now time.Time) Line {
	own, name := chain[0], fmt.Sprintf("%q", chain[0].Issuer.CommonName)
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	if now.Before(own.NotBefore) || now.After(own.NotAfter) { // which has a line of its own
		now = own.NotBefore.Add(own.NotAfter.Sub(own.NotBefore) / 2)
	}
	_, err := own.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, CurrentTime: now,
	})
	var invalid x509.CertificateInvalidError
	switch {
	case err == nil:
		return Okay("issuer", "%s, the authority that is trusted", name)
	case errors.As(err, &invalid) && invalid.Reason == x509.IncompatibleUsage:
		return Failure("issuer", "let it be issued for clients (extended key usage clientAuth)", "the certificate is not for clients")
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return Warning("issuer", "renew it together with the device's, and trust the new one", "%s, whose own certificate is not valid at that time", name)
	}
	return Warning("issuer", "right only when the cloud has an authority of its own for devices; else the file of ca or cert is the wrong one", "%s, not the authority that is trusted", name)
}
