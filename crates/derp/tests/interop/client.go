package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"tailscale.com/derp"
	"tailscale.com/derp/derphttp"
	"tailscale.com/envknob"
	"tailscale.com/net/netmon"
	"tailscale.com/tailcfg"
	"tailscale.com/types/key"
	"tailscale.com/types/logger"
)

// link is what derp.Client and derphttp.Client have in common.
type link interface {
	Send(key.NodePublic, []byte) error
	SendPing([8]byte) error
	Recv() (derp.ReceivedMessage, error)
}

// client is a login, and what arrived and nobody has looked at.
type client struct {
	link
	key      key.NodePrivate
	web      *derphttp.Client // nil if the link was made by hand
	raw      *derp.Client     // the other way round
	end      func()
	messages chan derp.ReceivedMessage
	closed   chan struct{}
	once     sync.Once
}

// fastStart takes the way of Tailscale's own clients to a relay with TLS and a certificate that says its key.
func (r *relay) fastStart(k key.NodePrivate) *client {
	node := &tailcfg.DERPNode{Name: "900a", RegionID: 900, HostName: r.host(), IPv4: r.host(), IPv6: "none", DERPPort: r.port(), CertName: r.pin}
	region := &tailcfg.DERPRegion{RegionID: 900, RegionCode: "lab", Nodes: []*tailcfg.DERPNode{node}}
	web := derphttp.NewRegionClient(k, logger.Discard, netmon.NewStatic(), func() *tailcfg.DERPRegion { return region })
	c := connected(k, web)
	state, has := web.TLSConnectionState()
	if !has || state.Version != tls.VersionTLS13 {
		fail("fast start: not TLS 1.3")
	}
	said := state.PeerCertificates[len(state.PeerCertificates)-1].Subject.CommonName
	if want := "derpkey" + strings.TrimPrefix(web.ServerPublicKey().String(), "nodekey:"); said != want {
		fail("fast start: the last certificate says %q and not %q", said, want)
	}
	return c
}

// plainUpgrade does the upgrade of HTTP/1.1 without TLS.
func (r *relay) plainUpgrade(k key.NodePrivate) *client {
	web, err := derphttp.NewClient(k, "http://"+r.derp+"/derp", logger.Discard, netmon.NewStatic())
	must(err, "client")
	return connected(k, web)
}

// webSocket is what Tailscale's client does in a browser, and elsewhere when it was built and told to.
func (r *relay) webSocket(k key.NodePrivate) *client {
	envknob.Setenv("TS_DEBUG_DERP_WS_CLIENT", "1")
	defer envknob.Setenv("TS_DEBUG_DERP_WS_CLIENT", "")
	return r.plainUpgrade(k)
}

// upgradeInTLS does the upgrade by hand: Tailscale's client would start fast.
func (r *relay) upgradeInTLS(k key.NodePrivate) *client {
	c, _ := r.upgraded(k)
	return c
}

func (r *relay) upgraded(k key.NodePrivate) (*client, *derp.Client) {
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", r.derp, r.tlsConfig())
	must(err, "TLS")
	request, err := http.NewRequest("GET", "https://"+r.derp+"/derp", nil)
	must(err, "request")
	request.Header.Set("Upgrade", "DERP")
	request.Header.Set("Connection", "Upgrade")
	stream := bufio.NewReadWriter(bufio.NewReader(conn), bufio.NewWriter(conn))
	must(request.Write(stream), "upgrade")
	must(stream.Flush(), "upgrade")
	answer, err := http.ReadResponse(stream.Reader, request)
	must(err, "the answer to the upgrade")
	if answer.StatusCode != http.StatusSwitchingProtocols || answer.Header.Get("Upgrade") != "DERP" || answer.Header.Get("Derp-Version") != "2" {
		fail("upgrade: %s %v", answer.Status, answer.Header)
	}
	raw, err := derp.NewClient(k, conn, stream, logger.Discard)
	must(err, "login")
	said := answer.Header.Get("Derp-Public-Key")
	if "nodekey:"+said != raw.ServerPublicKey().String() {
		fail("upgrade: the header says key %q, and the stream %v", said, raw.ServerPublicKey())
	}
	return logged(&client{link: raw, key: k, raw: raw, end: func() { conn.Close() }}), raw
}

func connected(k key.NodePrivate, web *derphttp.Client) *client {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	must(web.Connect(ctx), "connect")
	return logged(&client{link: web, key: k, web: web, end: func() { web.Close() }})
}

// logged waits for the relay's answer to the login; from then on all that comes is kept.
func logged(c *client) *client {
	c.messages, c.closed = make(chan derp.ReceivedMessage, 1024), make(chan struct{})
	go c.receive()
	next[derp.ServerInfoMessage](c)
	return c
}

func (c *client) receive() {
	defer close(c.messages)
	for {
		message, err := c.Recv()
		if err != nil {
			select {
			case <-c.closed:
				return
			default:
			}
			if c.raw != nil {
				return
			}
			// The next Recv connects anew; while the relay is away it fails at once.
			time.Sleep(50 * time.Millisecond)
			continue
		}
		if packet, is := message.(derp.ReceivedPacket); is {
			packet.Data = bytes.Clone(packet.Data)
			message = packet
		}
		select {
		case c.messages <- message:
		case <-c.closed:
			return
		}
	}
}

func (c *client) NotePreferred(preferred bool) error {
	if c.raw != nil {
		return c.raw.NotePreferred(preferred)
	}
	c.web.NotePreferred(preferred)
	return nil
}

func (c *client) close() {
	c.once.Do(func() {
		close(c.closed)
		c.end()
	})
}

// next is the next message of that kind; others that come in between are passed.
func next[M derp.ReceivedMessage](c *client) M {
	timeout := time.After(patience)
	for {
		select {
		case message, open := <-c.messages:
			if !open {
				fail("the connection ended instead of a %T", *new(M))
			}
			if wanted, is := message.(M); is {
				return wanted
			}
		case <-timeout:
			fail("no %T came", *new(M))
		}
	}
}

// expect fails unless the next packet is this one.
func (c *client) expect(from key.NodePublic, packet []byte) {
	got := next[derp.ReceivedPacket](c)
	if got.Source != from || !bytes.Equal(got.Data, packet) {
		fail("%d bytes of %v came instead of %d bytes of %v", len(got.Data), got.Source, len(packet), from)
	}
}

// got says whether the packet comes soon.
func (c *client) got(from key.NodePublic, packet []byte, soon time.Duration) bool {
	timeout := time.After(soon)
	for {
		select {
		case message := <-c.messages:
			got, is := message.(derp.ReceivedPacket)
			if is && got.Source == from && bytes.Equal(got.Data, packet) {
				return true
			}
		case <-timeout:
			return false
		}
	}
}

func (c *client) expectEnd() {
	timeout := time.After(patience)
	for {
		select {
		case _, open := <-c.messages:
			if !open {
				return
			}
		case <-timeout:
			fail("the connection goes on")
		}
	}
}
