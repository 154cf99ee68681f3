//! Two ends of which one begins: all that passes, and that nothing is lost while they shake hands anew, two minutes later.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::Stand;
use super::capture::{Capture, Types};
use super::device::{End, Kind, PORT, full_payload, v4};
use super::talk::{Servers, connect, everything, probe};

/// Beyond the age of 120 s at which the initiator renews a session.
const REKEY: Duration = Duration::from_secs(130);
const EVERY_MILLIS: u64 = 50;

/// Tidewire and another, and who begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair {
    pub(super) number: u8,
    pub(super) other: Kind,
    pub(super) we_begin: bool,
}

impl Pair {
    pub(super) fn name(self) -> String {
        let (us, them) = (Kind::Tidewire.name(), self.other.name());
        if self.we_begin { format!("{us} to {them}") } else { format!("{them} to {us}") }
    }

    pub(super) fn play(self, stand: &Stand<'_>) -> Result<()> {
        let Stand { lab, programs } = *stand;
        let this = &programs.this;
        let outer = [self.number * 2 + 10, self.number * 2 + 11];
        let us = End::new(lab, programs, Kind::Tidewire, outer[0], (self.number, 1))?;
        let them = End::new(lab, programs, self.other, outer[1], (self.number, 2))?;
        let psk = us.host.run("wg", &["genpsk"])?;
        let mut servers = [Servers::start(&us, this)?, Servers::start(&them, this)?];
        let capture = Capture::start(lab, &us)?;
        // Only who begins knows where the other is.
        let at = |outer: u8, known: bool| known.then(|| (v4(outer), PORT).into());
        let mut devices = [
            us.start(&[them.peer(psk.trim(), at(outer[1], self.we_begin))])?,
            them.start(&[us.peer(psk.trim(), at(outer[0], !self.we_begin))])?,
        ];
        let (first, second) = if self.we_begin { (&us, &them) } else { (&them, &us) };
        connect(first, second, this)?;
        everything(first, second, this)?;
        renew(first, second, stand)?;
        servers.iter_mut().try_for_each(Servers::check)?;
        devices.iter_mut().try_for_each(|device| device.check())?;
        let types = capture.stop()?.dissect(&us, &[v4(outer[0]).into()], &them)?;
        self.judge(types)?;
        devices.into_iter().try_for_each(|device| device.terminate())
    }

    /// Who began also renews, and nobody else.
    fn judge(self, types: Types) -> Result<()> {
        let Types { initiations, responses, cookies, data } = types;
        let right = if self.we_begin { initiations >= 2 } else { initiations == 0 && responses >= 2 };
        ensure!(right && data > 0 && cookies == 0, "Tidewire sent {types:?}");
        Ok(())
    }
}

/// Sends slowly until both have shaken hands again, and loses nothing.
fn renew(first: &End<'_>, second: &End<'_>, stand: &Stand<'_>) -> Result<()> {
    let [four, _] = second.inner;
    let count = u64::try_from(REKEY.as_millis())? / EVERY_MILLIS;
    let sizes = [0, 1, 100, full_payload(four)];
    let probed = probe(first, four, &stand.programs.this, &sizes, count, EVERY_MILLIS, 5000)?;
    ensure!(probed.lost == 0 && probed.strange == 0, "while keys were renewed: {probed:?}");
    for end in [first, second] {
        let ago = end.last_handshake()?;
        ensure!(ago < REKEY.as_secs() / 2, "{} shook hands {ago} s ago", end.kind.name());
    }
    Ok(())
}
