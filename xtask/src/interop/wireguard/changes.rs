//! What happens to a tunnel in its life: another pre-shared key, keepalives, other addresses on either side, the end and the
//! return of either side.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use super::Stand;
use super::capture::{Capture, keepalives};
use super::device::{End, Kind, PORT, v4, v6};
use super::talk::{Servers, connect, everything, probe};
use crate::interop::kit::eventually;
use crate::interop::kit::process::Process;

const INTERVAL: u64 = 3;
const WINDOW: Duration = Duration::from_secs(20);
const SHOWN: Duration = Duration::from_secs(30);

/// Tidewire and another, whose life is eventful.
#[derive(Debug, Clone, Copy)]
pub(super) struct Changes {
    pub(super) number: u8,
    pub(super) other: Kind,
}

struct Scene<'a> {
    stand: Stand<'a>,
    us: End<'a>,
    them: End<'a>,
    psk: String,
    /// The last parts of the outer addresses at first, and after the moves.
    places: [[u8; 2]; 2],
}

impl Changes {
    pub(super) fn name(self) -> String {
        format!("changes with {}", self.other.name())
    }

    pub(super) fn play(self, stand: &Stand<'_>) -> Result<()> {
        let Stand { lab, programs } = *stand;
        let places =
            [[self.number * 2 + 10, self.number * 2 + 11], [self.number * 2 + 110, self.number * 2 + 111]];
        let us = End::new(lab, programs, Kind::Tidewire, places[0][0], (self.number, 1))?;
        let them = End::new(lab, programs, self.other, places[0][1], (self.number, 2))?;
        let psk = us.host.run("wg", &["genpsk"])?.trim().to_owned();
        let scene = Scene { stand: *stand, us, them, psk, places };
        let mut servers =
            [Servers::start(&scene.us, &programs.this)?, Servers::start(&scene.them, &programs.this)?];
        let capture = Capture::start(lab, &scene.us)?;
        let devices = scene.secret()?;
        scene.keepalives().context("keepalives")?;
        scene.roam().context("roaming")?;
        scene.over_v6().context("IPv6 outside")?;
        let devices = scene.restarts(devices).context("restarts")?;
        everything(&scene.us, &scene.them, &programs.this)?;
        servers.iter_mut().try_for_each(Servers::check)?;
        let [[before, _], [after, _]] = places;
        let addresses: [IpAddr; 3] = [v4(before).into(), v4(after).into(), v6(before).into()];
        let types = capture.stop()?.dissect(&scene.us, &addresses, &scene.them)?;
        ensure!(types.initiations > 0 && types.responses > 0, "Tidewire sent {types:?}");
        devices.into_iter().try_for_each(Process::terminate)
    }
}

impl Scene<'_> {
    /// With another pre-shared key nothing passes, and as soon as it is the same everything does.
    fn secret(&self) -> Result<[Process; 2]> {
        let Self { us, them, psk, .. } = self;
        let wrong = us.host.run("wg", &["genpsk"])?;
        let endpoint = SocketAddr::from((v4(self.places[0][1]), PORT));
        let devices =
            [us.start(&[them.peer(wrong.trim(), Some(endpoint))])?, them.start(&[us.peer(psk, None)])?];
        let probed = probe(us, them.inner[0], self.this(), &[64], 2, 0, 1000)?;
        ensure!(probed.lost == 2, "answers came with another pre-shared key: {probed:?}");
        let file = self.stand.lab.file(&format!("{}.psk", us.interface()), psk)?;
        us.set_peer(&them.public, &["preshared-key", &file.to_string_lossy()])?;
        connect(us, them, self.this())?;
        Ok(devices)
    }

    /// Counted on our side: ours come as often as was said, and theirs are not answered.
    fn keepalives(&self) -> Result<()> {
        let Self { us, them, .. } = self;
        let own = IpAddr::from(v4(self.places[0][0]));
        let every = INTERVAL.to_string();
        us.set_peer(&them.public, &["persistent-keepalive", &every])?;
        let (ours, _) = keepalives(us, own, WINDOW)?;
        us.set_peer(&them.public, &["persistent-keepalive", "off"])?;
        // One at the start, and one where a handshake ends: boringtun answers data with no keepalive, and is asked for that.
        let most = usize::try_from(WINDOW.as_secs() / INTERVAL)? + 2;
        ensure!((most / 2..=most).contains(&ours), "{ours} keepalives in {} s", WINDOW.as_secs());
        // boringtun 0.7.1 does not survive that one of its peers is changed.
        if them.kind == Kind::Boringtun {
            println!("  {}: {ours} keepalives", them.kind.name());
            return Ok(());
        }
        them.set_peer(&us.public, &["persistent-keepalive", &every])?;
        let (answers, theirs) = keepalives(us, own, WINDOW)?;
        them.set_peer(&us.public, &["persistent-keepalive", "0"])?;
        ensure!(theirs > 0, "{} sent no keepalive", them.kind.name());
        ensure!(answers == 0, "{answers} keepalives answered {theirs} keepalives");
        println!("  {}: {ours} keepalives, and {theirs} of its own", them.kind.name());
        Ok(())
    }

    /// Either side turns up at another address, and is answered there.
    fn roam(&self) -> Result<()> {
        let Self { us, them, places: [old, new], .. } = self;
        us.move_to(old[0], new[0])?;
        connect(us, them, self.this())?;
        is_at(them, v4(new[0]).into())?;
        everything(us, them, self.this())?;
        // boringtun 0.7.1 binds a socket for each peer to the address that it has, and does not notice that it is gone.
        if them.kind == Kind::Boringtun {
            return Ok(());
        }
        them.move_to(old[1], new[1])?;
        connect(them, us, self.this())?;
        is_at(us, v4(new[1]).into())?;
        everything(us, them, self.this())
    }

    /// From IPv4 to IPv6, which the other side has to follow.
    fn over_v6(&self) -> Result<()> {
        let Self { us, them, places: [place, _], .. } = self;
        us.set_peer(&them.public, &["endpoint", &SocketAddr::from((v6(place[1]), PORT)).to_string()])?;
        connect(us, them, self.this())?;
        is_at(them, v6(place[0]).into())?;
        everything(us, them, self.this())
    }

    /// Either side ends, comes back without knowing where the other is, and is found by who still believes in the old session.
    fn restarts(&self, [our, their]: [Process; 2]) -> Result<[Process; 2]> {
        let Self { us, them, psk, .. } = self;
        their.terminate()?;
        let their = them.start(&[us.peer(psk, None)])?;
        connect(us, them, self.this()).with_context(|| format!("{} came back", them.kind.name()))?;
        our.terminate()?;
        let our = us.start(&[them.peer(psk, None)])?;
        connect(them, us, self.this()).context("Tidewire came back")?;
        Ok([our, their])
    }

    fn this(&self) -> &std::path::Path {
        &self.stand.programs.this
    }
}

/// Waits until an end says that its peer is there.
fn is_at(end: &End<'_>, address: IpAddr) -> Result<()> {
    let expected = SocketAddr::new(address, PORT).to_string();
    eventually(SHOWN, &format!("{} to see its peer at {expected}", end.kind.name()), || {
        let shown = end.shown("endpoints")?;
        Ok(if shown == expected { Ok(()) } else { (|| bail!("it says {shown}"))() })
    })
}
