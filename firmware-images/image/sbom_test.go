package image_test

import (
	"testing"

	"telltale.dev/firmware-images/image"
)

func TestPackageURL(t *testing.T) {
	got := image.PURL("deb/debian/%s@%s?arch=%s", "libstdc++6", "1:12.2.0-14+deb12u1", "arm64")
	if want := "pkg:deb/debian/libstdc%2B%2B6@1:12.2.0-14%2Bdeb12u1?arch=arm64"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
