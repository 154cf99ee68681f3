//! How a list of keys is kept up to date: its file is looked at every few seconds.

use std::{sync::Arc, time::Duration};

use tidewire_clock as clock;
use tracing::{info, warn};

use super::Mailbox;
use crate::allow::AllowFile;

/// How often to look.
const INTERVAL: Duration = Duration::from_secs(2);

/// Tells the relay of each change to the file, for ever. A file that is wrong changes nothing.
pub(crate) async fn watch(mut file: AllowFile, mailbox: Arc<Mailbox>) {
    loop {
        clock::sleep(INTERVAL).await;
        // A file system can be slow; packets do not wait for it.
        let look = tokio::task::spawn_blocking(move || (file.read_if_changed(), file));
        let Ok((result, same)) = look.await else { return };
        file = same;
        match result {
            None => {}
            Some(Ok(admission)) => {
                info!("the list of keys that may log in has changed");
                mailbox.ask(|asked| asked.admission = Some(admission));
            }
            Some(Err(error)) => warn!(%error, "the list of keys that may log in stays as it was"),
        }
    }
}
