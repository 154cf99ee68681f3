//! What scenarios are built from: hosts in network namespaces, programs in them, a firewall that counts, plain HTTP and UDP, a flood, and two nodes.

pub(crate) mod flood;
pub(crate) mod http;
pub(crate) mod lab;
pub(crate) mod mesh;
pub(crate) mod process;
pub(crate) mod strangers;
pub(crate) mod udp;

use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::report::now;
use crate::tools::{Program, Source};

pub(crate) const IP: Program = Program { name: "ip", source: Source::Apt("iproute2") };
pub(crate) const NFT: Program = Program { name: "nft", source: Source::Apt("nftables") };

/// How often something is asked that another program will bring about.
const PERIOD: Duration = Duration::from_millis(50);

/// Asks until there is an answer, at least once. `ask` says in its inner error why there is none yet, which is told if time runs out;
/// an outer error ends the waiting, for what will never come.
pub(crate) fn eventually<T>(
    within: Duration,
    what: &str,
    mut ask: impl FnMut() -> Result<Result<T>>,
) -> Result<T> {
    let deadline = now() + within;
    loop {
        let answer = ask()?;
        if answer.is_ok() || now() >= deadline {
            return answer.with_context(|| format!("waited {} s for {what}", within.as_secs()));
        }
        thread::sleep(PERIOD);
    }
}

#[cfg(test)]
mod tests {
    use anyhow::{anyhow, bail};

    use super::*;

    #[test]
    fn an_answer_ends_the_waiting() {
        let mut asked = 0;
        let found = eventually(Duration::from_secs(3600), "x", || {
            asked += 1;
            Ok(if asked == 3 { Ok(asked) } else { Err(anyhow!("not yet")) })
        });
        assert_eq!(found.unwrap(), 3);
    }

    #[test]
    fn the_last_reason_is_told_with_what_was_waited_for() {
        let error =
            eventually(Duration::ZERO, "the answer", || Ok(Err::<(), _>(anyhow!("refused")))).unwrap_err();
        assert_eq!(format!("{error:#}"), "waited 0 s for the answer: refused");
    }

    #[test]
    fn what_will_never_come_is_not_waited_for() {
        let error = eventually(Duration::from_secs(3600), "x", || -> Result<Result<()>> { bail!("it died") });
        assert_eq!(error.unwrap_err().to_string(), "it died");
    }
}
