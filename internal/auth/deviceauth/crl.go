package deviceauth

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"
)

// revokedCertificates are the certificates on the lists of their authorities.
type revokedCertificates map[serialPrint]bool

// serialPrint is half a hash, for one is kept with each connection.
type serialPrint [sha256.Size / 2]byte

// certificatePrint tells a certificate by its issuer and serial number, as lists
// of revoked certificates do.
func certificatePrint(issuer []byte, serial *big.Int) serialPrint {
	h := sha256.New()
	name := sha256.Sum256(issuer) // of fixed length, so that the two do not run into each other
	h.Write(name[:])
	h.Write(serial.Bytes())
	return serialPrint(h.Sum(nil)[:len(serialPrint{})])
}

// readRevoked reads the lists of a file, in PEM. Each has to be signed by an
// authority in the file called authorities. stale is when the first of them should
// have been replaced; zero if none names a time.
func readRevoked(name, authorities string) (revoked revokedCertificates, stale time.Time, err error) {
	signers, err := readCertificates(authorities)
	if err != nil {
		return nil, stale, err
	}
	text, _, err := readBounded(name, maxKeyFile)
	if err != nil {
		return nil, stale, err
	}
	revoked = make(revokedCertificates)
	lists := 0
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "X509 CRL" {
			continue
		}
		lists++
		list, err := x509.ParseRevocationList(block.Bytes)
		if err != nil {
			return nil, stale, fmt.Errorf("%s: list %d: %w", name, lists, err)
		}
		if !signed(list, signers) {
			return nil, stale, fmt.Errorf("%s: list %d, of %s, is not signed by an authority in %s", name, lists, list.Issuer, authorities)
		}
		for _, c := range list.RevokedCertificateEntries {
			revoked[certificatePrint(list.RawIssuer, c.SerialNumber)] = true
		}
		if next := list.NextUpdate; !next.IsZero() && (stale.IsZero() || next.Before(stale)) {
			stale = next
		}
	}
	if lists == 0 {
		return nil, stale, fmt.Errorf("%s: no list of revoked certificates (X509 CRL) in it", name)
	}
	return revoked, stale, nil
}

func signed(list *x509.RevocationList, by []*x509.Certificate) bool {
	for _, c := range by {
		if list.CheckSignatureFrom(c) == nil {
			return true
		}
	}
	return false
}
