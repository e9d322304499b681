package deviceauth

import (
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/longwire/longwire/internal/private"
)

// revokedCertificates are the certificates on the lists of revoked certificates.
type revokedCertificates map[serialPrint]bool

// serialPrint is half a hash to save memory, because each connection keeps one.
type serialPrint [sha256.Size / 2]byte

func certificatePrint(c *x509.Certificate) serialPrint {
	return printSerial(c.RawIssuer, c.SerialNumber)
}

// printSerial identifies a certificate by its issuer and serial number, as lists of
// revoked certificates do.
func printSerial(issuer []byte, serial *big.Int) serialPrint {
	h := sha256.New()
	name := sha256.Sum256(issuer) // hashed to a fixed length, so that issuer and number cannot be confused
	h.Write(name[:])
	h.Write(serial.Bytes())
	return serialPrint(h.Sum(nil)[:len(serialPrint{})])
}

// readRevoked reads the lists of a PEM file. An authority in the file called
// authorities must have signed each list. stale is the time at which the first list
// should be replaced, zero if no list names a time.
func readRevoked(name, authorities string) (revoked revokedCertificates, stale time.Time, err error) {
	signers, err := readCertificates(authorities)
	if err != nil {
		return nil, stale, err
	}
	text, err := private.ReadTrusted(name, maxKeyFile)
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
		if !complete(list) {
			return nil, stale, fmt.Errorf("%s: list %d, of %s, has only changes since another list (a delta list), or certificates of other issuers", name, lists, list.Issuer)
		}
		issuers := issuersOf(list, signers)
		if len(issuers) == 0 {
			return nil, stale, fmt.Errorf("%s: list %d, of %s, is not signed by an authority of that name in %s", name, lists, list.Issuer, authorities)
		}
		for _, issuer := range issuers {
			for _, c := range list.RevokedCertificateEntries {
				revoked[printSerial(issuer.RawSubject, c.SerialNumber)] = true
			}
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

// Extensions that change the meaning of a list or of an entry (RFC 5280, §5.2.4 and §5.3.3).
var (
	deltaIndicator    = asn1.ObjectIdentifier{2, 5, 29, 27}
	certificateIssuer = asn1.ObjectIdentifier{2, 5, 29, 29}
)

// complete reports whether a list has all revoked certificates of its issuer, or of a part
// of them, and no others.
func complete(list *x509.RevocationList) bool {
	has := func(all []pkix.Extension, id asn1.ObjectIdentifier) bool {
		return slices.ContainsFunc(all, func(e pkix.Extension) bool { return e.Id.Equal(id) })
	}
	return !has(list.Extensions, deltaIndicator) && !slices.ContainsFunc(list.RevokedCertificateEntries,
		func(c x509.RevocationListEntry) bool { return has(c.Extensions, certificateIssuer) })
}

// issuersOf returns those of the authorities that have signed a list as its issuer. The
// name in a list may be encoded in another way than in certificates.
func issuersOf(list *x509.RevocationList, authorities []*x509.Certificate) (issuers []*x509.Certificate) {
	for _, c := range authorities {
		if c.Subject.String() == list.Issuer.String() && list.CheckSignatureFrom(c) == nil {
			issuers = append(issuers, c)
		}
	}
	return issuers
}
