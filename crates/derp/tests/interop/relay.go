package main

import (
	"bufio"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// relay is a `tidewire relay` on loopback.
type relay struct {
	program, folder string
	further         []string
	last            string // the key of the last line that it prints
	derp, stun      string // where it serves
	pin             string // sha256-raw:…, or empty without TLS
	process         *exec.Cmd
}

var relays []*relay

// startRelay starts one on free ports, with its key and certificate in a folder.
func startRelay(program, folder, last string, further ...string) *relay {
	r := &relay{program: program, folder: folder, further: further, last: last, derp: "127.0.0.1:0", stun: "127.0.0.1:0"}
	relays = append(relays, r)
	r.start()
	return r
}

// start starts it, after a stop where it was, and reads from the region that it prints where it serves.
func (r *relay) start() {
	args := append([]string{"relay", "--listen", r.derp, "--stun", r.stun, "--state", r.folder}, r.further...)
	r.process = exec.Command(r.program, args...)
	r.process.Stderr = os.Stderr
	out, err := r.process.StdoutPipe()
	must(err, "relay")
	must(r.process.Start(), "relay")
	late := time.AfterFunc(patience, func() { fail("the relay prints no region") })
	defer late.Stop()
	lines, values := bufio.NewScanner(out), map[string]string{}
	for lines.Scan() {
		name, value, is := strings.Cut(lines.Text(), " = ")
		if is {
			values[name] = strings.Trim(value, `"`)
		}
		if name == r.last {
			break
		}
	}
	host := values["host_name"]
	r.derp, r.stun, r.pin = net.JoinHostPort(host, values["derp_port"]), net.JoinHostPort(host, values["stun_port"]), values["cert_name"]
}

// stop asks it to end, and waits until it has.
func (r *relay) stop() {
	must(r.process.Process.Signal(syscall.SIGTERM), "stop")
	must(r.process.Wait(), "the end of the relay")
	r.process = nil
}

// hangup has it read its files again.
func (r *relay) hangup() {
	must(r.process.Process.Signal(syscall.SIGHUP), "SIGHUP")
}

// shows says what is wrong with its certificate.
func (r *relay) shows() error {
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", r.derp, r.tlsConfig())
	if err == nil {
		conn.Close()
	}
	return err
}

// stopAll ends those that still run.
func stopAll() {
	for _, r := range relays {
		if r.process != nil && r.process.Process != nil {
			r.process.Process.Kill()
		}
	}
}

func (r *relay) host() string {
	host, _, err := net.SplitHostPort(r.derp)
	must(err, "host")
	return host
}

func (r *relay) port() int {
	_, port, err := net.SplitHostPort(r.derp)
	must(err, "port")
	number, err := strconv.Atoi(port)
	must(err, "port")
	return number
}

// tlsConfig trusts the certificate with the printed pin, and no other.
func (r *relay) tlsConfig() *tls.Config {
	return &tls.Config{
		ServerName:         r.host(),
		InsecureSkipVerify: true, // in favour of the pin
		VerifyConnection: func(state tls.ConnectionState) error {
			hash := sha256.Sum256(first(state.PeerCertificates))
			if "sha256-raw:"+hex.EncodeToString(hash[:]) != r.pin {
				return errors.New("another certificate than the printed one")
			}
			return nil
		},
	}
}

func first(chain []*x509.Certificate) []byte {
	if len(chain) == 0 {
		return nil
	}
	return chain[0].Raw
}
