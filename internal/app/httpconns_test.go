package app

import "testing"

func TestHTTPConnectionsFitTheFiles(t *testing.T) {
	for _, c := range []struct{ want, devices, files, fits int }{
		{1280, 0, 0, 1280}, {1280, 0, 1 << 20, 1280}, {1280, 0, 20000, 1280}, {1280, 0, 4096, 256}, {1280, 0, 1024, 170},
		{1280, 0, 256, 42}, {1280, 0, 32, 16}, {1280, 100, 4096, 1280}, {20, 0, 1024, 20}, {1280, 5000, 4096, 16},
	} {
		if got := httpConnections(c.want, c.devices, c.files); got != c.fits {
			t.Errorf("%d wanted, %d for devices, %d files: %d, want %d", c.want, c.devices, c.files, got, c.fits)
		}
	}
}

func TestWebhookRequestsFitTheFiles(t *testing.T) {
	for files, fits := range map[int]int{0: 4096, 1 << 20: 4096, 20000: 1250, 1024: 64, 100: 16} {
		if got := webhookRequests(files); got != fits {
			t.Errorf("%d files: %d, want %d", files, got, fits)
		}
	}
}
