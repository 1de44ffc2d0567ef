package proxy

import (
	"bytes"
	"maps"
	"slices"
	"testing"

	"mrcproxy/proxy/message"
)

// FuzzCookie reads anything as a cookie: text that was not signed never passes, and what is signed, whatever it says, is read
// without a panic, fits into a URI, and means the same when it is written again.
func FuzzCookie(f *testing.F) {
	k := newKeys([][]byte{[]byte("one"), []byte("two")})
	all := captures(f)
	names := slices.Sorted(maps.Keys(all))
	for i, c := range someCookies() {
		var m message.Message
		if err := m.Scan(all[names[i*7%len(names)]]); err != nil {
			f.Fatal(err)
		}
		callID := m.Bytes(m.CallID.Value)
		text := k.append(nil, &c, callID)
		raw, err := cookieCoding.DecodeString(string(text))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text, raw[:len(raw)-macLen], callID)
	}
	f.Add([]byte("AAAA"), []byte{}, []byte("c"))
	f.Add([]byte("="), bytes.Repeat([]byte{255}, maxCookie-macLen), []byte{})
	f.Add(bytes.Repeat([]byte("A"), 200), bytes.Repeat([]byte{0}, maxCookie), []byte("c"))
	// Of a secret that nobody has: no text can be valid for both.
	other := newKeys([][]byte{[]byte("three")})
	f.Fuzz(func(t *testing.T, text, body, callID []byte) {
		c, ok := k.parse(text, callID)
		if _, too := other.parse(text, callID); ok && too {
			t.Errorf("%q passes with two secrets", text)
		}
		if len(body) == 0 || len(body) > maxCookie-macLen {
			return
		}
		body = bytes.Clone(body)
		body[0] = k.list[0].id
		signed := k.list[0].mac(bytes.Clone(body), body, callID)
		own := cookieCoding.AppendEncode(nil, signed)
		c, ok = k.parse(own, callID)
		if !ok {
			return // it has no such length
		}
		if again, ok := k.parse(k.append(nil, &c, callID), callID); !ok || again != c {
			t.Errorf("%+v is read again as %+v, %v", c, again, ok)
		}
		if _, _, ok := k.ownRoute(append(append([]byte("sip:"), own...), "@10.0.0.1;lr"...), callID); !ok {
			t.Errorf("%q is no user part", own)
		}
	})
}
