// Command interop checks `tidewire relay` with the client packages of Tailscale: one line for each check, and a failure ends it.
//
// It starts the relay itself: interop TIDEWIRE FOLDER, where FOLDER is for the relay's key and certificate.
// `cargo xtask interop derper` builds and runs it.
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"tailscale.com/derp"
	"tailscale.com/net/stun"
	"tailscale.com/types/key"
)

// patience is longer than anything here takes, on a machine that has much else to do.
const patience = 60 * time.Second

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: interop TIDEWIRE FOLDER")
		os.Exit(2)
	}
	secure := startRelay(os.Args[1], os.Args[2]+"/tls", "cert_name")
	plain := startRelay(os.Args[1], os.Args[2]+"/plain", "plain", "--plain")
	ways := []struct {
		name string
		dial func(key.NodePrivate) *client
	}{
		{"fast start", secure.fastStart},
		{"upgrade in TLS", secure.upgradeInTLS},
		{"plain upgrade", plain.plainUpgrade},
		{"WebSocket", plain.webSocket},
	}
	for _, way := range ways {
		sizes(way.name, way.dial)
		pings(way.name, way.dial)
		duplicates(way.name, way.dial)
		gone(way.name, way.dial)
		flood(way.name, way.dial)
	}
	across(secure.fastStart, secure.upgradeInTLS, "fast start and upgrade")
	across(plain.plainUpgrade, plain.webSocket, "upgrade and WebSocket")
	pages(secure)
	asksSTUN(secure)
	meshRefused(secure)
	restart(secure)
	renewal(os.Args[1], os.Args[2], secure)
	secure.stop()
	plain.stop()
	fmt.Println("all checks passed")
}

// ok prints the line of a check that passed.
func ok(format string, args ...any) { fmt.Printf("ok: "+format+"\n", args...) }

// fail ends the program.
func fail(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "FAILED: "+format+"\n", args...)
	stopAll()
	os.Exit(1)
}

func must(err error, doing string) {
	if err != nil {
		fail("%s: %v", doing, err)
	}
}

// sizes sends packets of every size both ways, the largest that the protocol has included.
func sizes(way string, dial func(key.NodePrivate) *client) {
	a, b := dial(key.NewNode()), dial(key.NewNode())
	defer a.close()
	defer b.close()
	lengths := []int{0, 1, 100, 1400, 4096, 32731, 32768, 65536}
	for _, length := range lengths {
		packet := pattern(length)
		for _, pair := range [][2]*client{{a, b}, {b, a}} {
			must(pair[0].Send(pair[1].key.Public(), packet), "send")
			pair[1].expect(pair[0].key.Public(), packet)
		}
	}
	ok("%s: login, and packets of %v bytes both ways", way, lengths)
}

func pings(way string, dial func(key.NodePrivate) *client) {
	a := dial(key.NewNode())
	defer a.close()
	data := [8]byte{1, 2, 3, 4, 5, 6, 7, 8}
	must(a.SendPing(data), "ping")
	if pong := next[derp.PongMessage](a); pong != data {
		fail("%s: the pong says %v", way, pong)
	}
	must(a.NotePreferred(true), "note preferred")
	ok("%s: ping and pong", way)
}

// duplicates logs in twice with one key: the newest receives, until the older one says something.
func duplicates(way string, dial func(key.NodePrivate) *client) {
	peer, twice := dial(key.NewNode()), key.NewNode()
	older := dial(twice)
	newer := dial(twice)
	for _, c := range []*client{peer, older, newer} {
		defer c.close()
	}
	must(peer.Send(twice.Public(), []byte("to the newer")), "send")
	newer.expect(peer.key.Public(), []byte("to the newer"))
	must(older.Send(peer.key.Public(), []byte("still here")), "send")
	peer.expect(twice.Public(), []byte("still here"))
	must(peer.Send(twice.Public(), []byte("to the older")), "send")
	older.expect(peer.key.Public(), []byte("to the older"))
	older.close()
	// Nobody tells the peer when the relay has noticed: it repeats itself.
	for deadline := time.Now().Add(patience); ; {
		must(peer.Send(twice.Public(), []byte("again")), "send")
		if newer.got(peer.key.Public(), []byte("again"), 100*time.Millisecond) {
			break
		}
		if time.Now().After(deadline) {
			fail("%s: the last connection with a key does not take over", way)
		}
	}
	ok("%s: of two connections with one key the last one that spoke receives", way)
}

