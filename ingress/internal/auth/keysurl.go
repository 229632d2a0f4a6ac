package auth

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"time"
)

// What a server may send besides the document.
const (
	maxKeysHeader = 16 << 10 // bytes
	maxETag       = 256      // bytes; a longer one is not sent back
)

// keysURL is a source that is a server. It asks when fetch is called and never else, follows no redirects, and keeps no connection.
type keysURL struct {
	url    string
	shown  string // without a query, which may hold a secret
	client *http.Client
	end    float64 // of the server's certificate when it last answered, Unix time; 0: it showed none
	etag   string  // of what was fetched last; empty: there was none
}

// newKeysURL makes a source of an address that checkKeysURL takes. ca is a file with the certificates (PEM) that sign the server's; empty: the
// system's. timeout bounds one fetch from the first packet to the last.
func newKeysURL(address, ca string, timeout time.Duration) (*keysURL, error) {
	u, err := checkKeysURL(address)
	if err != nil {
		return nil, err
	}
	trusted, err := authorities(ca)
	if err != nil {
		return nil, err
	}
	return &keysURL{url: address, shown: u.Scheme + "://" + u.Host + u.Path, client: &http.Client{
		Timeout: timeout,
		// Wherever a redirect pointed to, it would be a server that the operator has not named.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: trusted},
			DisableKeepAlives:      true, // a name that moves is looked up again, and nothing is left behind
			DisableCompression:     true,
			MaxResponseHeaderBytes: maxKeysHeader,
		},
	}}, nil
}

// checkKeysURL refuses what keys must not come from: whoever can change them on their way can issue tokens.
func checkKeysURL(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return nil, errors.New("-keys-url is no url") // the cause would quote it
	case u.User != nil:
		return nil, errors.New("-keys-url holds a user: public keys need none")
	case u.Host == "" || u.Fragment != "":
		return nil, errors.New("-keys-url has no host, or has a fragment")
	case u.Scheme != "https" && !(u.Scheme == "http" && loopback(u.Hostname())):
		return nil, errors.New("-keys-url is not https (http is taken for 127.0.0.1, ::1 and localhost alone)")
	}
	return u, nil
}

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// authorities reads certificates; none (the system's) if file is empty.
func authorities(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read -keys-url-ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("read -keys-url-ca: no certificate (PEM) in %s", file)
	}
	return pool, nil
}

func (k *keysURL) String() string { return k.shown }

func (k *keysURL) fetch(ctx context.Context) (data []byte, changed bool, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url, nil)
	if err != nil {
		return nil, false, errors.New("make request: not a url")
	}
	request.Header.Set("Accept", "application/jwk-set+json, application/json")
	if k.etag != "" {
		request.Header.Set("If-None-Match", k.etag)
	}
	response, err := k.client.Do(request)
	if err != nil {
		return nil, false, bare(err)
	}
	defer response.Body.Close()
	if state := response.TLS; state != nil && len(state.PeerCertificates) > 0 {
		k.end = float64(state.PeerCertificates[0].NotAfter.Unix())
	}
	if response.StatusCode == http.StatusNotModified && k.etag != "" {
		return nil, false, nil
	}
	if response.StatusCode != http.StatusOK {
		return nil, false, fmt.Errorf("it answers %d, not 200 (redirects are not followed)", response.StatusCode)
	}
	if data, err = io.ReadAll(io.LimitReader(response.Body, maxKeysDocument+1)); err != nil {
		return nil, false, fmt.Errorf("read body: %w", bare(err))
	}
	if len(data) > maxKeysDocument {
		return nil, false, fmt.Errorf("body is longer than %d bytes", maxKeysDocument)
	}
	if k.etag = response.Header.Get("ETag"); len(k.etag) > maxETag {
		k.etag = ""
	}
	return data, true, nil
}

// bare takes the address off an error, which may hold a secret.
func bare(err error) error {
	var e *url.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}
