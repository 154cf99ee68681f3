//! Connections that never log in: some say nothing, some half of what would lead to a login, and all wait until they are cut.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::Outcome;
use crate::report::now;

/// How often all are looked at.
const PERIOD: Duration = Duration::from_millis(100);
/// How many of those who were cut come back in a period.
const RETURNING: usize = 20;

/// A crowd of strangers.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Strangers {
    #[arg(long)]
    to: SocketAddr,
    #[arg(long)]
    count: usize,
    /// The relay serves without TLS, so that they can say more.
    #[arg(long)]
    plain: bool,
    /// Who was cut comes back, until this program is killed.
    #[arg(long = "return")]
    returning: bool,
}

/// How it ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Ended {
    /// So many were cut by the relay.
    pub(crate) cut: usize,
    /// The longest that one of them stayed.
    pub(crate) longest_millis: u64,
}

/// Says when all were there, then waits until all were cut, and prints one JSON object.
pub(crate) fn gather_and_print(strangers: &Strangers) -> Result<Outcome> {
    let mut here = Vec::with_capacity(strangers.count);
    for number in 0..strangers.count {
        here.push((number, now(), strangers.stranger(number)?));
    }
    println!("all there");
    let (mut cut, mut longest) = (0, Duration::ZERO);
    while !here.is_empty() {
        thread::sleep(PERIOD);
        let mut gone = Vec::new();
        here.retain_mut(|(number, since, stream): &mut (usize, Instant, TcpStream)| {
            let stays = stays(stream);
            if !stays {
                cut += 1;
                longest = longest.max(since.elapsed());
                gone.push(*number);
            }
            stays
        });
        if strangers.returning {
            for number in gone.into_iter().take(RETURNING) {
                here.push((number, now(), strangers.stranger(number)?));
            }
        }
    }
    let longest_millis = u64::try_from(longest.as_millis())?;
    println!("{}", serde_json::to_string(&Ended { cut, longest_millis })?);
    Ok(Outcome::Done)
}

impl Strangers {
    /// Connects, and says what this one says.
    fn stranger(&self, number: usize) -> Result<TcpStream> {
        let mut stream = TcpStream::connect(self.to).with_context(|| format!("stranger {number}"))?;
        let words = openings(self.plain);
        // Who is cut this early is cut, too.
        let _ = stream.write_all(words[number % words.len()]);
        stream.set_nonblocking(true)?;
        Ok(stream)
    }
}

/// What strangers say.
fn openings(plain: bool) -> &'static [&'static [u8]] {
    if plain {
        return &[
            b"",
            b"GET /derp HTTP/1.1\r\nHost: relay\r\nUpgrade: DE",
            b"GET /derp HTTP/1.1\r\nHost: relay\r\nUpgrade: DERP\r\nDerp-Fast-Start: 1\r\n\r\n",
            b"GET /derp HTTP/1.1\r\nHost: relay\r\nUpgrade: DERP\r\n\r\n\x02\x00\x00\x40\x00half a login",
        ];
    }
    // The beginning of a TLS ClientHello of 508 bytes.
    &[b"", b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03half a greeting"]
}

/// Whether the relay has not ended the connection; what it says before is read and forgotten.
fn stays(stream: &mut TcpStream) -> bool {
    let mut bytes = [0; 1024];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
        }
    }
}