// gone has a peer that was never there, and one that leaves.
func gone(way string, dial func(key.NodePrivate) *client) {
	a, b, absent := dial(key.NewNode()), dial(key.NewNode()), key.NewNode().Public()
	defer a.close()
	disco := append([]byte("TS\xf0\x9f\x92\xac"), make([]byte, 80)...)
	must(a.Send(absent, disco), "send")
	want := derp.PeerGoneMessage{Peer: absent, Reason: derp.PeerGoneReasonNotHere}
	if got := next[derp.PeerGoneMessage](a); got != want {
		fail("%s: %v instead of %v", way, got, want)
	}
	must(b.Send(a.key.Public(), []byte("bye")), "send")
	a.expect(b.key.Public(), []byte("bye"))
	b.close()
	want = derp.PeerGoneMessage{Peer: b.key.Public(), Reason: derp.PeerGoneReasonDisconnected}
	if got := next[derp.PeerGoneMessage](a); got != want {
		fail("%s: %v instead of %v", way, got, want)
	}
	ok("%s: PeerGone for who is not here, and for who left", way)
}

// flood sends windows of packets such as TCP has in flight on a fast path, and none may be lost.
func flood(way string, dial func(key.NodePrivate) *client) {
	a, b := dial(key.NewNode()), dial(key.NewNode())
	defer a.close()
	defer b.close()
	const window, windows = 256, 20
	for range windows {
		for n := range window {
			must(a.Send(b.key.Public(), bytes.Repeat([]byte{byte(n)}, 1200)), "send")
		}
		for n := range window {
			b.expect(a.key.Public(), bytes.Repeat([]byte{byte(n)}, 1200))
		}
	}
	ok("%s: %d packets in windows of %d, in order and without a loss", way, window*windows, window)
}

// across has the two ends use different ways in.
func across(one, other func(key.NodePrivate) *client, names string) {
	a, b := one(key.NewNode()), other(key.NewNode())
	defer a.close()
	defer b.close()
	for _, length := range []int{1, 1400, 65536} {
		packet := pattern(length)
		must(a.Send(b.key.Public(), packet), "send")
		b.expect(a.key.Public(), packet)
		must(b.Send(a.key.Public(), packet), "send")
		a.expect(b.key.Public(), packet)
	}
	ok("%s reach each other", names)
}

// pages asks for what clients and probes ask for beside DERP.
func pages(r *relay) {
	web := &http.Client{Transport: &http.Transport{TLSClientConfig: r.tlsConfig()}, Timeout: patience}
	get := func(path string, status int) *http.Response {
		request, err := http.NewRequest("GET", "https://"+r.derp+path, nil)
		must(err, "request")
		request.Header.Set("X-Tailscale-Challenge", "abc.DEF-1")
		response, err := web.Do(request)
		must(err, path)
		_, err = io.Copy(io.Discard, response.Body)
		must(err, path)
		response.Body.Close()
		if response.StatusCode != status {
			fail("GET %s: %s", path, response.Status)
		}
		return response
	}
	for _, path := range []string{"/derp/probe", "/derp/latency-check"} {
		if origin := get(path, 200).Header.Get("Access-Control-Allow-Origin"); origin != "*" {
			fail("GET %s: for origin %q", path, origin)
		}
	}
	if answer := get("/generate_204", 204).Header.Get("X-Tailscale-Response"); answer != "response abc.DEF-1" {
		fail("GET /generate_204: answers %q", answer)
	}
	get("/derp", http.StatusUpgradeRequired)
	ok("probe, latency check, captive portal check with its challenge, and 426 without an upgrade")
}

