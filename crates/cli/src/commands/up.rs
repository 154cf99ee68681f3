//! `tidewire up`: a node, with an interface of its own or in user space with TCP ports carried into the mesh and out of it.

use std::{net::SocketAddr, path::PathBuf, str::FromStr, sync::Arc};

use anyhow::{Context, Result, bail};
use clap::Args;
use tidewire_node::{Config, Event, Events, Node, TcpListener};
use tokio::{
    io::{AsyncRead, AsyncWrite, copy_bidirectional_with_sizes},
    net,
    sync::Semaphore,
};

use super::{block_on, told_to_stop};

/// Runs a node, in user space or with an interface
#[derive(Debug, Args)]
pub(crate) struct Up {
    /// The node's configuration (TOML)
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Makes a network interface of this name with the node's addresses and routes to its peers, in the place of a stack in user
    /// space; needs root on Linux
    #[cfg(unix)]
    #[arg(long, value_name = "INTERFACE", conflicts_with_all = ["forward", "serve"])]
    tun: Option<String>,
    /// Carries TCP connections from a local address to an overlay address, such as 127.0.0.1:8080=100.64.0.2:80
    #[arg(long, value_name = "LOCAL=OVERLAY")]
    forward: Vec<Forward>,
    /// Carries TCP connections from a port of this node in the mesh to a local service, such as 80=127.0.0.1:8000
    #[arg(long, value_name = "PORT=LOCAL")]
    serve: Vec<Serve>,
    /// Speaks to relays by WebSocket alone; without it that is what is left where nothing better passes
    #[arg(long)]
    force_websocket: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Forward {
    local: SocketAddr,
    overlay: SocketAddr,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Serve {
    port: u16,
    local: SocketAddr,
}

/// Connections that one forwarded or served port carries at a time; the next one waits.
const CONNECTIONS: usize = 512;

/// Bytes copied at a time, each way.
const CHUNK: usize = 64 * 1024;

impl Up {
    pub(crate) fn run(&self) -> Result<()> {
        let config = Config::read(&self.config)?;
        #[cfg(unix)]
        let config = match &self.tun {
            Some(name) => config.interface(name),
            None => config,
        };
        let config = if self.force_websocket { config.force_websocket() } else { config };
        block_on(self.serve_until_stopped(config))
    }

    async fn serve_until_stopped(&self, config: Config) -> Result<()> {
        let node = Arc::new(Node::start(config).await?);
        tracing::info!(node = %node.public_key(), "up");
        let telling = tokio::spawn(tell(node.events()));
        for forward in &self.forward {
            let listener = net::TcpListener::bind(forward.local)
                .await
                .with_context(|| format!("--forward: cannot listen on {}", forward.local))?;
            tracing::info!(local = %listener.local_addr()?, overlay = %forward.overlay, "forwarding");
            tokio::spawn(forward_all(Arc::clone(&node), listener, forward.overlay));
        }
        for serve in &self.serve {
            let listener = node
                .listen_tcp(serve.port)
                .with_context(|| format!("--serve: cannot listen on port {} of the node", serve.port))?;
            tracing::info!(port = serve.port, local = %serve.local, "serving");
            tokio::spawn(serve_all(listener, serve.local));
        }
        let gone = tokio::select! {
            stop = told_to_stop() => stop.map(|()| None)?,
            gone = telling => gone.context("the log failed")?,
        };
        tracing::info!("down");
        node.shutdown().await;
        match gone {
            Some(interface) => bail!("the interface {interface} was deleted"),
            None => Ok(()),
        }
    }
}

async fn forward_all(node: Arc<Node>, listener: net::TcpListener, overlay: SocketAddr) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let near = match listener.accept().await {
            Ok((near, _)) => near,
            Err(error) => {
                // Out of descriptors, or the like: others end soon, and the caller tries again.
                tracing::warn!(%error, "cannot accept");
                tokio::task::yield_now().await;
                continue;
            }
        };
        let node = Arc::clone(&node);
        tokio::spawn(async move {
            drop(near.set_nodelay(true));
            match node.dial_tcp(overlay).await {
                Ok(far) => join(near, far).await,
                Err(error) => tracing::warn!(%overlay, %error, "no connection through the mesh"),
            }
            drop(place);
        });
    }
}

