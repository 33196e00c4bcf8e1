//! Faults of servers: connections over TCP at which commands go wrong.

use std::io;

use futures::future::pending;
use hera::engines::network::{Connection, Network};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::fault::Fate;
use super::hera::Shared;
use super::resp;
use super::writes;

/// The network of the process with this number.
pub fn network(shared: &Shared, process: u32) -> Network {
    let shared = shared.clone();
    Network::of(move |host, port| {
        let (shared, host) = (shared.clone(), host.to_owned());
        Box::pin(async move {
            if shared.is_dead(process) {
                return pending().await;
            }
            let server = TcpStream::connect((host, port)).await?;
            server.set_nodelay(true)?;
            let (near, far) = tokio::io::duplex(1 << 16);
            tokio::spawn(carry(shared, process, far, server));
            Ok(Box::new(near) as Box<dyn Connection>)
        })
    })
}

/// Carries commands to the server and replies back, until one of the two ends the connection.
async fn carry(shared: Shared, process: u32, hera: DuplexStream, server: TcpStream) {
    let (replies, commands) = server.into_split();
    let (from, mut to) = tokio::io::split(hera);
    let (cut, is_cut) = tokio::sync::watch::channel(Cut::No);
    let sent = send(shared, process, from, commands, cut);
    let answered = answer(replies, &mut to, is_cut);
    let _ = tokio::join!(sent, answered);
    let _ = to.shutdown().await;
}

/// What becomes of the replies.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cut {
    No,
    /// The next one is the end.
    AtReply,
    /// None is told any more.
    Silent,
    Now,
}

async fn send(
    shared: Shared,
    process: u32,
    mut from: tokio::io::ReadHalf<DuplexStream>,
    mut server: OwnedWriteHalf,
    cut: tokio::sync::watch::Sender<Cut>,
) -> io::Result<()> {
    let mut buffer = Vec::new();
    while from.read_buf(&mut buffer).await? > 0 {
        loop {
            let before = buffer.clone();
            let Some(words) = resp::command(&mut buffer) else {
                break;
            };
            let fate = if shared.is_dead(process) {
                Fate::NotSent
            } else if writes::changes(&words) {
                shared.write(&writes::shown(&words))
            } else {
                Fate::Done
            };
            match fate {
                // What ended leaves no connection, and a server that refuses may as well have hung up.
                Fate::NotSent | Fate::Reset | Fate::Refused(_) => {
                    cut.send_replace(Cut::Now);
                    return Ok(());
                }
                Fate::Unseen | Fate::Silent => drop(cut.send_replace(Cut::Silent)),
                Fate::Lost => drop(cut.send_replace(Cut::AtReply)),
                Fate::Done => {}
            }
            let command = &before[..before.len() - buffer.len()];
            server.write_all(command).await?;
        }
    }
    cut.send_replace(Cut::Now);
    Ok(())
}

async fn answer(
    mut server: OwnedReadHalf,
    to: &mut tokio::io::WriteHalf<DuplexStream>,
    mut cut: tokio::sync::watch::Receiver<Cut>,
) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 14];
    loop {
        let length = tokio::select! {
            length = server.read(&mut buffer) => length?,
            _ = cut.wait_for(|cut| *cut == Cut::Now) => return Ok(()),
        };
        let present = *cut.borrow();
        match present {
            _ if length == 0 => return to.shutdown().await,
            Cut::No => to.write_all(&buffer[..length]).await?,
            Cut::AtReply | Cut::Now => return to.shutdown().await,
            Cut::Silent => {}
        }
    }
}