func asksSTUN(r *relay) {
	socket, err := net.Dial("udp4", r.stun)
	must(err, "STUN")
	defer socket.Close()
	tx, answer := stun.NewTxID(), make([]byte, 1500)
	for deadline := time.Now().Add(patience); ; {
		_, err = socket.Write(stun.Request(tx))
		must(err, "STUN")
		must(socket.SetReadDeadline(time.Now().Add(time.Second)), "STUN")
		n, err := socket.Read(answer)
		if err == nil {
			answer = answer[:n]
			break
		}
		if time.Now().After(deadline) {
			fail("STUN: %v", err)
		}
	}
	got, addr, err := stun.ParseResponse(answer)
	must(err, "the answer of STUN")
	if got != tx || addr.String() != socket.LocalAddr().String() {
		fail("STUN says %v, and we are %v", addr, socket.LocalAddr())
	}
	ok("STUN says where we are")
}

// meshRefused asks to watch connections, which is for relays among themselves: that connection ends, and no other.
func meshRefused(r *relay) {
	bystander := r.fastStart(key.NewNode())
	defer bystander.close()
	c, link := r.upgraded(key.NewNode())
	defer c.close()
	must(link.WatchConnectionChanges(), "watch")
	if problem := next[derp.HealthMessage](c).Problem; !strings.Contains(problem, "mesh") {
		fail("who asks for the mesh hears %q", problem)
	}
	c.expectEnd()
	must(bystander.Send(bystander.key.Public(), []byte("me")), "send")
	bystander.expect(bystander.key.Public(), []byte("me"))
	ok("who asks for the mesh is told so and disconnected, and nobody else")
}

// restart stops the relay as a service manager does. Its clients are told, and find it again.
func restart(r *relay) {
	a, b := r.fastStart(key.NewNode()), r.fastStart(key.NewNode())
	defer a.close()
	defer b.close()
	must(a.Send(b.key.Public(), []byte("before")), "send")
	b.expect(a.key.Public(), []byte("before"))
	r.stop()
	notice := next[derp.ServerRestartingMessage](a)
	r.start()
	for deadline := time.Now().Add(patience); ; {
		// The first ones fail: the client notices when it sends.
		_ = a.Send(b.key.Public(), []byte("after"))
		if b.got(a.key.Public(), []byte("after"), 100*time.Millisecond) {
			break
		}
		if time.Now().After(deadline) {
			fail("the clients do not find the relay after its restart")
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	must(a.web.Ping(ctx), "ping after the restart")
	ok("a restart is announced (come back in %v, try for %v), and the clients are back", notice.ReconnectIn, notice.TryFor)
}

// renewal has a relay read its certificate from files, and again when it is asked to: a good one, and one that is none.
func renewal(program, folder string, first *relay) {
	second := startRelay(program, folder+"/second", "cert_name")
	second.stop()
	chain, key := folder+"/chain.pem", folder+"/key.pem"
	copyFile(chain, folder+"/tls/tls.crt")
	copyFile(key, folder+"/tls/tls.key")
	r := startRelay(program, folder+"/renewed", "stun_port", "--cert", chain, "--key", key)
	defer r.stop()
	r.pin = first.pin
	must(r.shows(), "the certificate of the files")

	copyFile(chain, folder+"/second/tls.crt")
	copyFile(key, folder+"/second/tls.key")
	must(r.shows(), "the certificate before anybody asks for another")
	r.hangup()
	r.pin = second.pin
	for deadline := time.Now().Add(patience); r.shows() != nil; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			must(r.shows(), "the renewed certificate")
		}
	}
	must(os.WriteFile(chain, []byte("nonsense"), 0o600), "nonsense")
	r.hangup()
	// It has read the nonsense when it says so; that it lives and shows what it had is all that is asked here.
	for range 20 {
		must(r.shows(), "the certificate after nonsense")
	}
	ok("SIGHUP brings a renewed certificate, and nonsense in the files changes nothing")
}

func copyFile(to, from string) {
	content, err := os.ReadFile(from)
	must(err, "read")
	must(os.WriteFile(to, content, 0o600), "write")
}

// pattern is a packet in which nothing can be lost or moved unseen.
func pattern(length int) []byte {
	packet := make([]byte, length)
	for i := range packet {
		packet[i] = byte(i * 7 >> 3)
	}
	return packet
}
