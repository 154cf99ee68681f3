//! What a relay keeps over restarts: its key and its self-signed certificate, so that the pins in its clients' maps stay right.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use tidewire_keys::{Drbg, RelaySecret, Seed};

use crate::{Certificate, config::CertificateError};

const RELAY_KEY: &str = "relay.key";
const TLS_KEY: &str = "tls.key";
const TLS_CERTIFICATE: &str = "tls.crt";

/// A relay's key and self-signed certificate, kept in a directory that only its owner can read.
#[derive(Debug)]
pub struct State {
    /// The relay's own key.
    pub secret: RelaySecret,
    /// Its certificate.
    pub certificate: Certificate,
}

/// Why there is no state to start with. The configuration, or the local system, is to blame.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The key file holds something else.
    #[error("{}: {problem}", path.display())]
    Key {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        problem: tidewire_keys::KeyError,
    },
    /// The certificate cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The certificate is for another host.
    #[error("{} is not for `{host}`: name the host that it was made for, or remove it and hand out the new pin", path.display())]
    OtherHost {
        /// The certificate's file.
        path: PathBuf,
        /// The host that was asked for.
        host: String,
    },
    /// The system gives no random bytes.
    #[error("the system gives no random bytes: {0}")]
    Random(getrandom::Error),
}

impl State {
    /// Reads what is in `directory`, and makes what is not there yet: the directory itself, the key, a certificate for
    /// `host` (a DNS name or an IP address). Files have mode 0600, the directory 0700.
    ///
    /// # Errors
    /// [`StateError`] names the file. Nothing that exists is ever replaced.
    pub fn open(directory: &Path, host: &str) -> Result<Self, StateError> {
        make_directory(directory)?;
        let secret = relay_key(&directory.join(RELAY_KEY))?;
        let (chain, key) = (directory.join(TLS_CERTIFICATE), directory.join(TLS_KEY));
        if !chain.exists() {
            let certificate = Certificate::self_signed(host)?;
            let (chain_pem, key_pem) = certificate.to_pem();
            replace(&key, key_pem.as_bytes())?;
            replace(&chain, chain_pem.as_bytes())?;
            return Ok(Self { secret, certificate });
        }
        let certificate = Certificate::read_self_signed(&chain, &key)?;
        if !certificate.is_for(host) {
            return Err(StateError::OtherHost { path: chain, host: host.to_owned() });
        }
        Ok(Self { secret, certificate })
    }

    /// Reads or makes the key alone, for a relay whose certificate comes from elsewhere, or that has none.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_secret(directory: &Path) -> Result<RelaySecret, StateError> {
        make_directory(directory)?;
        relay_key(&directory.join(RELAY_KEY))
    }
}

fn relay_key(path: &Path) -> Result<RelaySecret, StateError> {
    match fs::read_to_string(path) {
        Ok(text) => {
            let problem = |problem| StateError::Key { path: path.to_owned(), problem };
            RelaySecret::from_hex(text.trim()).map_err(problem)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let seed = Seed::try_fill(getrandom::fill).map_err(StateError::Random)?;
            let secret = RelaySecret::generate(&mut Drbg::new(&seed, "relay key"));
            replace(path, format!("{}\n", *secret.to_hex()).as_bytes())?;
            Ok(secret)
        }
        Err(source) => Err(StateError::File { path: path.to_owned(), source }),
    }
}

fn make_directory(path: &Path) -> Result<(), StateError> {
    if path.is_dir() {
        return Ok(());
    }
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|source| StateError::File { path: path.to_owned(), source })
}

/// Writes a file whole or not at all: a half-written key would stop every later start.
fn replace(path: &Path, content: &[u8]) -> Result<(), StateError> {
    let beside = path.with_extension("new");
    let write = || {
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&beside)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().map_err(|source| StateError::File { path: path.to_owned(), source })
}