async fn serve_all(listener: TcpListener, local: SocketAddr) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((far, _)) = listener.accept().await else { return };
        tokio::spawn(async move {
            match net::TcpStream::connect(local).await {
                Ok(near) => {
                    drop(near.set_nodelay(true));
                    join(near, far).await;
                }
                Err(error) => tracing::warn!(%local, %error, "the local service does not answer"),
            }
            drop(place);
        });
    }
}

/// Carries bytes both ways until both sides are done.
async fn join(mut near: impl AsyncRead + AsyncWrite + Unpin, mut far: impl AsyncRead + AsyncWrite + Unpin) {
    match copy_bidirectional_with_sizes(&mut near, &mut far, CHUNK, CHUNK).await {
        Ok((there, back)) => tracing::debug!(there, back, "connection done"),
        Err(error) => tracing::debug!(%error, "connection broke"),
    }
}

/// Logs what happens to the node, until it stops or its interface is gone: then gives the interface's name.
async fn tell(mut events: Events) -> Option<String> {
    while let Some(event) = events.next().await {
        match event {
            Event::PathChanged { peer, from, to, reason } => {
                tracing::info!(%peer, %from, %to, reason, "path");
            }
            Event::Connected { peer } => tracing::info!(%peer, "connected"),
            Event::Unreachable { peer } => tracing::warn!(%peer, "no answer"),
            // The relays' client logs these itself, and knows more.
            Event::RelayUp { .. }
            | Event::RelayDown { .. }
            | Event::RelayFailed { .. }
            | Event::RelayHealth { .. }
            | Event::RelayRestarting { .. } => {}
            Event::HomeChosen { region } => {
                tracing::info!(%region, "home region chosen: write it into the peers' maps")
            }
            Event::OwnAddresses(addresses) => tracing::info!(?addresses, "reachable at"),
            Event::Fault { fault } => tracing::warn!(fault, "transport"),
            Event::InterfaceGone { interface } => return Some(interface),
            other => tracing::info!(?other, "event"),
        }
    }
    None
}

impl FromStr for Forward {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let Some((local, overlay)) = text.split_once('=') else {
            bail!("write LOCAL=OVERLAY, such as 127.0.0.1:8080=100.64.0.2:80");
        };
        Ok(Self {
            local: local.parse().with_context(|| format!("`{local}` is no address with port"))?,
            overlay: overlay.parse().with_context(|| format!("`{overlay}` is no address with port"))?,
        })
    }
}

impl FromStr for Serve {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let Some((port, local)) = text.split_once('=') else {
            bail!("write PORT=LOCAL, such as 80=127.0.0.1:8000");
        };
        let port = port.parse().ok().filter(|port| *port != 0);
        Ok(Self {
            port: port.with_context(|| "the port is a number from 1 to 65535")?,
            local: local.parse().with_context(|| format!("`{local}` is no address with port"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_carry_is_read_from_both_sides_of_the_equals_sign() {
        assert_eq!(
            "127.0.0.1:8080=100.64.0.2:80".parse::<Forward>().unwrap(),
            Forward { local: ([127, 0, 0, 1], 8080).into(), overlay: ([100, 64, 0, 2], 80).into() }
        );
        assert_eq!(
            "80=[::1]:8000".parse::<Serve>().unwrap(),
            Serve { port: 80, local: "[::1]:8000".parse().unwrap() }
        );
    }

    #[test]
    fn mistakes_say_what_to_write() {
        assert!("127.0.0.1:8080".parse::<Forward>().unwrap_err().to_string().contains("LOCAL=OVERLAY"));
        assert!("x=100.64.0.2:80".parse::<Forward>().unwrap_err().to_string().contains("`x`"));
        assert!("0=127.0.0.1:1".parse::<Serve>().unwrap_err().to_string().contains("from 1 to 65535"));
        assert!("80=localhost".parse::<Serve>().unwrap_err().to_string().contains("`localhost`"));
    }
}
